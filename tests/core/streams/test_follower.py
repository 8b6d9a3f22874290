"""The follower, transition by transition."""

from __future__ import annotations

from typing import Any

import pytest

from wsserver.core.streams.doorbells import Appended, Claimed, Doorbell, Ended, Reading
from wsserver.core.streams.follower import (
    MAX_EARLY,
    NOTHING,
    Cursor,
    End,
    Follower,
    Read,
    Rewind,
    Step,
    Take,
)
from wsserver.core.streams.record import Ending
from wsserver_protocol.lifecycle import FinishReason, StreamState

ENDING = Ending.complete(FinishReason.STOP)
RUNNING, ENDED = StreamState.RUNNING, StreamState.ENDED


def reading(
    fence: int, bases: tuple[int, ...], length: int, offset: int, data: bytes = b"", **more: Any
) -> Reading:
    fields = {"state": RUNNING, "tokens": 0, "ending": None, **more}
    return Reading(fence, bases, length=length, offset=offset, data=data, **fields)


def following(text: bytes = b"abcde", *, fence: int = 1) -> Follower:
    """A follower that has taken in a first reading: of one claim, or of several at 0."""
    follower = Follower(patience=2)
    assert follower.begin(0) == [Read(1, 0)]
    follower.read(1, reading(fence, (0,) * fence, len(text), 0, text), 0)
    return follower


def test_the_first_reading_brings_everything() -> None:
    """After the subscription one reading gives fence, bases, state and text."""
    follower = Follower()
    assert follower.begin(0) == [Read(1, 0)]
    steps = follower.read(1, reading(2, (0, 3), 5, 0, b"abcde", tokens=4), 0)
    assert steps == [Take(b"abcde", 4)]
    assert (follower.fence, follower.bases, follower.have) == (2, [0, 3], 5)
    assert follower.state is RUNNING


@pytest.mark.parametrize(
    ("bell", "expected"),
    [
        (Appended(1, 5, b"fg", 2), [Take(b"fg", 2)]),
        (Appended(1, 3, b"defg", 2), [Take(b"fg", 2)]),
        (Appended(1, 0, b"abcde", 2), []),
        (Appended(1, 2, b"cd", 2), []),
        (Appended(1, 6, b"g", 2), [Read(2, 5)]),
        (Appended(2, 5, b"f", 2), [Read(2, 5)]),
        (Claimed(1, 0), []),
        (Claimed(2, 5), []),
        (Claimed(2, 9), []),
        (Claimed(2, 3), [Rewind(3)]),
        (Claimed(3, 5), [Read(2, 5)]),
        (Ended(1, 5, ENDING), [End(ENDING)]),
        (Ended(1, 7, ENDING), [Read(2, 5)]),
        (Ended(1, 4, ENDING), [Read(2, 5)]),
        (Ended(2, 5, ENDING), [Read(2, 5)]),
    ],
)
def test_what_a_bell_brings(bell: Doorbell, expected: list[Step]) -> None:
    """With five bytes under fence 1: joins, overlaps, repeats, gaps, claims, ends."""
    assert following().ring(bell, 0) == expected


@pytest.mark.parametrize("bell", [Appended(1, 5, b"x", 1), Claimed(1, 0), Ended(1, 5, ENDING)])
def test_bells_of_older_fences_say_nothing(bell: Doorbell) -> None:
    """What a writer did before it was taken over is in the text, or lost."""
    follower = following(fence=2)
    assert follower.ring(bell, 0) == []
    assert follower.have == 5


def test_a_bell_that_comes_too_early_is_taken_when_its_turn_comes() -> None:
    """Reordered bells need no second reading: what was missing may still come by itself."""
    follower = following()
    assert follower.ring(Appended(1, 7, b"h", 3), 0) == [Read(2, 5)]
    assert follower.ring(Appended(1, 5, b"fg", 2), 0) == [Take(b"fg", 2), Take(b"h", 3)]
    assert follower.read(2, reading(1, (0,), 7, 5, b"fg"), 0) == []


def test_text_of_the_next_fence_waits_for_its_claim() -> None:
    """Text that overtakes the claim is not appended to what the claim may cut."""
    follower = following()
    assert follower.ring(Appended(2, 3, b"X", 2), 0) == [Read(2, 5)]
    assert follower.ring(Claimed(2, 3), 0) == [Rewind(3), Take(b"X", 2)]


def test_missed_claims_cut_at_the_lowest_of_their_bases() -> None:
    """The newest base may lie higher than one that was missed, and the text below differs."""
    follower = following()
    follower.ring(Claimed(3, 4), 0)
    steps = follower.read(2, reading(3, (0, 2, 4), 4, 5), 0)
    assert steps == [Rewind(2), Read(3, 2)]
    assert follower.read(3, reading(3, (0, 2, 4), 4, 2, b"XY"), 0) == [Take(b"XY", 0)]


def test_a_reading_that_a_claim_overtook_is_not_taken() -> None:
    """Its text may be the one that the claim cut off."""
    follower = following()
    follower.ring(Appended(1, 6, b"g", 1), 0)
    assert follower.ring(Claimed(2, 3), 0) == [Rewind(3)]
    assert follower.read(2, reading(1, (0,), 7, 5, b"fg"), 0) == []
    assert follower.have == 3


def test_a_bell_ahead_of_the_reading_under_way_has_one_more_follow() -> None:
    """That reading may have been made before; the next one was not, whatever it shows."""
    follower = following()
    follower.ring(Appended(1, 6, b"g", 1), 0)
    assert follower.ring(Appended(1, 9, b"j", 1), 0) == []
    assert follower.read(2, reading(1, (0,), 7, 5, b"fg"), 0) == [Take(b"fg", 0), Read(3, 7)]
    assert follower.read(3, reading(1, (0,), 6, 7), 0) == []


def test_a_log_that_lost_a_tail_is_waited_for() -> None:
    """Under its own fence the mirror keeps what the log will get again."""
    follower = following()
    follower.doubt(0)
    assert follower.read(2, reading(1, (0,), 2, 5), 0) == []
    assert follower.have == 5
    assert follower.ring(Appended(1, 2, b"cdef", 1), 0) == [Take(b"f", 1)]


def test_a_tail_that_was_lost_for_good_is_cut_at_the_end() -> None:
    """An answer that ended shorter than the mirror stays so: nobody writes the rest again."""
    follower = following()
    follower.ring(Ended(1, 3, ENDING), 0)
    steps = follower.read(2, reading(1, (0,), 3, 5, state=ENDED, ending=ENDING), 0)
    assert steps == [Rewind(3), End(ENDING)]
    assert (follower.state, follower.due) == (ENDED, None)


def test_an_end_that_is_heard_too_early_waits_for_the_text() -> None:
    """The end comes with the last byte, without another reading."""
    follower = following()
    assert follower.ring(Ended(1, 7, ENDING), 0) == [Read(2, 5)]
    assert follower.ring(Appended(1, 5, b"fg", 2), 0) == [Take(b"fg", 2), End(ENDING)]


def test_nothing_follows_an_end() -> None:
    """Late bells and readings find it closed; the watchdog sleeps."""
    follower = following()
    follower.ring(Ended(1, 5, ENDING), 0)
    assert follower.ring(Appended(1, 5, b"x", 1), 9) == []
    assert follower.ring(Claimed(2, 0), 9) == []
    assert follower.read(2, reading(2, (0, 0), 0, 5), 9) == []
    assert follower.tick(99) == follower.doubt(99) == []


def test_the_watchdog_reads_when_nothing_came() -> None:
    """An end whose bell was lost is found without any bell."""
    follower = following()
    assert follower.due == 2
    assert follower.tick(1.9) == []
    assert follower.tick(2) == [Read(2, 5)]
    steps = follower.read(2, reading(1, (0,), 5, 5, state=ENDED, ending=ENDING), 2)
    assert steps == [End(ENDING)]


def test_repeated_bells_do_not_calm_the_watchdog() -> None:
    """Only news does: a log could otherwise be silenced by its own echo."""
    follower = following()
    follower.ring(Appended(1, 0, b"abcde", 1), 1.5)
    assert follower.due == 2
    follower.ring(Appended(1, 5, b"f", 1), 1.5)
    assert follower.due == 3.5


def test_a_reading_that_never_comes_is_asked_for_again() -> None:
    """Neither a lost reply nor a failed one is the last word."""
    follower = following()
    follower.tick(2)
    assert follower.tick(4) == [Read(3, 5)]
    follower.read_failed(5)
    assert follower.due == 7
    assert follower.tick(7) == [Read(4, 5)]


def test_an_answer_that_the_log_does_not_have_changes_nothing() -> None:
    """A log that restarts gets it back; until then the mirror serves what it has."""
    follower = following()
    follower.doubt(0)
    assert follower.read(2, None, 1) == []
    assert (follower.have, follower.due) == (5, 3)


def test_more_early_bells_than_are_kept_are_read_instead() -> None:
    """A flood of bells behind a gap costs bounded memory."""
    follower = following()
    for number in range(2 * MAX_EARLY):
        follower.ring(Appended(1, 6 + number, b"x", 1), 0)
    steps = follower.ring(Appended(1, 5, b"x", 1), 0)
    assert follower.have == 6 + MAX_EARLY
    assert len(steps) == 1 + MAX_EARLY


@pytest.mark.parametrize(
    ("cursor", "place"),
    [
        (Cursor(2, 4), 4),
        (Cursor(2, 5), 5),
        (Cursor(1, 4), 3),
        (Cursor(1, 2), 2),
        (Cursor(2, 6), None),
        (Cursor(3, 0), None),
        (Cursor(3, 4), None),
        (Cursor(None, 4), None),
        (NOTHING, 0),
    ],
)
def test_where_a_reader_stands(cursor: Cursor, place: int | None) -> None:
    """Five bytes under fence 2, claimed at 3: cut by what was missed, or wait."""
    follower = following(b"abc")
    follower.ring(Claimed(2, 3), 0)
    follower.ring(Appended(2, 3, b"DE", 1), 0)
    assert follower.place(cursor, follower.next_reading) == place


def test_a_reader_ahead_waits_for_the_mirror() -> None:
    """It is not reset: a fresh reading brings what it had elsewhere."""
    follower = following()
    cursor, since = Cursor(1, 7), follower.next_reading
    assert follower.place(cursor, since, is_patient=False) is None
    assert follower.doubt(0) == [Read(2, 5)]
    follower.read(2, reading(1, (0,), 7, 5, b"fg"), 0)
    assert follower.place(cursor, since) == 7


def test_a_reader_ahead_of_a_fresh_reading_is_cut_when_patience_is_over() -> None:
    """A log that lost a tail may get it back; who asks past any end does not wait for ever."""
    follower = following()
    cursor, since = Cursor(1, 7), follower.next_reading
    follower.doubt(0)
    follower.read(2, reading(1, (0,), 5, 5), 0)
    assert follower.place(cursor, since) is None
    assert follower.place(cursor, since, is_patient=False) == 5


def test_a_reader_without_a_fence_is_cut_at_the_lowest_base_after_the_first() -> None:
    """Only a fresh reading bounds the fence that its text may be of."""
    follower = following(fence=1)
    cursor, since = Cursor(None, 5), follower.next_reading
    follower.doubt(0)
    follower.read(2, reading(3, (0, 4, 5), 8, 5, b"FGH"), 0)
    follower.read(3, reading(3, (0, 4, 5), 8, 4, b"EFGH"), 0)
    assert follower.place(cursor, since) == 4


def test_a_reader_of_an_ended_answer_is_placed_at_once() -> None:
    """There is nothing to wait for: what is past the end was lost."""
    follower = following()
    follower.ring(Ended(1, 5, ENDING), 0)
    for cursor in (Cursor(1, 9), Cursor(4, 9), Cursor(None, 9)):
        assert follower.place(cursor, 99) == 5


def test_a_doubt_is_not_calmed_by_the_reading_under_way() -> None:
    """That one may have been made before: another follows."""
    follower = following()
    follower.tick(2)
    since = follower.next_reading
    assert follower.doubt(2) == []
    assert follower.read(2, reading(1, (0,), 5, 5), 2) == [Read(3, 5)]
    assert follower.taken < since
    follower.read(3, reading(1, (0,), 5, 5), 2)
    assert follower.taken == since
