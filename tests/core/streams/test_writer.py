"""The writer's side of a log that lives elsewhere: retries, lost tails, fences."""

from __future__ import annotations

from wsserver.core.streams.record import Ending
from wsserver.core.streams.writer import Append, Finish, LogWriter, Refusal, Reply
from wsserver_protocol.lifecycle import FinishReason

ENDING = Ending.complete(FinishReason.STOP)


def writing(*texts: bytes) -> LogWriter:
    writer = LogWriter(2, b"before ", 1)
    for text in texts:
        writer.write(text, 1)
    return writer


def test_what_was_made_since_goes_out_in_one_operation() -> None:
    """It continues where the claim's text ended, and counts all tokens of the answer."""
    assert writing().next_operation() is None
    assert writing(b"one ", b"two").next_operation() == Append(2, 7, b"one two", 3)


def test_without_a_reply_the_same_goes_out_again() -> None:
    """With what has come since: the log skips what it has."""
    writer = writing(b"one ")
    assert writer.next_operation() == Append(2, 7, b"one ", 2)
    writer.write(b"two", 1)
    assert writer.next_operation() == Append(2, 7, b"one two", 3)


def test_after_a_reply_only_what_is_new_goes_out() -> None:
    """The reply's length is the next operation's offset."""
    writer = writing(b"one ")
    writer.replied(Append(2, 7, b"one ", 2), Reply(11))
    assert writer.next_operation() is None
    writer.write(b"two", 1)
    assert writer.next_operation() == Append(2, 11, b"two", 3)


def test_a_log_that_lost_its_tail_gets_it_again() -> None:
    """Also what an earlier writer had written: the claim gave it."""
    writer = writing(b"one ")
    writer.replied(Append(2, 7, b"one ", 2), Reply(3, Refusal.SHORT))
    assert writer.next_operation() == Append(2, 3, b"ore one ", 2)


def test_the_end_follows_the_last_byte() -> None:
    """It is asked for once the log has all, and again if the log has lost some since."""
    writer = writing(b"one")
    writer.finish(ENDING)
    append = writer.next_operation()
    assert isinstance(append, Append)
    writer.replied(append, Reply(10))
    finish = writer.next_operation()
    assert finish == Finish(2, 10, ENDING)
    writer.replied(finish, Reply(8, Refusal.SHORT))
    assert writer.next_operation() == Append(2, 8, b"ne", 2)
    writer.replied(Append(2, 8, b"ne", 2), Reply(10))
    writer.replied(finish, Reply(10))
    assert writer.is_over
    assert not writer.is_fenced
    assert writer.next_operation() is None


def test_a_fenced_writer_writes_no_more() -> None:
    """Whatever it still has is not part of the answer."""
    writer = writing(b"zombie")
    append = writer.next_operation()
    assert isinstance(append, Append)
    writer.replied(append, Reply(7, Refusal.FENCED))
    assert writer.is_over
    assert writer.is_fenced
    assert writer.next_operation() is None


def test_a_reply_tells_that_an_end_was_asked_for() -> None:
    """Once told it stays told."""
    writer = writing(b"one")
    append = writer.next_operation()
    assert isinstance(append, Append)
    writer.replied(append, Reply(10, is_cancelled=True))
    writer.replied(append, Reply(10))
    assert writer.is_cancelled
