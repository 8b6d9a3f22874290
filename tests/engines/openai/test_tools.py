"""Tools of a model behind an OpenAI-compatible server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engines.driver import Result, running
from tests.engines.openai.servers import Exchange, llama_server, scripted
from tests.engines.openai.specs import spec_of
from tests.tiny_models import TOOL_CHATML, TinyModel, TinyModels
from wsserver.core.engine import ChatMessage, Finished, FinishReason, Sampling
from wsserver_protocol.tools import ToolCall

pytest.importorskip("aiohttp", reason="the HTTP client is not installed")

NOW: dict[str, Any] = {"type": "function", "function": {"name": "now", "description": "The time."}}
AUTO = Sampling(tools=(NOW,))
REQUIRED = Sampling(tools=(NOW,), tool_choice="required")
CALLED = ToolCall(id="c", name="now", arguments='{"zone": "CET"}')


def calls_of(result: Result) -> tuple[ToolCall, ...]:
    """The calls that an answer ended in."""
    assert isinstance(result.end, Finished), result.end
    return result.end.tool_calls


def asking(finish: str, *parts: dict[str, Any]) -> Any:
    """A server that says "let me see" and calls."""

    async def script(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.tell("let me see")
        for part in parts:
            delta = {"tool_calls": [part]}
            await exchange.event({"choices": [{"index": 0, "delta": delta}]})
        await exchange.tell(finish=finish)
        await exchange.send("data: [DONE]\n\n")

    return script


PARTS: tuple[dict[str, Any], ...] = (
    {"index": 0, "id": "c", "type": "function", "function": {"name": "now", "arguments": ""}},
    {"index": 0, "function": {"arguments": '{"zone": '}},
    {"index": 0, "function": {"arguments": '"CET"}'}},
)


@pytest.mark.parametrize("finish", ["tool_calls", "stop"])
async def test_calls_are_passed_through(finish: str) -> None:
    """Tools go out as they are, calls come back whole, also from servers that say "stop"."""
    async with (
        scripted(asking(finish, *PARTS)) as server,
        running(spec_of(server.url)) as driver,
    ):
        assert driver.info is not None
        assert "tools" in driver.info.capabilities
        result = await driver.run("a", sampling=REQUIRED)
        assert result.reason is FinishReason.TOOL_CALLS
        assert (result.text, calls_of(result)) == ("let me see", (CALLED,))
        body = server.requests[0].body
        assert (body["tools"], body["tool_choice"]) == ([NOW], "required")


async def test_results_of_calls_go_out_in_openais_form() -> None:
    """A turn with a call and one with its result, and no tools where none are given."""
    turns = (
        ChatMessage(role="user", content="late?"),
        ChatMessage(role="assistant", content="", tool_calls=(CALLED,)),
        ChatMessage(role="tool", content="noon", tool_call_id="c"),
    )
    async with scripted(asking("stop")) as server, running(spec_of(server.url)) as driver:
        assert (await driver.run("a", messages=turns)).reason is FinishReason.STOP
        body = server.requests[0].body
        assert body["messages"][1]["tool_calls"][0]["function"]["name"] == "now"
        assert body["messages"][2]["tool_call_id"] == "c"
        assert "tools" not in body


@pytest.mark.parametrize(
    ("finish", "parts"),
    [
        ("stop", ()),  # required, and none made
        ("tool_calls", ({"index": 0, "id": "c", "function": {"arguments": "{}"}},)),
    ],
)
async def test_call_that_is_none_fails_the_answer(finish: str, parts: Any) -> None:
    """An answer that had to call and did not, or calls nothing by name, is no success."""
    async with (
        scripted(asking(finish, *parts)) as server,
        running(spec_of(server.url, retries=0)) as driver,
    ):
        failure = (await driver.run("a", sampling=REQUIRED)).failure
        assert failure.code == "generation_failed"
        assert failure.retryable


async def test_cut_call_is_none() -> None:
    """An answer that ends by length within a call tells none."""
    async with (
        scripted(asking("length", *PARTS[:2])) as server,
        running(spec_of(server.url)) as driver,
    ):
        result = await driver.run("a", sampling=AUTO)
        assert result.reason is FinishReason.LENGTH
        assert calls_of(result) == ()


async def test_operator_may_say_that_a_server_lacks_tools() -> None:
    """Then they are declared and refused as missing, and the server is not asked."""
    async with scripted(asking("stop")) as server:
        async with running(spec_of(server.url, unsupported=["tools"])) as driver:
            failure = (await driver.run("a", sampling=AUTO)).failure
            assert failure.code == "unsupported_option"
        assert server.requests == []


async def test_real_server_calls(tiny_models: TinyModels) -> None:
    """llama-server with a model that calls: text and call are those of the engine within."""
    script = ("the", "\n<tool_call>\n", '{"name": "now", "arguments": {', "}}", "\n</tool_call>")
    model = TinyModel(
        mode="script", script=script, tokenizer="byte-level", template=TOOL_CHATML, name="calls"
    )
    with llama_server(tiny_models.path(model)) as url:
        async with running(spec_of(url)) as driver:
            sampling = Sampling(temperature=0.0, tools=(NOW,))
            result = await driver.run("a", sampling=sampling)
            assert result.reason is FinishReason.TOOL_CALLS
            assert result.text == "the\n"
            assert [(call.name, call.arguments) for call in calls_of(result)] == [("now", "{}")]
