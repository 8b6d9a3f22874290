"""All faults at once, each with its key and its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsserver.config import ConfigError, Loaded, Request, load
from wsserver.config.keys import catalogue

HERE = {"XDG_CONFIG_HOME": "/none"}


def faults_of(
    request: Request, folder: Path = Path("/here"), env: dict[str, str] | None = None
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(request, HERE | (env or {}), folder)
    return [str(fault) for fault in caught.value.faults]


def test_faults_of_all_layers_are_reported_together(tmp_path: Path) -> None:
    """One run names every fault of file, environment, flags and --set, overridden ones too."""
    text = (
        '[limits]\nmax_bach = 3\nrequests_per_minute = -4\n[server]\nport = "x"\n[modles]\nx = 1\n'
    )
    (tmp_path / "wsserver.toml").write_text(text)
    request = Request(
        flags={"server.port": ("--port", "99999")},
        settings=["limits.requests_per_minute=5", "log.level=loud", "nothing"],
    )
    assert sorted(faults_of(request, tmp_path, {"WSSERVER_LIMITZ_X": "1"})) == sorted(
        [
            "limits.max_bach: unknown key, did you mean limits.max_batch? (wsserver.toml:2)",
            "limits.requests_per_minute: expected int >= 0, got -4 (wsserver.toml:3)",
            "server.port: expected int, got str 'x' (wsserver.toml:5)",
            "modles: unknown section, did you mean models? (wsserver.toml:6)",
            "limitz.x: unknown section, did you mean limits? (environment WSSERVER_LIMITZ_X)",
            "server.port: expected int <= 65535, got '99999' (--port)",
            "log.level: expected one of debug, info, warning, error, got 'loud' (--set)",
            "nothing: expected section.key=value (--set)",
        ]
    )


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        (["server.processes=2"], "server.processes: more than one process needs redis.url"),
        (["redis.url=http://x"], "redis.url: expected redis://, rediss:// or unix://"),
        (["auth.enabled=true"], "auth.enabled: nobody could come in: auth.api_keys is empty"),
        (["models.dir=/no/such"], "models.dir: no such folder: /no/such"),
        (["server.origins=example.org"], "server.origins: expected"),
        (["server.trusted_proxies=10.0.0.0/40"], "server.trusted_proxies: not an address"),
        (["server.drain_seconds=nan"], "server.drain_seconds: expected"),
        (["server.drain_seconds=inf"], "server.drain_seconds: expected"),
        (["server.port.x=1"], "server.port.x: server.port has no keys of its own"),
        (["server.origins=[1"], "server.origins: not a TOML value"),
        (["server=1"], "server=1: expected section.key=value"),
    ],
)
def test_what_contradicts_itself_is_refused(settings: list[str], fault: str) -> None:
    """Values that are right alone and wrong together, and values of no sense, name their key."""
    (found,) = faults_of(Request(settings=settings))
    assert found.startswith(fault)


@pytest.mark.parametrize("text", ["[server", "port", "[server]\nport = 1\nport = 2\n", "\xff"])
def test_a_file_that_is_no_toml_is_one_fault(text: str, tmp_path: Path) -> None:
    """The file is named, and nothing raises."""
    (tmp_path / "wsserver.toml").write_text(text, encoding="latin-1")
    (found,) = faults_of(Request(), tmp_path)
    assert found.startswith("config: not valid TOML")
    assert "wsserver.toml" in found


def test_a_scalar_in_the_place_of_a_section_is_a_fault(tmp_path: Path) -> None:
    """``limits = 3`` names the section, and is no crash."""
    (tmp_path / "wsserver.toml").write_text("limits = 3\n")
    (found,) = faults_of(Request(), tmp_path)
    assert found == "limits: expected a table of settings (wsserver.toml:1)"


def test_secrets_never_stand_in_a_fault() -> None:
    """A wrong value of a secret key is named by its key only."""
    request = Request(settings=['auth.api_keys=["hush", 5]', "redis.url=hush://hush"])
    assert "hush" not in "\n".join(faults_of(request))


@given(
    path=st.sampled_from(sorted(catalogue())),
    value=st.one_of(st.text(max_size=20), st.integers().map(str), st.floats().map(str)),
)
def test_any_text_for_any_key_loads_or_is_a_fault(path: str, value: str) -> None:
    """No value of any key ends in anything but a configuration or a list of faults."""
    try:
        loaded = load(Request(settings=[f"{path}={value}"]), HERE, Path("/here"))
    except ConfigError as error:
        assert error.faults
    else:
        assert isinstance(loaded, Loaded)


@given(st.text(max_size=200))
def test_any_file_loads_or_is_a_fault(text: str) -> None:
    """Whatever a file holds, it ends in a configuration or in a list of faults."""
    from wsserver.config.sources import key_lines

    assert all(line >= 1 for line in key_lines(text).values())
