"""Tools over the wire: a real model that calls, and those that can't."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Connect, StartServer
from tests.support.server import ServerProcess
from tests.support.wire import Wire
from tests.tiny_models import TOOL_CHATML, TinyModel, write_tiny_model
from wsserver_client import connect as connect_client

pytest.importorskip("xllamacpp", reason="llama.cpp's binding is not installed")

SCRIPT = (
    "the",
    " quick",
    "\n<tool_call>\n",
    '{"name": "get_weather", ',
    '"arguments": {"city_name": "Paris"}}',
    "\n</tool_call>",
)
SHOWN = "the quick\n"
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {
                "type": "object",
                "properties": {"city_name": {"type": "string"}},
                "required": ["city_name"],
            },
        },
    }
]
OPTIONS = {"temperature": 0, "tokenInterval": 0, "progressEvery": 0, "tools": TOOLS}
ARGUMENTS = {"city_name": "Paris"}


@pytest.fixture(scope="module")
def caller(
    start_module_server: StartServer, tmp_path_factory: pytest.TempPathFactory
) -> ServerProcess:
    """A server with a model that says two words and calls a tool."""
    model = TinyModel(
        mode="script", script=SCRIPT, tokenizer="byte-level", template=TOOL_CHATML, name="caller"
    )
    path = write_tiny_model(tmp_path_factory.mktemp("caller") / "caller.gguf", model)
    return start_module_server(
        *("--model", str(Path(path))), *("--model", "synthetic:?tps=0&ttft_ms=0")
    )


@pytest.fixture
async def talk(caller: ServerProcess, connect: Connect) -> Wire:
    """A connection to it."""
    return await connect(to=caller)


async def test_stream_ends_in_a_call(caller: ServerProcess, connect: Connect) -> None:
    """Asker and watcher have the same text, which holds nothing of the call, and the same call."""
    asker, other = await connect(to=caller), await connect(to=caller)
    for wire in (asker, other):
        await wire.ask("authenticate", userId="ann")
    start = await asker.stream(options=OPTIONS)
    end = await asker.end_of(start["streamId"], seconds=30)
    assert end["finishReason"] == "tool_calls"
    assert asker.copy(start["streamId"]).text == SHOWN
    assert end["offset"] == len(SHOWN)
    (call,) = end["toolCalls"]
    assert (call["name"], json.loads(call["arguments"])) == ("get_weather", ARGUMENTS)
    assert end["usage"]["completionTokens"] == len(SCRIPT)
    await other.send(type="watch_stream", streamId=start["streamId"])
    again = await other.end_of(start["streamId"])
    assert again["toolCalls"] == end["toolCalls"]
    assert other.copy(start["streamId"]).text == SHOWN


async def test_generate_and_batch_tell_calls(talk: Wire) -> None:
    """A whole answer has its calls in the result; asked for again it is made again."""
    for _ in range(2):
        reply = await talk.ask("generate", prompt="x", options=OPTIONS, seconds=30)
        assert reply["result"]["finishReason"] == "tool_calls"
        assert not reply["result"]["cached"]
        assert reply["result"]["text"] == SHOWN
        assert [call["name"] for call in reply["result"]["toolCalls"]] == ["get_weather"]
    await talk.ask_until("batch", prompts=["a", "b"], options=OPTIONS, seconds=30)
    items = talk.of_type("batch_item")
    assert [len(item["result"]["toolCalls"]) for item in items] == [1, 1]


async def test_result_of_a_call_goes_back(talk: Wire) -> None:
    """Turns with a call and its result are taken, in either spelling, and take tokens."""
    call = {"id": "c", "name": "get_weather", "arguments": json.dumps(ARGUMENTS)}
    turns = [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "rain", "toolCallId": "c"},
    ]
    counted = await talk.ask("count_tokens", messages=turns)
    alone = await talk.ask("count_tokens", messages=turns[:1])
    assert counted["tokens"] > alone["tokens"] + 30
    reply = await talk.ask("generate", messages=turns, options=OPTIONS, seconds=30)
    assert reply["result"]["usage"]["promptTokens"] > counted["tokens"]
    choice = {"name": "get_weather"}
    reply = await talk.ask(
        "generate", messages=turns, options={**OPTIONS, "tool_choice": choice}, seconds=30
    )
    assert reply["result"]["finishReason"] == "tool_calls"


async def test_call_that_a_kill_cuts_short_is_made_anew(
    start_server: StartServer, connect: Connect, tmp_path: Path
) -> None:
    """SIGKILL within a call: the text stays as it was shown, and the call comes once and whole."""
    words = [f"w{number} " for number in range(900)]
    call_mark = ("\n", "<tool_call>\n", '{"name": "get_weather", "arguments": {"city_name": "')
    script = (*SCRIPT[:2], *call_mark, *words, '"}}', SCRIPT[-1])
    # The model goes by the last token alone: that of an open turn must not be the line feed.
    template = TOOL_CHATML.replace("m.role + '\n'", "m.role + ':'")
    template = template.replace("assistant\n", "assistant:")
    model = TinyModel(
        mode="script", script=script, tokenizer="byte-level", template=template, name="long"
    )
    path = write_tiny_model(tmp_path / "long.gguf", model)
    server = start_server("--model", str(path))
    wire = await connect(to=server)
    start = await wire.stream(options={**OPTIONS, "maxTokens": 2000})
    while wire.copy(start["streamId"]).text != SHOWN:
        await wire.first_token(start["streamId"])
    (child,) = server.children()
    child.kill()
    end = await wire.end_of(start["streamId"], seconds=60)
    assert b'wsserver_engine_restarts_total{model="long"} 1.0' in server.get("/metrics")[2]
    assert wire.copy(start["streamId"]).text == SHOWN
    assert wire.of_type("stream_rewind") == []
    (call,) = end["toolCalls"]
    assert json.loads(call["arguments"]) == {"city_name": "".join(words)}


async def test_model_without_tools_refuses_them(talk: Wire) -> None:
    """The field is named; the models that have tools say so."""
    reply = await talk.ask("generate", prompt="x", model="synthetic", options=OPTIONS)
    assert (reply["type"], reply["code"]) == ("generation_error", "unsupported_option")
    assert [detail["field"] for detail in reply["details"]] == ["options.tools"]
    models = {m["id"]: m["capabilities"] for m in (await talk.ask("models"))["models"]}
    assert "tools" in models["caller"]
    assert "tools" not in models["synthetic"]


async def test_session_keeps_the_text_of_an_answer_that_calls(talk: Wire) -> None:
    """Its history has text and reason; the next turn goes on from there."""
    session = (await talk.ask("open_session", sessionId="s"))["session"]["sessionId"]
    reply = await talk.ask("generate", prompt="x", sessionId=session, options=OPTIONS, seconds=30)
    assert len(reply["result"]["toolCalls"]) == 1
    history = (await talk.ask("get_history", sessionId=session))["messages"]
    assert (history[-1]["content"], history[-1]["finishReason"]) == (SHOWN, "tool_calls")
    refused = await talk.ask("continue", sessionId=session)
    assert (refused["type"], refused["code"]) == ("stream_error", "invalid_parameters")
    reply = await talk.ask("generate", prompt="y", sessionId=session, options=OPTIONS, seconds=30)
    assert reply["result"]["text"] == SHOWN


async def test_python_client_goes_the_whole_round(caller: ServerProcess) -> None:
    """Calls come as values, and go back in a turn as they are."""
    async with connect_client(caller.ws_url) as client:
        first = await client.generate("weather?", temperature=0, tools=TOOLS)
        assert first.finish_reason == "tool_calls"
        (call,) = first.tool_calls
        assert json.loads(call.arguments) == ARGUMENTS
        answer = client.stream(
            messages=[
                {"role": "user", "content": "weather?"},
                {"role": "assistant", "content": first.text, "tool_calls": first.tool_calls},
                {"role": "tool", "content": "rain", "tool_call_id": call.id},
            ],
            tools=TOOLS,
            tool_choice="none",
            temperature=0,
        )
        result = await answer.result()
        assert result.tool_calls == ()
        assert result.text
