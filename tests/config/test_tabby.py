"""TabbyAPI's settings as ours: what is taken over, what is said of the rest, and that it loads."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from wsserver.config import Request, load
from wsserver.config.tabby import NEUTRAL, PLACED, SETTINGS, WITHOUT, translate

MODEL = "Llama-3.1-8B-exl2"

REALISTIC: dict[str, Any] = {
    "network": {
        "host": "0.0.0.0",
        "port": 5001,
        "disable_auth": False,
        "send_tracebacks": False,
        "api_servers": ["OAI"],
    },
    "logging": {"log_prompt": True, "log_requests": False},
    "model": {
        "model_dir": "models",
        "model_name": MODEL,
        "backend": "exllamav2",
        "max_seq_len": 16384,
        "cache_size": 65536,
        "cache_mode": "Q6",
        "chunk_size": 2048,
        "max_batch_size": 4,
        "autosplit_reserve": [96, 512],
        "gpu_split": [],
        "rope_scale": 1.0,
        "rope_alpha": None,
        "prompt_template": "chatml",
        "vision": False,
        "force_enable_thinking": True,
        "use_as_default": ["cache_mode"],
    },
    "draft_model": {
        "draft_model_dir": "models",
        "draft_model_name": "tiny",
        "draft_num_tokens": 3,
        "draft_cache_mode": "Q4",
    },
    "lora": {"lora_dir": "loras", "loras": [{"name": "pirate", "scaling": 0.5}]},
    "sampling": {"override_preset": "safe_defaults"},
    "developer": {"seqlog_api_key": "hunter2", "unsafe_launch": False},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of TabbyAPI's with a model."""
    for name in (MODEL, "tiny"):
        (tmp_path / "models" / name).mkdir(parents=True)
    return tmp_path


def read(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


def model_settings(folder: Path, **model: Any) -> dict[str, Any]:
    """The engine's settings for a model section."""
    text = translate({"model": {"model_name": MODEL, **model}}, folder)
    settings: dict[str, Any] = read(text)["models"]["model"][0].get("settings", {})
    return settings


def test_a_realistic_file_becomes_ours(folder: Path) -> None:
    """Address, folders, model, cache, slots, GPUs, draft model and LoRAs have our names."""
    tables = read(translate(REALISTIC, folder))
    assert tables["server"] == {"host": "0.0.0.0", "port": 5001}
    assert tables["models"]["dir"] == str(folder / "models")
    (entry,) = tables["models"]["model"]
    assert entry.pop("settings") == {
        "ctx": 16384,
        "cache_tokens": 65536,
        "cache_type": "q6",
        "chunk": 2048,
        "slots": 4,
        "gpu_reserve": [0.094, 0.5],
        "template_options": {"enable_thinking": True},
        "draft_tokens": 3,
        "draft_model": str(folder / "models" / "tiny"),
        "loras": [{"folder": str(folder / "loras" / "pirate"), "scale": 0.5}],
    }
    assert entry == {
        "id": MODEL,
        "source": str(folder / "models" / MODEL),
        "engine": "exllamav2",
        "default": True,
    }


def test_no_key_is_dropped(folder: Path) -> None:
    """Each key that is set is taken over, neutral, or named with a reason."""
    text = translate(REALISTIC, folder)
    for section, table in REALISTIC.items():
        for name, value in table.items():
            key = f"{section}.{name}"
            taken = key in SETTINGS or key in PLACED or key in ("network.host", "network.port")
            taken = taken or key in ("model.backend", "lora.loras", "model.autosplit_reserve")
            taken = taken or key == "model.force_enable_thinking"
            if value is not None and not taken and value not in NEUTRAL.get(key, ()):
                assert f"#   {key} = " in text, key
    assert "#   logging.log_prompt = true: prompts and answers are never logged" in text


def test_secrets_are_not_printed(folder: Path) -> None:
    """A key of another service stays where it was."""
    assert "hunter2" not in translate(REALISTIC, folder)


def test_a_missing_key_for_clients_is_told(folder: Path) -> None:
    """Who ran a server that asked for keys is told that this one does not."""
    assert "api_tokens.yml" in translate(REALISTIC, folder)
    assert "api_tokens.yml" not in translate({"network": {"disable_auth": True}}, folder)


@pytest.mark.parametrize(
    "tables",
    [
        REALISTIC,
        {"model": {}},
        {"network": {"port": 99999, "host": ""}, "model": None},
        {"network": {"port": True}, "model": "nonsense"},
        {"model": {"model_name": "not there", "model_dir": "nowhere\nat all"}},
        {"model": {"model_name": "", "gpu_split": [None, "8"], "autosplit_reserve": "96"}},
        {"model": {"chunk_size": True, "cache_mode": "8, 8", "unheard_of": {"a": [1, None]}}},
        {"draft_model": {"draft_mode": "mtp", "draft_model_name": "x"}, "lora": {"loras": [1]}},
        {"future_section": [1, 2], 7: {8: 9}},
        {"draft_model": {"draft_model_name": "gone"}, "model": {"model_name": MODEL}},
    ],
)
def test_whatever_comes_out_loads(tables: dict[str, Any], folder: Path) -> None:
    """The text is a configuration without faults, even of a file that TabbyAPI itself refuses."""
    path = folder / "wsserver.toml"
    path.write_text(translate(tables, folder))
    loaded = load(Request(file=str(path)), {"XDG_CONFIG_HOME": "/none"}, folder)
    assert loaded.config.models.model


def test_what_is_not_on_this_machine_is_commented_out(tmp_path: Path) -> None:
    """Translated on another machine the model's table is still there to be read, as a comment."""
    text = translate(REALISTIC, tmp_path)
    assert f'# source = "{tmp_path}/models/{MODEL}"' in text
    assert "#   models.dir: there is no folder" in text
    assert "models" not in read(text)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"cache_size": 4096}, {"cache_tokens": 4096, "ctx": 4096}),
        ({"cache_size": 32768}, {"cache_tokens": 32768}),
        ({"max_seq_len": -1, "cache_size": 32768}, {"cache_tokens": 32768}),
        ({"max_seq_len": 8192, "cache_size": 4096}, {"ctx": 8192, "cache_tokens": 8192}),
        ({"max_seq_len": 5000}, {"ctx": 5120}),
        ({"cache_mode": "FP16"}, {"cache_type": "fp16"}),
        ({"cache_mode": "8, 8"}, {"cache_type": "q8"}),
        ({"cache_mode": "8, 6"}, {}),
        ({"backend": "exllamav3", "rope_alpha": 2.0}, {}),
        ({"gpu_split": [20, 24], "autosplit_reserve": [96]}, {"gpu_split": [20, 24]}),
        ({"rope_alpha": "auto"}, {}),
        (
            {"rope_alpha": 2.5, "tensor_parallel": True},
            {"rope_alpha": 2.5, "tensor_parallel": True},
        ),
    ],
)
def test_settings_are_made_to_fit(
    model: dict[str, Any], expected: dict[str, Any], folder: Path
) -> None:
    """Lengths are whole pages, the cache holds a context, and two ways to split are one."""
    assert model_settings(folder, **model) == expected


def test_draft_model_that_is_not_there_is_left_out(folder: Path) -> None:
    """What is printed loads, also where the draft model is on another machine."""
    draft = {"draft_model_name": "elsewhere", "draft_num_tokens": 4}
    text = translate({"model": {"model_name": MODEL}, "draft_model": draft}, folder)
    settings = read(text)["models"]["model"][0].get("settings", {})
    assert not {"draft_model", "draft_tokens"} & settings.keys()
    assert f'draft_model_name = "elsewhere": there is no {folder / "models" / "elsewhere"}' in text


def test_drafting_by_repetition_needs_no_model(folder: Path) -> None:
    """The mode ngram is a setting of its own; a model named beside it is told as left out."""
    draft = {"draft_mode": "ngram", "draft_model_name": "tiny", "draft_num_tokens": 4}
    text = translate({"model": {"model_name": MODEL}, "draft_model": draft}, folder)
    settings = read(text)["models"]["model"][0]["settings"]
    assert settings == {"draft_tokens": 4, "ngram_draft": True}
    assert "#   draft_model.draft_model_name" in text


def test_no_key_is_both_taken_and_refused() -> None:
    """The tables of names say one thing of each key."""
    assert not set(SETTINGS) & set(WITHOUT)
    assert not PLACED & set(WITHOUT)


def test_the_page_for_gpus_shows_both_names() -> None:
    """Each translated setting stands in docs/gpu.md under the name of either side."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "gpu.md").read_text(encoding="utf-8")
    table = text[text.index("## Coming from TabbyAPI") :]
    settings = text[text.index("## Settings") : text.index("## What goes wrong")]
    for key, (name, _) in SETTINGS.items():
        assert key in table or f"`{key.partition('.')[2]}`" in table, key
        assert f"`{name}`" in table and f"`{name}`" in settings, name
