"""A model behind another server, as clients of this one see it: a real llama-server behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Connect, StartServer
from tests.engines.openai.servers import llama_server
from tests.support.server import ServerProcess
from tests.tiny_models import TinyModel, answer, write_tiny_model

pytest.importorskip("aiohttp", reason="the HTTP client is not installed")
pytest.importorskip("xllamacpp", reason="llama.cpp's binding is not installed")


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A llama-server whose model recites for ever."""
    path = tmp_path_factory.mktemp("upstream") / "cycle.gguf"
    with llama_server(write_tiny_model(path, TinyModel(mode="cycle"))) as url:
        yield url


@pytest.fixture(scope="module")
def server(
    start_module_server: StartServer, upstream: str, tmp_path_factory: pytest.TempPathFactory
) -> ServerProcess:
    """A server that knows the upstream by configuration only, and has a key for it."""
    config: Path = tmp_path_factory.mktemp("config") / "wsserver.toml"
    config.write_text(
        f'[[models.model]]\nid = "far"\nsource = "openai:{upstream}"\n'
        'settings = { api_key = "sk-secret", slots = 2 }\n'
    )
    return start_module_server("--config", str(config))


async def test_answer_streams_stops_and_goes_on(connect: Connect) -> None:
    """Streamed, stopped in the middle, continued where it stood: one text, byte for byte."""
    wire = await connect()
    start = await wire.stream(model="far", options={"temperature": 0, "maxTokens": 2000})
    await wire.first_token(start["streamId"])
    await wire.send(type="stop_stream", streamId=start["streamId"])
    assert (await wire.end_of(start["streamId"]))["type"] == "stream_stopped"
    begun = wire.copy(start["streamId"]).text
    more = await wire.ask(
        "continue", streamId=start["streamId"], options={"temperature": 0, "maxTokens": 46}
    )
    await wire.end_of(more["streamId"])
    assert answer(23 * 100).startswith(begun + wire.copy(more["streamId"]).text)


async def test_list_shows_no_address_and_no_secret(connect: Connect, upstream: str) -> None:
    """Clients see a model and what it can do; where it stands is not their business."""
    wire = await connect()
    reply = await wire.ask("models")
    (model,) = reply["models"]
    assert (model["id"], model["engine"], model["type"]) == ("far", "openai", "openai")
    assert (model["slots"], model["contextLength"]) == (2, 2048)
    assert "sk-secret" not in str(reply)
    assert upstream.removeprefix("http://").partition("/")[0] not in str(reply)


@pytest.mark.parametrize(
    ("request_fields", "field"),
    [
        ({"source": "openai:http://127.0.0.1:9/v1"}, "source"),
        ({"source": "OpenAI:http://127.0.0.1:9/v1"}, "source"),
        (
            {"source": "far", "id": "mine", "options": {"endpoints": ["http://127.0.0.1:9/v1"]}},
            None,
        ),
        ({"source": "far", "id": "mine", "options": {"apiKeyEnv": "PATH"}}, None),
        ({"source": "far", "id": "mine", "options": {"api_key_env": "PATH"}}, None),
        ({"source": "far", "id": "mine", "options": {"extraBody": {"x": 1}}}, None),
    ],
)
async def test_clients_can_not_make_the_server_call_an_address(
    connect: Connect, request_fields: dict[str, Any], field: str | None
) -> None:
    """Neither by a source of their own nor by settings over a configured one."""
    wire = await connect()
    error = await wire.ask_until("load_model", **request_fields)
    assert (error["type"], error["code"]) == ("model_load_error", "invalid_parameters")
    (detail,) = error["details"]
    assert detail["field"] == field or detail["field"].startswith("options.")


async def test_bad_option_is_refused_by_name(connect: Connect) -> None:
    """What that server lacks is declared like any engine's."""
    wire = await connect()
    error = await wire.ask("generate", prompt="x", model="far", options={"regex": "[0-9]"})
    assert (error["type"], error["code"]) == ("generation_error", "unsupported_option")


async def test_server_that_does_not_answer_fails_its_model_alone(
    start_server: StartServer, connect: Connect
) -> None:
    """The others serve, and the reason says what happened, not where the server stands."""
    server = start_server(
        *("--model", "here=synthetic:?tps=0", "--model", "gone=openai:http://127.0.0.1:9/v1"),
        ready=False,
    )
    wire = await connect(to=server)
    reply = await wire.ask_until("generate", prompt="x", model="here", options={"maxTokens": 1})
    assert reply["type"] == "generation_complete", reply
    assert reply["result"]["text"] == "1 "
    error = await wire.ask_until("generate", prompt="x", model="gone")
    assert error["code"] == "model_not_ready"
    assert "the server: connection refused" in error["error"]
    assert "127.0.0.1" not in error["error"]
