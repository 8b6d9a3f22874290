"""The pure parts: the text of an answer, delays, options."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsserver_client.answer import Answer, Outcome
from wsserver_client.backoff import FIRST_RANGE, LONGEST_RANGE, Backoff, Drain
from wsserver_client.options import OPTION_NAMES, camel, request, wire_options
from wsserver_protocol.options import GenerationOptions


@given(
    st.text(alphabet="aé琴🎻", max_size=40),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=30),
)
def test_answer_is_the_same_however_it_is_cut(text: str, cuts: list[tuple[int, int]]) -> None:
    """Pieces of any size, repeated, overlapping, out of order: only what fits is ever added."""
    answer = Answer()
    for cut in cuts:
        begins, ends = min(cut), max(cut)
        before = answer.end
        outcome = answer.put(text[begins:ends], len(text[:ends].encode()))
        assert (outcome is Outcome.ADDED) is (answer.end > before)
        assert text.startswith(answer.text)
    answer.put(text, len(text.encode()))
    assert answer.text == text


@given(st.lists(st.text(min_size=1, max_size=5), max_size=20), st.data())
def test_reader_gets_every_byte_once(pieces: list[str], data: st.DataObject) -> None:
    """Whenever a reader looks, what it took joined is the text so far."""
    answer, taken, end = Answer(), "", 0
    reader = answer.reader()
    for piece in pieces:
        piece = piece.encode("utf-8", "ignore").decode()
        end += len(piece.encode())
        answer.put(piece, end)
        if data.draw(st.booleans()):
            text, rewound = reader.take()
            assert not rewound
            taken += text
            assert taken == answer.text
    taken += reader.take()[0]
    assert taken == answer.text


def test_piece_that_begins_too_late_is_a_gap() -> None:
    """A gap changes nothing."""
    answer = Answer()
    assert answer.put("b", 2) is Outcome.GAP
    assert (answer.text, answer.end) == ("", 0)


def test_rewind_moves_only_readers_that_were_past_it() -> None:
    """A reader that had taken text beyond the rewind is told; one before it is not."""
    answer = Answer()
    early, late = answer.reader(), answer.reader()
    answer.put("ab", 2)
    early.take()
    answer.put("cd", 4)
    late.take()
    assert answer.rewind(2) and not answer.rewind(2)
    answer.put("XY", 4)
    assert early.take() == ("XY", False)
    assert late.take() == ("XY", True)


def test_delays_grow_and_are_drawn_from_their_whole_range() -> None:
    """Full jitter from 0 to a range that doubles up to 20 s, and starts again after a success."""
    backoff = Backoff(random.Random(7))
    ranges = [min(LONGEST_RANGE, FIRST_RANGE * 2**n) for n in range(10)]
    delays = [backoff.next_delay() for _ in ranges]
    assert all(0 <= delay <= reach for delay, reach in zip(delays, ranges, strict=True))
    assert len({round(delay, 6) for delay in delays}) == len(delays)
    for _ in range(2000):
        assert backoff.next_delay() <= LONGEST_RANGE
    backoff.reset()
    assert backoff.next_delay() <= FIRST_RANGE


def test_server_sets_the_delay() -> None:
    """A drain's spread replaces the range; a Retry-After is the least."""
    backoff = Backoff(random.Random(7))
    drained = [backoff.next_delay(drain=Drain(1.0, 4.0)) for _ in range(200)]
    assert min(drained) >= 1.0 and max(drained) <= 5.0 and max(drained) - min(drained) > 2
    assert backoff.next_delay(at_least=30.0) >= 30.0


def test_options_have_all_the_protocols_names() -> None:
    """Every option of the protocol can be given, under its snake_case name."""
    assert set(OPTION_NAMES) == set(GenerationOptions.__struct_fields__)
    assert wire_options({"max_tokens": 1, "json_schema": {"a_b": 1}, "seed": None}) == {
        "maxTokens": 1,
        "jsonSchema": {"a_b": 1},
    }
    with pytest.raises(TypeError, match="maxtokens"):
        wire_options({"maxtokens": 1})


def test_request_leaves_out_what_is_not_given() -> None:
    """None means absent, and names are the wire's."""
    message = request("x", "id-1", session_id="s", parent_id=None)
    assert message == {"type": "x", "requestId": "id-1", "sessionId": "s"}
    assert camel("last_seq") == "lastSeq"
