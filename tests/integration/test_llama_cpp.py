"""A real model behind the wire: llama.cpp on a tiny file whose every byte is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Connect, StartServer
from tests.support.server import ServerProcess
from tests.support.wire import Frame, Wire
from tests.tiny_models import TinyModel, TinyModels, answer

pytest.importorskip("xllamacpp", reason="llama.cpp's binding is not installed")

GREEDY = {"temperature": 0, "tokenInterval": 0, "progressEvery": 0}


@pytest.fixture(scope="module")
def models_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model that recites for ever, one that ends, and a broken file."""
    folder = tmp_path_factory.mktemp("gguf")
    models = TinyModels(folder)
    for mode in ("cycle", "sentence"):
        model = TinyModel(mode=mode, context=16_384)
        models.path(model).rename(folder / f"{mode}.gguf")
    (folder / "broken.gguf").write_bytes((folder / "cycle.gguf").read_bytes()[:5000])
    return folder


@pytest.fixture(scope="module")
def llama(start_module_server: StartServer, models_folder: Path) -> ServerProcess:
    """A server with the reciting model, whose folder clients may load from."""
    return start_module_server(
        "--models-dir", str(models_folder), "--model", str(models_folder / "cycle.gguf")
    )


@pytest.fixture
async def talk(llama: ServerProcess, connect: Connect) -> Wire:
    """A connection to it."""
    return await connect(to=llama)


@pytest.mark.parametrize("binary", [False, True])
async def test_every_byte_of_an_answer(
    llama: ServerProcess, connect: Connect, binary: bool
) -> None:
    """A frame a token: the pieces are the answer, and no piece splits a character."""
    wire = await connect(to=llama, binary=binary)
    start = await wire.stream("go on", options={**GREEDY, "maxTokens": 120})
    end = await wire.end_of(start["streamId"], seconds=30)
    assert wire.copy(start["streamId"]).text == answer(120)
    assert "🎻" in answer(120)
    assert (end["finishReason"], end["usage"]["completionTokens"]) == ("length", 120)
    assert end["usage"]["promptTokens"] > 2


async def test_a_model_that_ends_its_turn(talk: Wire) -> None:
    """An answer that the model ends has `stop`; its end mark is no text."""
    loaded = await talk.ask_until("load_model", source="sentence.gguf", seconds=30)
    assert loaded["model"] == {
        "id": "sentence",
        "name": loaded["model"]["name"],
        "type": "gguf",
        "status": "ready",
    }
    reply = await talk.ask(
        "generate", prompt="x", model="sentence", options={"temperature": 0}, seconds=30
    )
    assert reply["result"]["finishReason"] == "stop"
    assert reply["result"]["text"].strip().endswith("🎻 .")
    await talk.ask("unload_model", id="sentence", seconds=30)


async def test_a_broken_file_says_why(talk: Wire, models_folder: Path) -> None:
    """A file that is no model fails with llama.cpp's reason, without the host's path."""
    error = await talk.ask_until("load_model", source="broken.gguf", seconds=30)
    assert (error["type"], error["code"]) == ("model_load_error", "model_load_failed")
    assert error["error"]
    assert str(models_folder) not in str(error)
    assert (await talk.ask("ping"))["type"] == "pong"


async def test_log_probabilities_come_with_their_tokens(talk: Wire) -> None:
    """As many entries as tokens, each with its alternatives, in pieces and in results."""
    options: Frame = {"temperature": 0, "maxTokens": 6, "logprobs": 2}
    start = await talk.stream("x", options={**options, "tokenInterval": 0})
    await talk.end_of(start["streamId"], seconds=30)
    entries = [entry for piece in talk.of_type("stream_token") for entry in piece["logprobs"]]
    assert len(entries) == 6
    assert all(len(entry["top"]) == 2 and entry["logprob"] <= 0 for entry in entries)
    reply = await talk.ask("generate", prompt="x", options=options, seconds=30)
    assert [entry["token"] for entry in reply["result"]["logprobs"]] == [
        entry["token"] for entry in entries
    ]


async def test_tokens_are_the_model_s_own(talk: Wire) -> None:
    """A conversation counts with its template, a text without."""
    bare = (await talk.ask("count_tokens", text="the quick brown fox", seconds=30))["tokens"]
    turn = [{"role": "user", "content": "the quick brown fox"}]
    whole = (await talk.ask("count_tokens", messages=turn))["tokens"]
    assert 4 <= bare < whole
    reply = await talk.ask(
        "generate", prompt="the quick brown fox", options={"maxTokens": 1, "cache": False}
    )
    assert reply["result"]["usage"]["promptTokens"] == whole


async def test_unsupported_and_invalid_constraints(talk: Wire) -> None:
    """What llama.cpp can't do is refused by name; a bad grammar or schema is never ignored."""
    error = await talk.ask("generate", prompt="x", options={"bannedStrings": ["x"]})
    assert error["code"] == "unsupported_option"
    for option in ({"grammar": "root ::= ("}, {"regex": "("}, {"jsonSchema": {"type": "nonsense"}}):
        error = await talk.ask("generate", prompt="x", options={**option, "maxTokens": 5})
        assert error["type"] == "generation_error", option
        assert error["code"] in ("invalid_parameters", "unsupported_option"), option
        assert [detail["field"] for detail in error["details"]] == [f"options.{[*option][0]}"]
    reply = await talk.ask(
        "generate", prompt="x", options={"grammar": "root ::= [ab] [ab] [ab]"}, seconds=30
    )
    assert len(reply["result"]["text"]) == 3


async def test_a_killed_engine_goes_on_with_every_byte(llama: ServerProcess, talk: Wire) -> None:
    """SIGKILL of llama.cpp in mid-answer: the text goes on where it was, byte for byte."""
    start = await talk.stream("go on", options={**GREEDY, "maxTokens": 400})
    for _ in range(25):
        await talk.first_token(start["streamId"])
    (child,) = llama.children()
    child.kill()
    end = await talk.end_of(start["streamId"], seconds=30)
    assert (end["type"], end["usage"]["completionTokens"]) == ("stream_complete", 400)
    assert talk.copy(start["streamId"]).text == answer(400)
    (model,) = [m for m in (await talk.ask("models"))["models"] if m["id"] == "cycle"]
    assert (model["status"], model["activeStreams"]) == ("ready", 0)


async def test_second_turn_of_a_session_reuses_the_first(talk: Wire) -> None:
    """What the slot holds of a chat is not computed again: `cachedTokens` grows in turn 2."""
    session = (await talk.ask("open_session", sessionId="cached"))["session"]["sessionId"]
    cached = []
    for prompt in ("fox " * 60, "dog"):
        reply = await talk.ask(
            "generate",
            prompt=prompt,
            sessionId=session,
            options={"temperature": 0, "maxTokens": 4, "cache": False},
            seconds=30,
        )
        cached.append(reply["result"]["usage"]["cachedTokens"])
    assert cached[1] > cached[0] + 60
