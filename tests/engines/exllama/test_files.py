"""What a model's folder says of itself."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tiny_models import EOS, IM_END
from wsserver.core.engine import ModelLoadError
from wsserver.engines.exllama.files import ModelFiles, read_files
from wsserver.engines.folders import WeightFormat


def test_shape_is_read_from_the_configuration(files: ModelFiles) -> None:
    """Context, size and the bytes of a cached token come from the files."""
    assert files.context == 4096
    assert files.cache_bytes == 2 * 1 * 8 * 64 * 2
    assert files.size > 400_000
    assert files.special_text("bos_token") == "<s>"


def test_all_ends_of_a_turn_are_kept(files: ModelFiles) -> None:
    """Both configurations' ids end a turn, though the libraries keep only the first."""
    assert files.end_tokens == {EOS, IM_END}
    nested = replace(files, config={"text_config": {"eos_token_id": [7, 8]}}, generation={})
    assert nested.end_tokens == {7, 8}
    assert replace(files, config={}, generation={"eos_token_id": True}).end_tokens == frozenset()


def test_recommended_sampling_is_taken_only_if_it_samples(files: ModelFiles) -> None:
    """A publisher's values count, unless the model is published as greedy."""
    generation = {"temperature": 0.6, "top_k": 20, "top_p": None, "eos_token_id": 2}
    assert replace(files, generation=generation).recommended == {"temperature": 0.6, "top_k": 20}
    assert replace(files, generation=generation | {"do_sample": False}).recommended == {}


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("config.json", "no readable config.json"),
        ("model.safetensors", "no .safetensors"),
        ("tokenizer.json", "no tokenizer.json"),
    ],
)
def test_missing_file_is_named(folder: Path, tmp_path: Path, missing: str, words: str) -> None:
    """A folder that lacks something is refused in words, without its path."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / missing).unlink()
    with pytest.raises(ModelLoadError, match=words) as caught:
        read_files(str(copy), frozenset(WeightFormat), "v")
    assert str(tmp_path) not in str(caught.value)


def test_format_of_another_library_is_refused(folder: Path) -> None:
    """A library is never given weights that it can't read."""
    with pytest.raises(ModelLoadError, match="does not read weights of kind safetensors"):
        read_files(str(folder), frozenset((WeightFormat.EXL3,)), "v")
    with pytest.raises(ModelLoadError, match="a folder"):
        read_files(None, frozenset(WeightFormat), "v")
