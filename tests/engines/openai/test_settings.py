"""What an operator may set, and what is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from wsserver.core.engine import ModelLoadError, ModelSpec
from wsserver.engines.openai.settings import OpenAiSettings, read_settings

URL = "http://127.0.0.1:8000/v1"


def read(source: str = f"openai:{URL}", **settings: Any) -> OpenAiSettings:
    """The settings of a load."""
    spec = ModelSpec(id="m", engine="openai", source=source, settings=settings)
    return read_settings(spec, {"KEY": "s3cret", "EMPTY": ""})


def test_source_tells_address_and_model() -> None:
    """An address, and the model's name with slashes and all."""
    settings = read(f"openai:{URL}/?model=org/name-7b")
    assert settings.endpoints == (URL,)
    assert settings.model == "org/name-7b"
    assert settings.slots == 8


def test_endpoints_of_the_settings_replace_the_source() -> None:
    """Several addresses, each once; the setting's model counts over the source's."""
    settings = read("openai:", endpoints=[URL, "https://b/v1/", URL], model="x")
    assert settings.endpoints == (URL, "https://b/v1")
    assert settings.model == "x"


def test_key_comes_from_the_environment_and_shows_nowhere() -> None:
    """The secret is in its field, and not in what a log may print."""
    settings = read(api_key_env="KEY")
    assert settings.api_key == "s3cret"
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    ("source", "settings", "reason"),
    [
        ("openai:", {}, "no address"),
        ("openai:ftp://x/v1", {}, "http: or https:"),
        ("openai:http://:80/v1", {}, "http: or https:"),
        ("openai:http://x:port/v1", {}, "http: or https:"),
        ("openai:http://me:hunter2@x/v1", {}, "api_key_env"),
        (f"openai:{URL}?api_key=hunter2", {}, "'api_key'"),
        (f"openai:{URL}#hunter2", {}, "without a query"),
        (f"openai:{URL}", {"slotz": 1}, "slotz"),
        (f"openai:{URL}", {"slots": 0}, "'slots'"),
        (f"openai:{URL}", {"slots": True}, "'slots'"),
        (f"openai:{URL}", {"token_timeout": "soon"}, "'token_timeout'"),
        (f"openai:{URL}", {"endpoints": URL}, "'endpoints'"),
        (f"openai:{URL}", {"server": "mystery"}, "'server'"),
        (f"openai:{URL}", {"extra_body": []}, "'extra_body'"),
        (f"openai:{URL}", {"api_key": "hunter2\n"}, "'api_key'"),
        (f"openai:{URL}", {"api_key": "hunter2", "api_key_env": "KEY"}, "exclude each other"),
        (f"openai:{URL}", {"api_key_env": "MISSING"}, "MISSING"),
        (f"openai:{URL}", {"api_key_env": "EMPTY"}, "EMPTY"),
    ],
)
def test_bad_settings_are_named_without_secrets(
    source: str, settings: dict[str, Any], reason: str
) -> None:
    """The reason names the key; a password in the wrong place is not repeated."""
    with pytest.raises(ModelLoadError) as caught:
        read(source, **settings)
    assert reason in str(caught.value)
    assert "hunter2" not in str(caught.value)
