"""Event streams are read alike, however they were cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsserver.engines.openai.sse import SseError, SseParser

STREAM = (
    ": a comment\n\n"
    'data: {"a": 1}\n\n'
    "event: message\r\nid: 7\r\ndata:no space\r\n\r\n"
    "data: two\rdata: lines\r\r"
    "data\n\n"
    "retry: 5\n\n"
    "data:  🎻 ends\n\n"
    "data: [DONE]\n\n"
)
EVENTS = ['{"a": 1}', "no space", "two\nlines", "", " 🎻 ends", "[DONE]"]


def read(*pieces: bytes) -> list[str]:
    """All events of a stream that arrives in these pieces."""
    parser = SseParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def test_events_are_what_their_data_lines_say() -> None:
    """Comments and other fields are nothing, data lines join, three line ends are one."""
    assert read(STREAM.encode()) == EVENTS


@given(st.lists(st.integers(0, len(STREAM.encode())), max_size=12))
def test_cuts_change_nothing(cuts: list[int]) -> None:
    """A line, a CRLF or a character cut in two is whole again."""
    data = STREAM.encode()
    edges = [0, *sorted(cuts), len(data)]
    assert read(*(data[a:b] for a, b in zip(edges, edges[1:], strict=False))) == EVENTS


def test_every_byte_alone_is_still_the_stream() -> None:
    """The smallest pieces that there are."""
    assert read(*(bytes([byte]) for byte in STREAM.encode())) == EVENTS


def test_byte_order_mark_is_no_text() -> None:
    """A mark at the very beginning is left out, in one piece or three."""
    assert read(b"\xef", b"\xbb", b"\xbfdata: x\n\n") == ["x"]
    assert read(b"\xef\xbb\xbfdata: x\n\ndata: \xef\xbb\xbf\n\n") == ["x", "\ufeff"]


def test_event_that_was_cut_off_does_not_count() -> None:
    """Without the empty line nobody knows whether it was whole."""
    assert read(b"data: a\n\ndata: b\n") == ["a"]


def test_what_is_not_utf8_is_refused() -> None:
    """Half a character at an event's end is a broken server, not a question mark."""
    with pytest.raises(SseError, match="UTF-8"):
        read(b"data: \xf0\x9f\n\n")


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 50, b"data: xxxxxxxxxx\n" * 5])
def test_event_without_end_is_bounded(piece: bytes) -> None:
    """A server that never ends its line, or its event, can't fill the memory."""
    with pytest.raises(SseError, match="40 bytes"):
        SseParser(max_event=40).feed(piece)
