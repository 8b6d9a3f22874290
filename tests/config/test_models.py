"""What ``--model``, ``[[models.model]]`` and their absence come to."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsserver.config import ConfigError, Models, Request, load


def models_of(
    folder: Path, *references: str, toml: str = "", settings: list[str] | None = None
) -> Models:
    (folder / "wsserver.toml").write_text(toml)
    flags = {"models.start": ("--model", list(references))} if references else {}
    request = Request(flags=flags, settings=settings or [])
    return load(request, {"XDG_CONFIG_HOME": "/none"}, folder).config.models


def sources(models: Models) -> dict[str, str]:
    return {entry.id: entry.source for entry in models.model}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    for name in ("tiny.gguf", "models/big.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    return tmp_path


TABLES = """
[[models.model]]
id = "first"
source = "tiny.gguf"
[[models.model]]
id = "second"
source = "synthetic:?tps=5"
default = true
[[models.model]]
id = "third"
source = "models/big.gguf"
load = false
"""


def test_without_any_model_the_demo_model_is_loaded(folder: Path) -> None:
    """A bare start answers: the shipped model stands in, and its file is there."""
    models = models_of(folder)
    assert models.start == ("demo",)
    assert Path(sources(models)["demo"]).is_file()


def test_configured_models_are_loaded_default_first(folder: Path) -> None:
    """All with load = true, the default one first; the others are known and not loaded."""
    models = models_of(folder, toml=TABLES)
    assert models.start == ("second", "first")
    assert list(sources(models)) == ["first", "second", "third"]
    assert sources(models)["first"] == str(folder / "tiny.gguf")


def test_model_flags_choose_among_all_known(folder: Path) -> None:
    """--model takes ids, paths, schemes and id=source; the first given is the default."""
    references = ["third", "tiny.gguf", "synthetic:?tps=50", "mine=synthetic:", "third"]
    models = models_of(folder, *references, toml=TABLES)
    assert models.start == ("third", "tiny", "synthetic", "mine")
    assert sources(models)["synthetic"] == "synthetic:?tps=50"
    assert sources(models)["tiny"] == str(folder / "tiny.gguf")


def test_a_file_is_also_found_in_the_model_folder(folder: Path) -> None:
    """A name that is not in the current folder is looked up under models.dir."""
    models = models_of(folder, "big.gguf", settings=["models.dir=models"])
    assert sources(models) == {"big": str(folder / "models" / "big.gguf")}


def test_ids_that_clash_are_numbered(folder: Path) -> None:
    """The second model of a stem gets -2, so that both can be asked."""
    models = models_of(folder, "synthetic:", "synthetic:?tps=1")
    assert models.start == ("synthetic", "synthetic-2")


def test_folder_of_a_model_keeps_its_whole_name(folder: Path) -> None:
    """What follows a dot in a folder's name is no suffix."""
    (folder / "Llama-3.1-8B-6.0bpw").mkdir()
    models = models_of(folder, "Llama-3.1-8B-6.0bpw")
    assert models.start == ("Llama-3.1-8B-6.0bpw",)


def test_an_empty_list_loads_nothing(folder: Path) -> None:
    """models.start = [] is a wish, not an absence."""
    models = models_of(folder, settings=["models.start=[]"])
    assert models.start == ()
    assert models.model == ()


@pytest.mark.parametrize(
    ("reference", "fault"),
    [
        (
            "tinny.gguf",
            "models.start: no such file, and no model of that name: tinny.gguf (--model)",
        ),
        ("frist", "no such file, and no model of that name: frist, did you mean first?"),
        ("http://example.org/x.gguf", "the scheme http: is not among models.schemes"),
        ("first=tiny.gguf", "the id first is already taken"),
    ],
)
def test_a_model_that_is_not_there_ends_the_start(reference: str, fault: str, folder: Path) -> None:
    """A typing error is found at the start, with what was probably meant."""
    with pytest.raises(ConfigError) as caught:
        models_of(folder, reference, toml=TABLES)
    assert fault in str(caught.value)


def test_two_entries_may_not_share_an_id_or_be_default_both(folder: Path) -> None:
    """Both faults are reported."""
    twice = TABLES + '[[models.model]]\nid = "first"\nsource = "synthetic:"\n'
    more = '[[models.model]]\nid = "fourth"\nsource = "synthetic:"\ndefault = true\n'
    with pytest.raises(ConfigError) as caught:
        models_of(folder, toml=twice + more)
    messages = [fault.message for fault in caught.value.faults]
    assert messages == ["this id is given twice", "a second default = true"]


def test_a_server_is_the_operators_to_name(folder: Path) -> None:
    """openai: works in --model and [[models.model]], and clients still may not load it."""
    table = '[[models.model]]\nid = "big"\nsource = "openai:http://10.0.0.7/v1"\n'
    models = models_of(folder, "openai:http://10.0.0.8/v1?model=m", "big", toml=table)
    assert models.start == ("openai", "big")
    assert sources(models)["openai"] == "openai:http://10.0.0.8/v1?model=m"
    assert models.schemes == ("synthetic",)


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ("gpus = [0]\nplacement = [[0]]", "gpus and placement say the same thing twice"),
        ("replicas = 3\nplacement = [[0], [1]]", "replicas = 3, but placement has 2"),
        ("gpus = [1, 1]", "a GPU is named twice: [1, 1]"),
        ("placement = [[0], []]", "placement has a replica without a GPU"),
        ("gpus = [0, 1]\ngpu_split = [1]", "gpu_split has 1 shares for 2 GPUs"),
        ("gpu_split = [1]", "gpu_split has 1 shares for 0 GPUs"),
        ("gpus = [-1]", "int >= 0"),
        ('memory = "much"', 'a size such as "12GiB"'),
    ],
)
def test_a_place_that_cannot_be_ends_the_start(lines: str, fault: str, folder: Path) -> None:
    """Placements are checked when the configuration is read, and the fault names the model."""
    table = f'[[models.model]]\nid = "first"\nsource = "synthetic:"\n{lines}\n'
    with pytest.raises(ConfigError) as caught:
        models_of(folder, toml=table)
    assert fault in str(caught.value)


WITH_FILES = """
[[models.model]]
id = "tuned"
source = "tiny.gguf"
[models.model.settings]
draft_model = "models/big.gguf"
lora = [{ path = "%s", scale = 0.5 }]
"""


def test_files_in_settings_are_found_like_sources(folder: Path) -> None:
    """Paths that a model's settings name count from the file that they stand in."""
    (entry,) = models_of(folder, toml=WITH_FILES % "tiny.gguf").model
    assert entry.settings == {
        "draft_model": str(folder / "models" / "big.gguf"),
        "lora": [{"path": str(folder / "tiny.gguf"), "scale": 0.5}],
    }
    with pytest.raises(ConfigError) as caught:
        models_of(folder, toml=WITH_FILES % "gone.gguf")
    assert "settings.lora[0].path" in str(caught.value)
    assert "no such file: gone.gguf" in str(caught.value)


@pytest.mark.parametrize(
    ("fallbacks", "fault"),
    [
        (["secnd"], "the fallback secnd is no [[models.model]], did you mean second?"),
        (["first"], "its fallbacks lead back to itself"),
        (["second"], "its fallbacks lead back to itself"),
    ],
)
def test_fallbacks_that_lead_nowhere_end_the_start(
    fallbacks: list[str], fault: str, folder: Path
) -> None:
    """A fallback must be a known model, and no way may lead back."""
    table = (
        f'[[models.model]]\nid = "first"\nsource = "synthetic:"\nfallbacks = {fallbacks}\n'
        '[[models.model]]\nid = "second"\nsource = "synthetic:"\nfallbacks = ["first"]\n'
    )
    with pytest.raises(ConfigError) as caught:
        models_of(folder, toml=table)
    assert fault in str(caught.value)
