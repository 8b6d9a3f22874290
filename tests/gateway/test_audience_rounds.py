"""What happens while a piece is on its way from one member of an audience to the next."""

from __future__ import annotations

import asyncio

import pytest

from tests.core.test_runner import counted
from tests.gateway.hall import HIGH_WATER, Hall, all_done, begun
from tests.support.core import Core
from tests.support.virtual_time import until, virtual
from wsserver.core.ask import Answer, Ask
from wsserver.core.identity import Identity
from wsserver.core.streams import Ending, StreamRecord
from wsserver.gateway.views import snapshot
from wsserver_protocol.lifecycle import FinishReason, StopReason
from wsserver_protocol.options import GenerationOptions


@pytest.mark.parametrize("at_once", [1, 2, 3, 128])
@virtual
async def test_members_who_go_in_the_middle_of_a_round(at_once: int) -> None:
    """One is lost, one asks for the text again, one's socket is full, just before their turns:
    the others get what is theirs, and who stays gets every byte once."""
    core = Core()
    answer = await begun(core, max_tokens=60)
    hall = Hall(answer, at_once=at_once)
    members = [hall.enter() for _ in range(8)]
    first, second, lost, again, full, closed, *_ = members
    await until(lambda: len(first.shared) == 3)

    def disturb() -> None:
        if len(first.shared) != 5:
            return
        lost.outbox.close()
        lost.view.close()
        second.view.reopen(snapshot(None, 0))  # has had its turn, or has not
        again.view.reopen(snapshot(None, 0))
        full.unsent = HIGH_WATER
        full.outbox.blocked()
        closed.outbox.close()  # given up; its view is closed when the socket is lost

    first.on_shared = disturb
    await until(lambda: len(first.shared) > 8)
    full.read()
    stayed = [first, second, again, full, *members[6:]]
    await all_done(*stayed)
    for member in stayed:
        assert member.text == counted(60)
    for member in (lost, closed):
        assert len(member.shared) == 4
    assert again.kinds.count("stream_snapshot") == second.kinds.count("stream_snapshot") == 1
    assert all(member.view.is_done for member in stayed)
    await core.close()


@virtual
async def test_a_member_who_comes_back_within_a_round_gets_nothing_twice() -> None:
    """It was let in again at the place where the others will be, before its turn came."""
    core = Core()
    answer = await begun(core, max_tokens=60)
    hall = Hall(answer, at_once=1)
    members = [hall.enter() for _ in range(12)]
    first, last = members[0], members[-1]
    await until(lambda: len(first.shared) == 3)
    rounds = []

    def again() -> None:
        if len(first.shared) == 5:
            last.view.reopen(snapshot(None, 0))
            rounds.append(len(last.shared))

    first.on_shared = again
    members[6].on_shared = lambda: rounds.append(last.view.is_fed) if len(rounds) == 1 else None
    await all_done(*members)
    assert rounds == [4, True]
    assert len(last.shared) == len(first.shared) - 1
    assert last.text == counted(60)
    await core.close()


@virtual
async def test_a_cut_in_the_middle_of_a_round() -> None:
    """Who has the piece is told to drop it, who does not have it never gets it."""
    record = StreamRecord("str_1", "m", 0.0)
    owner = Identity.named("u", None, "::1")
    answer = Answer(record, Ask(owner=owner, client_id="c", options=GenerationOptions()))
    transcript = record.transcript
    hall = Hall(answer, at_once=2)
    members = [hall.enter() for _ in range(6)]
    transcript.append("one ", 1)
    record.wake()
    await until(lambda: all(member.text == "one " for member in members))

    def cut() -> None:
        transcript.restore("one ", 1)
        answer.shared_frames.clear()
        for watcher in tuple(record.watchers):
            watcher.rewound(4)
        transcript.append("three ", 1)
        record.wake()

    def cut_soon() -> None:  # when four have it
        members[0].on_shared = lambda: None
        asyncio.get_running_loop().call_soon(cut)

    members[0].on_shared = cut_soon
    transcript.append("two ", 1)
    record.wake()
    await until(lambda: all(member.text == "one three " for member in members))
    assert [member.kinds.count("stream_rewind") for member in members] == [1, 1, 1, 1, 0, 0]
    record.end_here(Ending.complete(FinishReason.STOP), 1.0)
    record.wake()
    await all_done(*members)


@virtual
async def test_who_cannot_wait_for_its_turn() -> None:
    """Before a connection is closed its view goes alone: the text and the end are sent at once."""
    core = Core()
    answer = await begun(core, max_tokens=400)
    hall = Hall(answer, at_once=1)
    members = [hall.enter() for _ in range(6)]
    *others, last = members

    def hurry() -> None:
        if others[2].is_done and not last.is_done:
            last.view.go_alone()
            last.outbox.flush()
            assert last.is_done
            assert not others[3].is_done

    others[2].on_shared = hurry
    await until(lambda: all(member.view.is_fed for member in members))
    core.answers.stop(answer, StopReason.CLIENT, "test")
    await all_done(*members)
    for member in members:
        assert member.text == answer.record.transcript.text
    await core.close()


@pytest.mark.parametrize("at_once", [1, 128])
@virtual
async def test_an_end_in_the_middle_of_a_round(at_once: int) -> None:
    """Stopped while a piece is handed out: all get that piece, what is left, and one end."""
    core = Core()
    answer = await begun(core, max_tokens=400)
    hall = Hall(answer, at_once=at_once)
    members = [hall.enter() for _ in range(6)]

    def stop() -> None:
        if len(members[2].shared) == 4:
            core.answers.stop(answer, StopReason.CLIENT, "test")

    members[2].on_shared = stop
    await all_done(*members)
    for member in members:
        assert member.text == answer.record.transcript.text
        assert member.kinds[-1] == "stream_stopped"
    await core.close()
