"""A turn's way: its place, its start, its checkpoints, what refuses it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.core.sessions.faulty_store import Fault
from tests.core.sessions.stage import OWNER, Stage, said
from tests.support.virtual_time import until, virtual
from wsserver.core.sessions.model import Bounds
from wsserver.core.sessions.turns import asked_again, asked_text
from wsserver_protocol.errors import ErrorCode, WireError
from wsserver_protocol.lifecycle import StopReason
from wsserver_protocol.options import GenerationOptions
from wsserver_protocol.tools import NamedTool, Tool, ToolChoice, ToolFunction


@virtual
async def test_running_answer_is_never_more_than_a_second_behind(tmp_path: Path) -> None:
    """At any moment the store has all but the last second's text."""
    stage = await Stage.set_up(tmp_path)
    answer = stage.begin("q", options={"max_tokens": 10_000})
    await until(lambda: len(answer.record.transcript) > 0)
    for _ in range(40):
        await asyncio.sleep(0.137)  # virtual time
        kept = (await stage.kept())[-1]
        assert kept.tokens is not None
        assert answer.record.transcript.tokens - kept.tokens <= 100  # the engine makes 100 a second
        assert kept.finish_reason is None
        assert kept.lease is not None
    stage.core.answers.stop(answer, StopReason.CLIENT, "test")
    await stage.core.ended(answer)
    await stage.close()


@virtual
async def test_silent_answer_shows_that_it_lives(tmp_path: Path) -> None:
    """An answer that waits for its first token is written again and again, under a new lease."""
    stage = await Stage.set_up(tmp_path, "synthetic:?tps=1&ttft_ms=20000")
    answer = stage.begin("q")
    await asyncio.sleep(15)  # virtual time
    assert stage.store.calls.count("revise") >= 5
    stage.core.answers.stop(answer, StopReason.CLIENT, "test")
    await stage.core.ended(answer)
    await stage.close()


@virtual
async def test_continuation_is_given_what_the_first_part_was_given(tmp_path: Path) -> None:
    """Also a system prompt of that one request: the two parts have one context."""
    stage = await Stage.set_up(tmp_path)
    first = await stage.ask("q", system="only this once")
    again = await stage.ask(is_continuation=True)
    assert first.record.prompt_tokens == 4
    assert again.ask.messages == first.ask.messages
    assert again.prior == "1 2 3 "
    assert said(await stage.kept())[-1] == ("assistant", "1 2 3 4 5 6 ", "length")
    await stage.close()


@virtual
async def test_continuation_knows_how_it_was_asked_after_a_restart(tmp_path: Path) -> None:
    """Options and system prompt are kept with the message; what is given anew wins."""
    stage = await Stage.set_up(tmp_path)
    options = {"max_tokens": 2, "temperature": 0.0, "stop": ("x", "y")}
    await stage.ask("q", system="only this once", options=options)
    after = await Stage.set_up(tmp_path)  # another server's life, over the same file
    again = await after.ask(is_continuation=True, options={"max_tokens": 3})
    assert again.ask.options.temperature == 0.0
    assert again.ask.options.stop == ("x", "y")
    assert again.ask.options.max_tokens == 3
    assert again.record.prompt_tokens == 4
    assert said(await after.kept())[-1] == ("assistant", "1 2 3 4 5 ", "length")
    await stage.close()
    await after.close()


@virtual
async def test_refused_turn_leaves_nothing(tmp_path: Path) -> None:
    """A cap on bytes refuses before anything is stored, and the next turn is not held up."""
    stage = await Stage.set_up(tmp_path, bounds=Bounds(max_session_bytes=20))
    refused = await stage.ask("x" * 21)
    ending = refused.record.ending
    assert ending is not None
    assert (refused.is_refused, ending.code) == (True, ErrorCode.PAYLOAD_TOO_LARGE)
    assert await stage.kept() == []
    # What was begun is kept whole, also past the cap; then nothing more is begun.
    kept = await stage.ask("q", options={"max_tokens": 20})
    assert kept.record.saved is True
    assert (await stage.ask("q")).is_refused
    assert [role for role, _, _ in said(await stage.kept())] == ["user", "assistant"]
    await stage.close()


@pytest.mark.parametrize("fault", [None, "hang", "before"])
def test_turn_stopped_before_its_start_ends_once(tmp_path: Path, fault: Fault | None) -> None:
    """A stop while the store is asked for its place: an end in bounded time, and nothing runs."""

    @virtual
    async def run() -> None:
        stage = await Stage.set_up(tmp_path)
        stage.store.faults = {} if fault is None else {0: fault}
        answer = stage.begin("q")
        assert answer.is_held
        stage.core.answers.stop(answer, StopReason.CLIENT, "test")
        await stage.core.ended(answer)
        assert asyncio.get_running_loop().time() < 10
        assert stage.core.engines.last.started == []
        assert not answer.is_held
        await until(lambda: not stage.conversations.running(OWNER))
        wanted = [] if fault else [("user", "q", None), ("assistant", "", "stopped")]
        assert said(await stage.kept()) == wanted
        await stage.close()

    run()


@virtual
async def test_stop_of_a_session_waits_until_it_is_written(tmp_path: Path) -> None:
    """Before a session is cleared or deleted, what runs in it has its end; or the store is away."""
    stage = await Stage.set_up(tmp_path)
    running = stage.begin("q1", options={"max_tokens": 10_000})
    waiting = stage.begin("q2")
    await until(lambda: waiting.place is not None)
    await stage.conversations.stop(OWNER, "s", "test")
    assert running.record.is_ended
    assert waiting.record.is_ended
    ends = [reason for role, _, reason in said(await stage.kept()) if role == "assistant"]
    assert ends == ["stopped", "stopped"]
    third = stage.begin("q3", options={"max_tokens": 10_000})
    await until(lambda: len(third.record.transcript) > 0)
    stage.store.is_down = True
    with pytest.raises(WireError) as refused:
        await stage.conversations.stop(OWNER, "s", "test")
    assert refused.value.code is ErrorCode.STORE_UNAVAILABLE
    stage.store.is_down = False
    await until(lambda: not stage.conversations.running(OWNER))
    await stage.close()


@virtual
async def test_turn_of_a_loading_model_is_placed_at_once(tmp_path: Path) -> None:
    """Its start does not wait for the model; its context is counted when the model is there."""
    stage = await Stage.set_up(tmp_path)
    model = stage.core.load("synthetic:?tps=100&load_ms=60000", "late", is_default=False)
    answer = stage.core.answers.accept(stage.core.ask("ada", model="late", max_tokens=2))
    stage.core.answers.stop(answer, StopReason.CLIENT, "test")
    await stage.core.ended(answer)
    await stage.store.update(OWNER, "s", _names("late"), 1)
    answer = stage.begin("q")
    await until(lambda: answer.place is not None)
    assert asyncio.get_running_loop().time() < 5
    assert answer.place is not None
    assert answer.place.context_tokens is None
    assert len(await stage.kept()) == 2
    await stage.core.ended(answer)
    assert model.is_ready
    assert answer.record.model_id == "late"
    assert said(await stage.kept())[-1] == ("assistant", "1 2 3 ", "length")
    await stage.close()


def _names(model: str) -> object:
    from wsserver.core.sessions.model import Changes

    return Changes(model=model)


def test_tools_of_an_answer_are_kept_with_it() -> None:
    """What an answer was asked with reads back as it was, so that what goes on with it has it."""
    tool = Tool(type="function", function=ToolFunction(name="f", parameters={"type": "object"}))
    choices: tuple[ToolChoice | None, ...] = ("required", NamedTool(name="f"), None)
    for choice in choices:
        options = GenerationOptions(tools=(tool,), tool_choice=choice, stop=("x",))
        text = asked_text(options, "be brief")
        assert text is not None
        assert asked_again(text) == (options, "be brief")
