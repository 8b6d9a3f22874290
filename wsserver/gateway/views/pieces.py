"""Frames of an answer's text and of its end that all its watchers get, and when they are due.

A watcher has no requestId of its own: what it is sent depends on nothing but the place where it
stands, the encoding and the moment. So each frame is made once, by whoever needs it first.
"""

from __future__ import annotations

from collections.abc import Callable

from wsserver.core.ask import Answer
from wsserver.core.results import logprobs_between, stream_terminal
from wsserver.core.streams import Ending, Piece, StreamRecord
from wsserver.core.wallclock import wall_ms
from wsserver_protocol.codec import Encoding, encode, encode_token


def shared(
    answer: Answer,
    encoding: Encoding,
    kind: str,
    make: Callable[[], bytes],
    what: object = None,
) -> bytes:
    """A frame that every watcher wants: of those who are up to date the first one makes it."""
    frames = answer.shared_frames
    known = frames.get((kind, encoding))
    if known is None or known[0] != what:
        known = frames[kind, encoding] = (what, make())
    return known[1]


def piece_for_all(answer: Answer, encoding: Encoding, piece: Piece) -> bytes:
    """A piece of text, for every watcher."""
    what = (piece.start, piece.end)
    return shared(answer, encoding, "piece", lambda: piece_frame(answer, encoding, piece), what)


def piece_frame(
    answer: Answer, encoding: Encoding, piece: Piece, request_id: str | None = None
) -> bytes:
    """A piece of text."""
    record = answer.record
    return encode_token(
        encoding,
        record.stream_id,
        piece.text,
        piece.position,
        piece.tokens,
        piece.end,
        wall_ms(),
        request_id,
        answer.ask.room_id,
        logprobs_between(record, piece.start, piece.end) if record.logprobs else None,
    )


def end_for_all(answer: Answer, encoding: Encoding, ending: Ending) -> bytes:
    """The terminal event, for every watcher."""
    return shared(answer, encoding, "end", lambda: end_frame(answer, encoding, ending))


def end_frame(
    answer: Answer, encoding: Encoding, ending: Ending, request_id: str | None = None
) -> bytes:
    """The terminal event."""
    return encode(stream_terminal(answer, ending, request_id), encoding)


def next_beat(record: StreamRecord, interval: float, now: float) -> float:
    """When to send the next piece (loop seconds): on the answer's beat, not on one of one's own.

    Watchers who each waited from their own last piece would drift apart and want other pieces of
    one text; so they want the same ones, and each is encoded once.
    """
    if not interval:
        return now
    start = record.first_token_at or record.accepted_at
    beat = start + ((now - start) // interval + 1) * interval
    # Sent a little before a beat: the one after it, so that pieces keep their distance.
    # A whole millisecond, as the loop has them: a timer may not ring a moment before it.
    return round(beat if beat - now > interval / 2 else beat + interval, 3)
