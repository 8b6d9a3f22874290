"""What is printed can be read again, and holds no secret."""

from __future__ import annotations

import tomllib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from wsserver.config import Config, Request, load, reference, show
from wsserver.config.keys import catalogue
from wsserver.config.show import toml_value

ROOT = Path(__file__).resolve().parents[2]
HERE = {"XDG_CONFIG_HOME": "/none", "XDG_DATA_HOME": "/data"}

toml_values = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-(2**53), 2**53),
        st.floats(allow_nan=False),
        st.text(st.characters(exclude_categories=["Cs"])),
    ),
    lambda inner: st.one_of(
        st.lists(inner), st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=10,
)


@given(toml_values)
def test_toml_values_survive_writing_and_reading(value: object) -> None:
    """Whatever a setting holds is written as TOML that reads the same."""
    assert tomllib.loads(f"x = {toml_value(value)}")["x"] == value


def test_shown_configuration_loads_to_the_same(tmp_path: Path) -> None:
    """``config show > file`` and ``--config file`` give the configuration that was shown."""
    settings = [
        "server.port=0",
        'server.origins=["https://a.example"]',
        "models.engines.llamacpp.slots=4",
        "log.level=debug",
    ]
    flags = {"models.start": ("--model", ["a=synthetic:?tps=5", "synthetic:"])}
    first = load(Request(settings=settings, flags=flags), HERE, tmp_path)
    file = tmp_path / "shown.toml"
    file.write_text(show(first), encoding="utf-8")
    assert load(Request(file=str(file)), HERE, tmp_path).config == first.config


def test_each_key_is_shown_with_its_source(tmp_path: Path) -> None:
    """Every line of a section says who set it."""
    loaded = load(Request(settings=["server.port=9"]), HERE, tmp_path)
    text = show(loaded)
    assert "port = 9  # --set" in text
    assert 'host = "127.0.0.1"  # default' in text
    shown = tomllib.loads(text)
    assert {f"{s}.{k}" for s, table in shown.items() for k in table} == set(catalogue())


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    """Keys and passwords in addresses are replaced, whatever their form."""
    settings = ['auth.api_keys=["hush1"]', "redis.url=redis://me:hush2@host:1/0?password=hush3"]
    text = show(load(Request(settings=settings), HERE, tmp_path))
    assert "hush" not in text
    assert "redis://me:<redacted>@host:1/0" in text


def test_reference_lists_every_key_with_its_default() -> None:
    """With its comments taken off, the reference is the default configuration."""
    lines = [line.removeprefix("# ") for line in reference().splitlines()[3:]]
    tables = tomllib.loads("\n".join(line for line in lines if not line.startswith("##")))
    assert tables["models"].pop("model")[0]["id"] == "mine"
    for path, key in catalogue().items():
        if path != "models.model":
            written = tables[key.section][key.name]
            given = tuple(written) if isinstance(written, list) else written
            assert given == getattr(getattr(Config(), key.section), key.name)


def test_committed_reference_is_current() -> None:
    """docs/wsserver.toml is the output of ``wsserver config reference``."""
    assert (ROOT / "docs" / "wsserver.toml").read_text(encoding="utf-8") == reference()


def test_secrets_among_an_engines_settings_are_not_shown(tmp_path: Path) -> None:
    """A key by its name, in a model's settings and in its engine's; its origin is shown."""
    (tmp_path / "wsserver.toml").write_text(
        '[models.engines.openai]\napi_key = "sk-1"\nslots = 3\n'
        '[[models.model]]\nid = "a"\nsource = "openai:http://x/v1"\n'
        'settings = { api_key = "sk-2", api_key_env = "KEY", extra_body = { secret = "sk-3" } }\n'
    )
    text = show(load(Request(), HERE, tmp_path))
    assert "sk-" not in text
    assert '"KEY"' in text
    assert "slots = 3" in text
