"""Each turn is kept exactly once, whichever step of the store fails and however."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.core.sessions.faulty_store import Fault
from tests.core.sessions.stage import Stage, said
from tests.support.virtual_time import until, virtual
from wsserver.core.sessions.model import Message
from wsserver_protocol.lifecycle import StopReason

SCENARIO_STEPS = 20
"""Calls of the store in `play`; a test below holds the number to it."""


async def play(stage: Stage) -> list[Message]:
    """Two turns, another try of the second, a continuation, and a turn that is stopped."""
    await stage.insist("q1")
    second = await stage.insist("q2")
    assert second.place is not None
    await stage.insist(regenerate=second.place.message_id, options={"max_tokens": 2})
    await stage.insist(is_continuation=True, options={"max_tokens": 1})
    while True:
        last = stage.begin("q3", options={"max_tokens": 10_000})
        await until(lambda: len(last.record.transcript) > 3 or last.record.is_ended)  # noqa: B023 - awaited within the turn of the loop
        if not last.record.is_ended:
            break
        assert last.is_refused
    stage.core.answers.stop(last, StopReason.CLIENT, "test")
    await stage.core.ended(last)
    return await _settled(stage)


async def _settled(stage: Stage) -> list[Message]:
    """All messages, once nothing is written any more."""
    await until(lambda: not stage.conversations.running("named:ada"))
    return await stage.all_kept()


def check(messages: list[Message]) -> None:
    """Each turn stands once, under its parent, with its whole text and its end."""
    q1, a1, q2, a2, again, q3, a3 = messages
    assert said([q1, a1, q2, a2, again]) == [
        ("user", "q1", None),
        ("assistant", "1 2 3 ", "length"),
        ("user", "q2", None),
        ("assistant", "1 2 3 ", "length"),
        ("assistant", "1 2 3 ", "length"),
    ]
    assert (q3.role, q3.content, a3.finish_reason) == ("user", "q3", "stopped")
    assert a3.content.startswith("1 2 ")
    parents = [m.parent_id for m in messages]
    wanted = [None, q1, a1, q2, q2, again, q3]
    assert parents == [m.message_id if m is not None else None for m in wanted]
    assert all(m.lease is None for m in messages)


@virtual
async def test_scenario_without_faults(tmp_path: Path) -> None:
    """The scenario that the tests below disturb is what it is meant to be."""
    stage = await Stage.set_up(tmp_path)
    check(await play(stage))
    assert len(stage.store.calls) == SCENARIO_STEPS, stage.store.calls
    await stage.close()


@pytest.mark.parametrize("fault", ["before", "after", "hang"])
@pytest.mark.parametrize("step", range(SCENARIO_STEPS))
def test_a_fault_at_any_step_changes_nothing(tmp_path: Path, step: int, fault: Fault) -> None:
    """A step that fails before or after its work, or never answers: the same history in the end."""

    @virtual
    async def run() -> None:
        stage = await Stage.set_up(tmp_path)
        stage.store.faults = {step: fault}
        check(await play(stage))
        await stage.close()

    run()


@pytest.mark.parametrize("seed", range(10))
def test_many_faults_change_nothing(tmp_path: Path, seed: int) -> None:
    """A third of all steps fail, one way or another: the same history in the end."""
    dice = random.Random(seed)

    @virtual
    async def run() -> None:
        stage = await Stage.set_up(tmp_path)
        kinds: list[Fault] = ["before", "after", "hang"]
        stage.store.faults = {
            step: dice.choice(kinds) for step in range(200) if dice.random() < 0.33
        }
        check(await play(stage))
        await stage.close()

    run()


@virtual
async def test_store_that_goes_during_an_answer_is_told_and_made_good(tmp_path: Path) -> None:
    """`saved` is false when the end is told, in bounded time; what was said is written later."""
    stage = await Stage.set_up(tmp_path)
    loop = asyncio.get_running_loop()
    answer = stage.begin("q", options={"max_tokens": 5})
    await until(lambda: len(answer.record.transcript) > 0)
    stage.store.is_down = True
    began = loop.time()
    await stage.core.ended(answer)
    assert answer.record.saved is False
    assert loop.time() - began < 4
    await asyncio.sleep(60)  # virtual time
    assert said(await stage.kept()) == [("user", "q", None), ("assistant", "", None)]
    stage.store.is_down = False
    await until(lambda: not stage.conversations.running("named:ada"))
    assert said(await stage.kept()) == [("user", "q", None), ("assistant", "1 2 3 4 5 ", "length")]
    await stage.close()


@virtual
async def test_waiting_turn_sees_what_was_written_late(tmp_path: Path) -> None:
    """A turn behind one that could not be stored waits for it, and has it in its context."""
    stage = await Stage.set_up(tmp_path)
    first = stage.begin("q1", options={"max_tokens": 20})
    second = stage.begin("q2")
    await until(lambda: second.place is not None)
    stage.store.is_down = True
    await stage.core.ended(first)
    await asyncio.sleep(30)  # virtual time
    assert not second.record.is_ended
    stage.store.is_down = False
    await stage.core.ended(second)
    assert second.record.prompt_tokens == 1 + 20 + 1
    assert second.record.saved is True
    await stage.close()


@virtual
async def test_process_that_ends_first_gives_up_in_bounded_time(tmp_path: Path) -> None:
    """If the store does not come back, the end of the server does not wait for it."""
    stage = await Stage.set_up(tmp_path)
    answer = stage.begin("q")
    await until(lambda: len(answer.record.transcript) > 0)
    stage.store.is_down = True
    await stage.core.ended(answer)
    began = asyncio.get_running_loop().time()
    await stage.close()
    assert asyncio.get_running_loop().time() - began < 4
