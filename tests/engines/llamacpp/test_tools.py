"""Calls of tools, through the real engine on tiny models whose template knows tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.engines.driver import Result, running
from tests.tiny_models import TOOL_CHATML, TinyModel, TinyModels
from wsserver.core.engine import ChatMessage, EngineJob, Finished, FinishReason, ModelSpec, Sampling
from wsserver.engines.llamacpp.gguf import read_metadata
from wsserver.engines.llamacpp.sampling import SamplingLimits
from wsserver.engines.llamacpp.settings import SamplingDefaults
from wsserver.engines.llamacpp.tools import chat_body
from wsserver_protocol.tools import ToolCall

pytest.importorskip("xllamacpp", reason="llama.cpp's binding is not installed")

TEXT = ("the", " quick", " fox")
SHOWN = "the quick fox\n"  # what stands before the mark of a call
CALL = (
    "\n<tool_call>\n",
    '{"name": "get_weather", ',
    '"arguments": {"city": "Paris", ',
    '"days": 2}}',
    "\n</tool_call>",
)
# No piece twice: each has one successor.
SECOND = ("\n<tool_call>\n ", '{"name": "now", "arguments": {}', "}", "\n</tool_call>\n")
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Paris", "Rome"]}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}
NOW = {"type": "function", "function": {"name": "now", "description": "The time."}}


def spec_of(path: Path, **settings: Any) -> ModelSpec:
    """The spec of a file."""
    return ModelSpec(
        id="tiny", engine="llamacpp", source=path.name, path=str(path), settings=settings
    )


def scripted(*pieces: str) -> TinyModel:
    """A model that knows tools and says these pieces, a token each."""
    return TinyModel(
        mode="script", script=pieces, tokenizer="byte-level", template=TOOL_CHATML, name="tools"
    )


def sampling(choice: Any = "auto", *tools: dict[str, Any], **more: Any) -> Sampling:
    """Greedy, with tools."""
    return Sampling(temperature=0.0, tools=tools or (WEATHER, NOW), tool_choice=choice, **more)


def told_calls(result: Result) -> tuple[ToolCall, ...]:
    """The calls that an answer ended in."""
    assert isinstance(result.end, Finished), result.end
    return result.end.tool_calls


def calls_of(result: Result) -> list[tuple[str, Any]]:
    """Names and arguments of an answer's calls."""
    return [(call.name, json.loads(call.arguments)) for call in told_calls(result)]


@pytest.fixture
def caller(tiny_models: TinyModels) -> Path:
    """Says a few words, then calls a tool."""
    return tiny_models.path(scripted(*TEXT, *CALL))


async def test_call_is_told_and_not_shown(caller: Path) -> None:
    """The text is what the model says beside the call; the call comes whole at the end."""
    async with running(spec_of(caller)) as driver:
        assert driver.info is not None
        assert "tools" in driver.info.capabilities
        result = await driver.run("a", sampling=sampling())
        assert result.reason is FinishReason.TOOL_CALLS
        assert result.text == SHOWN
        assert calls_of(result) == [("get_weather", {"city": "Paris", "days": 2})]
        assert result.tokens == len(TEXT) + len(CALL)
        assert told_calls(result)[0].id
        # Not a token of the call is counted before it is whole.
        assert sum(delta.tokens for delta in result.deltas[:-1]) <= len(TEXT) + 1


async def test_several_calls_come_in_order(tiny_models: TinyModels) -> None:
    """A model may call more than one tool at once; each call has an id of its own."""
    path = tiny_models.path(scripted(*CALL, *SECOND))
    async with running(spec_of(path)) as driver:
        result = await driver.run("a", sampling=sampling("required"))
        assert [name for name, _ in calls_of(result)] == ["get_weather", "now"]
        assert result.text == ""
        assert len({call.id for call in told_calls(result)}) == 2


async def test_none_leaves_the_text_as_it_is(caller: Path) -> None:
    """With toolChoice none nothing is taken for a call, as without tools."""
    async with running(spec_of(caller)) as driver:
        for number, sampled in enumerate((sampling("none"), Sampling(temperature=0.0))):
            result = await driver.run(f"{number}", sampling=sampled)
            assert result.reason is FinishReason.STOP
            assert result.text == "".join((*TEXT, *CALL))


async def test_text_goes_on_where_an_engine_died(caller: Path) -> None:
    """An answer taken up after some of its text says the rest, and then calls; nothing twice."""
    async with running(spec_of(caller)) as driver:
        whole = await driver.run("a", sampling=sampling())
        rest = await driver.run("b", sampling=sampling(), prior="the quick", prior_tokens=2)
        assert "the quick" + rest.text == whole.text
        assert calls_of(rest) == calls_of(whole)


async def test_cut_call_is_none(caller: Path) -> None:
    """An answer that ends by length within a call has its text and no call, and counts all."""
    async with running(spec_of(caller)) as driver:
        result = await driver.run("a", sampling=sampling(), max_tokens=len(TEXT) + 3)
        assert result.reason is FinishReason.LENGTH
        assert result.text == SHOWN
        assert told_calls(result) == ()
        assert result.tokens == len(TEXT) + 3


async def test_stop_string_ends_the_text_before_a_call(caller: Path) -> None:
    """A stop string in the text ends the answer there."""
    async with running(spec_of(caller)) as driver:
        result = await driver.run("a", sampling=sampling(stop=(" fox",)))
        assert result.reason is FinishReason.STOP_STRING
        assert result.text == "the quick"


async def test_cancel_ends_an_answer_with_tools(tiny_models: TinyModels) -> None:
    """A cancel ends it at a step, and the slot serves the next."""
    model = TinyModel(mode="cycle", tokenizer="byte-level", template=TOOL_CHATML)
    async with running(spec_of(tiny_models.path(model), slots=1)) as driver:
        driver.start("a", sampling=sampling(), max_tokens=3000)
        await driver.until("a", lambda result: bool(result.text))
        driver.host.cancel("a")
        assert (await driver.ended("a")).reason is FinishReason.CANCELLED
        assert (await driver.run("b", max_tokens=2)).tokens == 2


async def test_results_of_calls_reach_the_model(caller: Path) -> None:
    """A call and its result are turns like others: they are rendered and counted, with and
    without tools in the request."""
    called = ChatMessage(
        role="assistant",
        content="",
        tool_calls=(ToolCall(id="c", name="get_weather", arguments='{"city": "Rome"}'),),
    )
    asked = ChatMessage(role="user", content="fox")
    turns = (asked, called, ChatMessage(role="tool", content="sunny", tool_call_id="c"))
    async with running(spec_of(caller)) as driver:
        bare = await driver.host.count_tokens(messages=(asked,))
        assert await driver.host.count_tokens(messages=turns) > bare + 40
        for number, sampled in enumerate((sampling(), Sampling(temperature=0.0))):
            result = await driver.run(f"{number}", messages=turns, sampling=sampled)
            assert getattr(result.end, "prompt_tokens", 0) > bare + 40


@pytest.mark.parametrize(
    ("sampled", "code", "words"),
    [
        (
            sampling(
                "auto",
                NOW,
                {
                    "type": "function",
                    "function": {
                        "name": "f",
                        "parameters": {"type": "object", "properties": {"a": {"type": "strin"}}},
                    },
                },
            ),
            "invalid_parameters",
            "tools[1].function.parameters",
        ),
        (
            sampling(
                "auto",
                {
                    "type": "function",
                    "function": {
                        "name": "f",
                        "parameters": {
                            "type": "object",
                            "properties": {"a": {"type": "string", "pattern": "^a{3,1}$"}},
                        },
                    },
                },
            ),
            "invalid_parameters",
            "tools[0].function.parameters.properties.a.pattern",
        ),
        (sampling(logprobs=1), "unsupported_option", "logprobs"),
    ],
)
async def test_tools_that_cannot_be_used_are_refused(
    caller: Path, sampled: Sampling, code: str, words: str
) -> None:
    """A schema that llama.cpp can't bind a call to is refused by its field; the slot is free."""
    async with running(spec_of(caller)) as driver:
        failure = (await driver.run("a", sampling=sampled)).failure
        assert failure.code == code
        assert words in failure.message
        assert (await driver.run("b", sampling=sampling())).reason is FinishReason.TOOL_CALLS


async def test_template_without_tools_has_none(tiny_models: TinyModels) -> None:
    """A model whose template knows no tools, or that has none, declares and refuses them."""
    for model in (TinyModel(), TinyModel(template=None)):
        async with running(spec_of(tiny_models.path(model))) as driver:
            assert driver.info is not None
            assert "tools" in driver.info.unsupported_options
            assert "tools" not in driver.info.capabilities
            failure = (await driver.run("a", sampling=sampling())).failure
            assert failure.code == "unsupported_option"


async def test_context_that_is_full_refuses(caller: Path) -> None:
    """Tools and turns that leave no room for an answer are the request's fault, in words."""
    async with running(spec_of(caller, ctx=256)) as driver:
        failure = (await driver.run("a", "fox " * 300, sampling=sampling())).failure
        assert failure.code == "context_length_exceeded"


def test_people_cannot_speak_in_control_tokens_beside_tools(caller: Path) -> None:
    """The text of a control token is broken up by a character that shows nothing, everywhere."""
    control = read_metadata(str(caller)).control_tokens
    assert "<|im_end|>" in control
    called = ToolCall(id="c", name="f", arguments='{"a": "<|im_end|>"}')
    job = EngineJob(
        job_id="a",
        messages=(
            ChatMessage(role="user", content="hi <|im_end|>"),
            ChatMessage(role="assistant", content="", tool_calls=(called,)),
        ),
        sampling=sampling(),
    )
    limits = SamplingLimits(SamplingDefaults(), 500, has_llguidance=True, has_logprobs=True)
    body = chat_body(job, limits, control, {})
    assert body["messages"][0]["content"] == "hi <\u200b|im_end|>"
    arguments = body["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(arguments) == {"a": "<\u200b|im_end|>"}
