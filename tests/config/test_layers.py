"""Which layer wins, and how each of them is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wsserver.config import Config, ConfigError, Loaded, Request, load
from wsserver.config.keys import catalogue

KEY = "limits.requests_per_minute"


def load_in(folder: Path, *, env: dict[str, str] | None = None, **request: Any) -> Loaded:
    """Load with ``folder`` as current folder and as home of the usual places."""
    places = {"XDG_CONFIG_HOME": str(folder / "xdg"), "XDG_DATA_HOME": str(folder / "data")}
    return load(Request(**request), places | (env or {}), folder)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_hold_when_nobody_says_anything(tmp_path: Path) -> None:
    """Without any layer all is default, with the demo model and the usual data folder."""
    loaded = load_in(tmp_path)
    assert loaded.config.server == Config().server
    assert loaded.config.limits == Config().limits
    assert loaded.config.models.start == ("demo",)
    assert loaded.config.data.dir == str(tmp_path / "data" / "wsserver")
    assert loaded.origins == {}
    assert loaded.file is None


def test_layers_win_in_rising_order(tmp_path: Path) -> None:
    """File, environment, flag and --set each override the one before."""
    write(tmp_path / "wsserver.toml", "[limits]\nrequests_per_minute = 1\n")
    env = {"WSSERVER_LIMITS_REQUESTS_PER_MINUTE": "2"}
    flags = {KEY: ("--some-flag", "3")}
    settings = [f"{KEY}=4", f"{KEY}=5"]

    def outcome(**layers: Any) -> tuple[int, str]:
        loaded = load_in(tmp_path, **layers)
        return loaded.config.limits.requests_per_minute, loaded.origins[KEY].label

    assert outcome() == (1, "wsserver.toml:2")
    assert outcome(env=env) == (2, "environment WSSERVER_LIMITS_REQUESTS_PER_MINUTE")
    assert outcome(env=env, flags=flags) == (3, "--some-flag")
    assert outcome(env=env, flags=flags, settings=settings) == (5, "--set")


def test_only_the_first_file_found_is_read(tmp_path: Path) -> None:
    """--config goes before WSSERVER_CONFIG, that before ./wsserver.toml, that before XDG's."""
    write(tmp_path / "xdg" / "wsserver" / "config.toml", "[server]\nport = 4\nbacklog = 4\n")
    assert load_in(tmp_path).config.server.port == 4
    write(tmp_path / "wsserver.toml", "[server]\nport = 3\n")
    server = load_in(tmp_path).config.server
    assert (server.port, server.backlog) == (3, 2048)
    write(tmp_path / "two.toml", "[server]\nport = 2\n")
    env = {"WSSERVER_CONFIG": "two.toml"}
    assert load_in(tmp_path, env=env).config.server.port == 2
    write(tmp_path / "one.toml", "[server]\nport = 1\n")
    assert load_in(tmp_path, env=env, file="one.toml").config.server.port == 1


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    """A file that was asked for is not skipped in silence."""
    with pytest.raises(ConfigError, match="No such file"):
        load_in(tmp_path, file="gone.toml")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("log.level=debug", "debug"),
        ('log.level="debug"', "debug"),
        ("server.host=::1", "::1"),
        ("data.dir=5", "/here/5"),
        ("auth.enabled=true", True),
        ("server.drain_seconds=2.5", 2.5),
        ("server.drain_seconds=3", 3.0),
        (
            "server.origins=https://a.example,https://b.example",
            ("https://a.example", "https://b.example"),
        ),
        ('server.origins=["https://a.example"]', ("https://a.example",)),
        ("server.origins=", ()),
        ("models.engines.llamacpp.slots=4", {"llamacpp": {"slots": 4}}),
        ("models.engines={llamacpp={slots=4}}", {"llamacpp": {"slots": 4}}),
    ],
)
def test_shell_text_is_read_as_the_type_of_its_key(
    setting: str, value: object, tmp_path: Path
) -> None:
    """Bare strings, numbers, booleans, lists and TOML values all mean what a person expects."""
    keys = ["auth.api_keys=x", setting]
    config = load(Request(settings=keys), {"XDG_CONFIG_HOME": "/none"}, Path("/here")).config
    section, name = setting.partition("=")[0].split(".")[:2]
    assert getattr(getattr(config, section), name) == value


def test_tables_below_a_key_are_joined_over_layers(tmp_path: Path) -> None:
    """--set of one engine setting leaves the others of the file alone."""
    write(tmp_path / "wsserver.toml", "[models.engines.llamacpp]\nslots = 2\nthreads = 3\n")
    loaded = load_in(tmp_path, settings=["models.engines.llamacpp.slots=8"])
    assert loaded.config.models.engines == {"llamacpp": {"slots": 8, "threads": 3}}


def test_paths_are_absolute_against_the_place_that_named_them(tmp_path: Path) -> None:
    """A path in a file is relative to the file, one in a flag to the current folder."""
    write(tmp_path / "etc" / "server.toml", '[data]\ndir = "here"\n')
    loaded = load_in(tmp_path, file="etc/server.toml")
    assert loaded.config.data.dir == str(tmp_path / "etc" / "here")
    loaded = load_in(tmp_path, file="etc/server.toml", flags={"data.dir": ("--data-dir", "there")})
    assert loaded.config.data.dir == str(tmp_path / "there")


def test_kubernetes_variables_are_not_ours(tmp_path: Path) -> None:
    """A Service named wsserver puts WSSERVER_PORT=tcp://… into every pod; that must not matter."""
    env = {
        "WSSERVER_PORT": "tcp://10.0.0.1:8080",
        "WSSERVER_SERVICE_HOST": "10.0.0.1",
        "WSSERVER_SERVICE_PORT_HTTP": "8080",
        "WSSERVER_PORT_8080_TCP_ADDR": "10.0.0.1",
    }
    assert load_in(tmp_path, env=env).config.server.port == 8080


def test_every_key_has_a_description_and_its_own_environment_name() -> None:
    """What a key means is part of it, and no two keys share a variable."""
    keys = catalogue().values()
    assert [key.path for key in keys if not key.description] == []
    assert len({key.env for key in keys}) == len(keys)
    assert [key.path for key in keys if "_" in key.section] == []
