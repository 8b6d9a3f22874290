"""A record that follows a log: what its readers see, and when they are woken."""

from __future__ import annotations

from wsserver.core.streams import Ending, StreamRecord
from wsserver.core.streams.doorbells import Appended, Claimed, Ended, Reading
from wsserver.core.streams.follower import Follower, Read
from wsserver.core.streams.mirror import Mirror
from wsserver_protocol.lifecycle import FinishReason, StreamState

ENDING = Ending.complete(FinishReason.STOP)
NEW = Reading(1, (0,), StreamState.RUNNING, 7, 2, None, 0, "grüß ".encode())


class Reader:
    """Notes the text and the state at each wake."""

    def __init__(self, record: StreamRecord) -> None:
        self.record = record
        self.seen: list[tuple[str, StreamState]] = []
        record.watchers.add(self)

    def wake(self) -> None:
        self.seen.append((self.record.transcript.text, self.record.state))

    def rewound(self, offset: int) -> None:
        self.wake()


class Case:
    """A mirror with a reader, after its first reading."""

    def __init__(self) -> None:
        self.cuts: list[int] = []
        self.follower = Follower()
        self.record = StreamRecord("s", "model", 0.0)
        self.mirror = Mirror(self.record, self.follower, self.cuts.append)
        self.reader = Reader(self.record)
        assert self.mirror.apply(self.follower.begin(0), 0) == Read(1, 0)
        assert self.mirror.apply(self.follower.read(1, NEW, 1), 1) is None

    def ring(self, bell: Appended | Claimed | Ended, now: float = 2) -> Read | None:
        return self.mirror.apply(self.follower.ring(bell, now), now)


def test_readers_are_woken_when_all_is_done() -> None:
    """They see text, fence and state together."""
    case = Case()
    assert case.reader.seen == [("grüß ", StreamState.RUNNING)]
    assert (case.record.fence, case.record.transcript.tokens) == (1, 2)
    assert case.record.first_token_at == 1


def test_nothing_new_wakes_nobody() -> None:
    """A repeated bell costs the readers nothing."""
    case = Case()
    case.ring(Appended(1, 0, "grüß ".encode(), 2))
    assert len(case.reader.seen) == 1


def test_what_is_missing_is_asked_for() -> None:
    """The reading to make is the caller's."""
    assert Case().ring(Appended(1, 9, b"x", 4)) == Read(2, 7)


def test_a_cut_is_told_before_the_readers_are_woken() -> None:
    """Text and tokens past it are gone, and what follows joins there."""
    case = Case()
    case.ring(Appended(1, 7, b"Gott", 3))
    case.record.logprobs = [(7, "kept"), (11, "cut")]
    case.ring(Claimed(2, 7))
    assert case.cuts == [7]
    assert case.reader.seen[-1] == ("grüß ", StreamState.RUNNING)
    assert case.record.logprobs == [(7, "kept")]
    case.ring(Appended(2, 7, b"Dich", 4))
    assert case.record.transcript.text == "grüß Dich"
    assert (case.record.fence, case.record.transcript.tokens) == (2, 4)


def test_an_end_stands_in_the_record() -> None:
    """How and when; the state is the wire's."""
    case = Case()
    case.ring(Ended(1, 7, ENDING), 5)
    assert (case.record.ending, case.record.ended_at) == (ENDING, 5)
    assert case.reader.seen[-1] == ("grüß ", StreamState.ENDED)


def test_a_released_answer_waits_again() -> None:
    """A claim by nobody: the state goes back, the text stays."""
    case = Case()
    case.ring(Claimed(2, 7, StreamState.QUEUED))
    assert (case.record.state, case.record.transcript.text) == (StreamState.QUEUED, "grüß ")
    assert case.reader.seen[-1][1] is StreamState.QUEUED
