"""What a request becomes on its way to a runner."""

from __future__ import annotations

import msgspec

from wsserver.core.ask import MOST_TOKENS_WHOLE, Ask, make_job, merged_options
from wsserver.core.cache import cache_key
from wsserver.core.engine import ChatMessage
from wsserver.core.identity import Identity
from wsserver.core.jobs import Job
from wsserver.core.shared.meta import Meta, unpack
from wsserver.core.streams import Ending, StreamRecord
from wsserver.core.streams.record import Facts
from wsserver_protocol.lifecycle import FinishReason
from wsserver_protocol.options import GenerationOptions
from wsserver_protocol.tools import NamedTool, Tool, ToolCall, ToolFunction


def tool(name: str) -> Tool:
    """A tool of that name."""
    return Tool(type="function", function=ToolFunction(name=name))


def job_of(
    options: GenerationOptions,
    messages: tuple[ChatMessage, ...] = (),
    *,
    is_stream: bool = True,
    room_id: str | None = None,
) -> Job:
    """The work that a request with these options is."""
    owner = Identity(user_id="ada", limit_key="ada")
    ask = Ask(owner=owner, client_id="c", options=options, is_stream=is_stream, room_id=room_id)
    return make_job(StreamRecord("s", "m", 0.0), ask, messages, None, "")


def test_tool_chosen_by_name_is_the_only_one() -> None:
    """The model is shown it alone, and has to call; otherwise it is shown all."""
    tools = (tool("f"), tool("g"))
    named = job_of(GenerationOptions(tools=tools, tool_choice=NamedTool(name="g"))).sampling
    assert [shown["function"]["name"] for shown in named.tools] == ["g"]
    assert named.tool_choice == "required"
    free = job_of(GenerationOptions(tools=tools)).sampling
    assert (len(free.tools), free.tool_choice) == (2, "auto")
    assert job_of(GenerationOptions(tools=tools, tool_choice="none")).sampling.tool_choice == "none"


def test_answer_that_may_call_tools_fits_a_frame() -> None:
    """Its calls are told in one frame, so that a stream has the bound of a whole answer, too."""
    many = 1_000_000
    assert job_of(GenerationOptions(max_tokens=many)).max_tokens == many
    assert job_of(GenerationOptions(max_tokens=many, tools=(tool("f"),))).max_tokens == (
        MOST_TOKENS_WHOLE
    )


def test_answer_in_a_room_fits_a_frame() -> None:
    """It becomes one entry of the log, which is sent in one frame with other things."""
    options = GenerationOptions(max_tokens=1_000_000)
    assert job_of(options, room_id="r").max_tokens == MOST_TOKENS_WHOLE


def test_calls_and_results_of_tools_are_in_the_key_of_the_cache() -> None:
    """Turns that differ only there are another input."""
    call = ToolCall(id="c", name="f", arguments="{}")
    turns = (
        ChatMessage(role="assistant", content=""),
        ChatMessage(role="assistant", content="", tool_calls=(call,)),
        ChatMessage(role="assistant", content="", tool_call_id="c"),
    )
    keys = {cache_key(job_of(GenerationOptions(), (turn,)), "1") for turn in turns}
    assert len(keys) == len(turns)


def test_what_excludes_each_other_is_replaced_together() -> None:
    """A continuation that names tools drops a schema, and the other way round."""
    bound = GenerationOptions(json_schema={}, temperature=0.5)
    tools = GenerationOptions(tools=(tool("f"),), tool_choice="required")
    merged = merged_options(bound, tools)
    assert (merged.json_schema, merged.tools) == (None, tools.tools)
    assert merged.temperature == 0.5
    back = merged_options(merged, GenerationOptions(regex="a"))
    assert (back.regex, back.tools, back.tool_choice) == ("a", (), None)
    kept = merged_options(tools, GenerationOptions(tool_choice="none"))
    assert (kept.tools, kept.tool_choice) == (tools.tools, "none")


def test_tools_survive_the_way_to_another_process() -> None:
    """A job, what travels with it, and its end keep tools, the choice, turns and calls."""
    call = ToolCall(id="c", name="f", arguments='{"a": 1}')
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    shown = Tool(type="function", function=ToolFunction(name="f", parameters=schema))
    turns = (
        ChatMessage(role="assistant", content="", tool_calls=(call,)),
        ChatMessage(role="tool", content="2", tool_call_id="c"),
    )
    owner = Identity(user_id="ada", limit_key="ada")
    for choice in (None, "required", NamedTool(name="f")):
        options = GenerationOptions(tools=(shown,), tool_choice=choice)
        job = job_of(options, turns)
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(job), type=Job) == job
        ask = Ask(owner=owner, client_id="c", options=options, messages=turns)
        meta = Meta(ask=ask, model_id="m", accepted_at=1)
        assert unpack(msgspec.msgpack.encode(meta)) == meta


def test_calls_of_tools_and_facts_are_told_by_one_end() -> None:
    """The writer's facts go beside the calls, not in their place."""
    call = ToolCall(id="c", name="f", arguments="{}")
    ending = Ending.complete(FinishReason.TOOL_CALLS, (call,)).told_with(Facts(tokens=7))
    assert ending.tool_calls == (call,)
    assert ending.facts == Facts(tokens=7)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(ending), type=Ending) == ending
