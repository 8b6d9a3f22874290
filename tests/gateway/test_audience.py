"""Those who watch one answer from one place are fed as one; whoever is elsewhere goes alone."""

from __future__ import annotations

import gc

from tests.core.test_runner import counted
from tests.gateway.hall import HIGH_WATER, Hall, all_done, begun
from tests.support.core import Core
from tests.support.virtual_time import pass_time, until, virtual
from wsserver.core.ask import Answer
from wsserver.gateway.views import snapshot
from wsserver_protocol.codec import Encoding


@virtual
async def test_one_frame_for_all() -> None:
    """Pieces and the end are made and framed once; the answer has one watcher meanwhile."""
    core = Core()
    answer = await begun(core, max_tokens=40)
    hall = Hall(answer)
    members = [hall.enter() for _ in range(50)]
    await until(lambda: len(answer.record.transcript) > 0)
    assert answer.record.watchers == {hall.audience()}
    await all_done(*members)
    first, *others = members
    assert first.text == counted(40)
    assert len(first.shared) > 20
    for other in others:
        assert [id(frames) for frames in other.shared] == [id(frames) for frames in first.shared]
        assert len(other.frames) == len(first.frames)
    assert first.frames[1:] == [frame for frames in first.shared for frame in frames.payloads]
    size = sum(len(frame) for frame in first.frames[1:])
    assert hall.traffic.sent["text"] == (50 * len(first.frames[1:]), 50 * size)
    await core.close()


@virtual
async def test_a_member_who_reads_nothing_falls_behind_alone() -> None:
    """The others get each piece in time; it costs a bounded buffer, catches up, and is one of
    them again."""
    core = Core()
    answer = await begun(core, "synthetic:?tps=5000&ttft_ms=0", max_tokens=50_000)
    hall = Hall(answer)
    slow, *others = members = [hall.enter() for _ in range(5)]
    await until(lambda: answer.record.transcript.tokens > 5000)
    slow.is_reading = False
    await until(lambda: answer.record.transcript.tokens > 30_000)
    assert not slow.view.is_fed
    assert slow.unsent < HIGH_WATER + 20 * 1024
    frames = len(slow.frames)
    for other in others:
        assert other.view.is_fed
        assert answer.record.transcript.tokens - other.events[-1]["position"] < 5000 * 0.026
    slow.read()
    await until(lambda: slow.view.is_fed)
    assert len(slow.frames) - frames < 15  # 16 KiB each
    await all_done(*members)
    for member in members:
        assert member.text == counted(50_000)
    await core.close()


@virtual
async def test_two_encodings_are_two_audiences() -> None:
    """Each gets its own frames, of the same pieces."""
    core = Core()
    answer = await begun(core, max_tokens=30)
    hall = Hall(answer)
    members = [hall.enter(list(Encoding)[number % 2]) for number in range(6)]
    await all_done(*members)
    texts, binaries = members[::2], members[1::2]
    for alike in (texts, binaries):
        for member in alike:
            assert member.text == counted(30)
            assert [id(f) for f in member.shared] == [id(f) for f in alike[0].shared]
    assert {frames.wire[0] for frames in texts[0].shared} == {0x81}
    assert {frames.wire[0] for frames in binaries[0].shared} == {0x82}
    assert texts[0].kinds == binaries[0].kinds
    assert [event.get("offset") for event in texts[0].events[1:]] == [
        event.get("offset") for event in binaries[0].events[1:]
    ]
    await core.close()


@virtual
async def test_who_joins_midway_is_soon_one_of_them() -> None:
    """A snapshot, at most two pieces of its own, and then the frames of all."""
    core = Core()
    answer = await begun(core, max_tokens=60)
    hall = Hall(answer)
    first = hall.enter()
    late = []
    for _ in range(8):
        await pass_time(0.0773)
        late.append(hall.enter(opening=snapshot(None, 0)))
    await all_done(first, *late)
    for member in late:
        assert member.text == counted(60)
        own = len(member.frames) - sum(len(frames.payloads) for frames in member.shared)
        assert own <= 3, member.kinds
        assert {id(frames) for frames in member.shared} <= {id(frames) for frames in first.shared}
    await core.close()


@virtual
async def test_control_frames_go_before_pieces() -> None:
    """What was to be sent to a member before a round is sent before its piece."""
    core = Core()
    answer = await begun(core, max_tokens=30)
    hall = Hall(answer)
    one, two = hall.enter(), hall.enter()
    await until(lambda: len(one.shared) > 3)
    rounds = len(one.shared)
    one.on_shared = lambda: (
        two.outbox.send(b'{"type":"pong"}') if len(one.shared) > rounds else None
    )
    await until(lambda: len(two.shared) > rounds)
    assert two.kinds[-2:] == ["pong", "stream_token"]
    one.on_shared = lambda: None
    await all_done(one, two)
    assert two.text == counted(30)
    await core.close()


@virtual
async def test_a_frame_a_token_for_all() -> None:
    """At interval 0 each token is a frame for everyone, at the time it came."""
    core = Core()
    answer = await begun(core, "synthetic:?tps=100&ttft_ms=0", max_tokens=50)
    hall = Hall(answer, interval=0.0)
    members = [hall.enter() for _ in range(5)]
    await all_done(*members)
    for member in members:
        pieces = [event for event in member.events if event["type"] == "stream_token"]
        assert [piece["count"] for piece in pieces] == [1] * 50
        assert [id(f) for f in member.shared] == [id(f) for f in members[0].shared]
    await core.close()


@virtual
async def test_a_long_text_at_once() -> None:
    """What is longer than one write goes out in several, in order, and then the end."""
    core = Core()
    answer = await begun(core, "synthetic:?tps=0&ttft_ms=0", max_tokens=20_000)
    hall = Hall(answer, interval=1.0)
    members = [hall.enter() for _ in range(3)]
    await all_done(*members)
    for member in members:
        assert member.text == counted(20_000)
        assert max(frames.size for frames in member.shared) < HIGH_WATER
    await core.close()


@virtual
async def test_nothing_is_left_of_an_audience() -> None:
    """When its last member goes, nobody watches for it, and nothing is left to happen or kept."""
    core = Core()
    answer = await begun(core, max_tokens=100)
    hall = Hall(answer)
    members = [hall.enter() for _ in range(3)]
    await until(lambda: all(member.view.is_fed for member in members))
    for member in members:
        member.view.close()
        member.view.close()  # idempotent
    assert answer.record.watchers == set()
    frames = sum(len(member.frames) for member in members)
    last = hall.enter()
    await all_done(last)
    assert last.text == counted(100)
    assert sum(len(member.frames) for member in members) == frames
    members.clear()
    await pass_time(hall.interval)  # what was still set rings, and does nothing
    del member, last
    gc.collect()
    assert len(hall.audiences) == 0
    await core.close()


@virtual
async def test_an_answer_found_anew_has_an_audience_of_its_own() -> None:
    """Another record of the same answer is another text, though views of the first may be left."""
    core = Core()
    answer = await begun(core, max_tokens=10)
    hall = Hall(answer)
    first = hall.audience()
    other = Answer(answer.record, answer.ask)
    assert hall.audience() is first
    assert hall.audiences.of(other, Encoding.JSON, hall.interval) is not first
    await core.close()
