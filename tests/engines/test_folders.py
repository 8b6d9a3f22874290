"""What a folder holds, and which engine it is for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tiny_folders import write_folder, write_safetensors
from wsserver.core.engine import ModelSpec
from wsserver.engines import catalog
from wsserver.engines.folders import WeightFormat, weight_format


def folder(path: Path, config: dict[str, Any], tensor: str = "model.norm.weight") -> str:
    """A folder with these two files."""
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    write_safetensors(path / "model.safetensors", {tensor: np.zeros(8, np.float16)})
    return str(path)


def quantized(method: str) -> dict[str, Any]:
    """A configuration that names its quantization."""
    return {"architectures": ["LlamaForCausalLM"], "quantization_config": {"quant_method": method}}


@pytest.mark.parametrize(
    ("config", "tensor", "expected"),
    [
        (quantized("exl2"), "x", WeightFormat.EXL2),
        (quantized("exl3"), "x", WeightFormat.EXL3),
        (quantized("GPTQ"), "x", WeightFormat.GPTQ),
        (quantized("awq"), "x", None),
        ({"model_type": "llama"}, "model.layers.0.mlp.up_proj.q_weight", WeightFormat.EXL2),
        ({"model_type": "llama"}, "model.layers.0.mlp.up_proj.qweight", WeightFormat.GPTQ),
        ({"model_type": "llama"}, "model.norm.weight", WeightFormat.PLAIN),
    ],
)
def test_format_is_told_by_the_files(
    tmp_path: Path, config: dict[str, Any], tensor: str, expected: WeightFormat | None
) -> None:
    """What config.json names counts; where it is silent, the names of the tensors do."""
    assert weight_format(folder(tmp_path, config, tensor)) is expected


def test_what_is_no_model_has_no_format(tmp_path: Path) -> None:
    """A missing path, a file, an empty folder, a broken head: none raises."""
    (tmp_path / "config.json").write_text("{}")
    assert weight_format(str(tmp_path)) is None
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 8)
    assert weight_format(str(tmp_path)) is None
    assert weight_format(str(tmp_path / "config.json")) is None
    assert weight_format(str(tmp_path / "nothing")) is None
    assert weight_format("synthetic:") is None


def test_path_alone_chooses_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EXL2 and GPTQ are v2's, EXL3 is v3's, plain folders are v3's where it is installed."""
    for method, engine in (("exl2", "exllamav2"), ("gptq", "exllamav2"), ("exl3", "exllamav3")):
        assert catalog.engine_for(folder(tmp_path, quantized(method))) == engine
    plain = str(write_folder(tmp_path / "plain"))
    monkeypatch.setattr(catalog, "_is_installed", lambda module: False)
    assert catalog.engine_for(plain) == "exllamav2"
    monkeypatch.setattr(catalog, "_is_installed", lambda module: True)
    assert catalog.engine_for(plain) == "exllamav3"


def test_quantization_of_others_is_named(tmp_path: Path) -> None:
    """A folder that nobody here reads is refused by the name of its method."""
    with pytest.raises(LookupError, match="quantized by awq"):
        catalog.engine_for(folder(tmp_path, quantized("awq")))


def test_load_of_what_nobody_reads_says_so(tmp_path: Path) -> None:
    """A source without an engine fails in the words that its files call for."""
    spec = ModelSpec(id="x", engine=catalog.NO_ENGINE, source="x", path=str(tmp_path))
    assert "config.json" in (catalog.obstacle(spec) or "")
    folder(tmp_path, quantized("awq"))
    assert catalog.obstacle(spec) == "no engine here reads weights quantized by awq"


def test_probe_tells_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody installs gigabytes to be told then that there is no GPU."""
    monkeypatch.setattr(catalog, "_is_installed", lambda module: module == "jinja2")
    monkeypatch.setattr(catalog, "_sees_gpu", lambda: False)
    assert catalog.probe("exllamav2") == (
        "exllamav2, torch, tokenizers and llguidance not installed, and this machine shows no"
        " NVIDIA GPU: pip install 'wsserver[server,exllamav2]'"
    )


def test_probe_says_that_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed is not enough for an engine that computes on a GPU."""
    monkeypatch.setattr(catalog, "_is_installed", lambda module: True)
    monkeypatch.setattr(catalog, "_sees_gpu", lambda: False)
    assert "no GPU" in (catalog.probe("exllamav2") or "")
    monkeypatch.setattr(catalog, "_sees_gpu", lambda: True)
    assert catalog.probe("exllamav2") is None
