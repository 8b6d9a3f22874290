"""The merge rule: whatever is cut, repeated or reordered, the bytes are the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsserver_protocol.cursor import (
    DROP,
    GAP,
    Added,
    AnswerText,
    Ask,
    Merge,
    Shortened,
    Take,
    merge,
)
from wsserver_protocol.events import StreamRewind, StreamSnapshot, StreamToken
from wsserver_protocol.lifecycle import StreamState

ANSWERS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)


def token(text: str, offset: int) -> StreamToken:
    """A piece that ends at ``offset``."""
    return StreamToken(stream_id="s", token=text, position=1, count=1, offset=offset, timestamp=0)


def snapshot(text: str, offset: int) -> StreamSnapshot:
    """A snapshot that ends at ``offset``."""
    begins = offset - len(text.encode())
    return StreamSnapshot(
        stream_id="s",
        text=text,
        from_offset=begins,
        offset=offset,
        position=1,
        state=StreamState.RUNNING,
    )


def rewind(offset: int) -> StreamRewind:
    """A rewind to ``offset``."""
    return StreamRewind(stream_id="s", offset=offset)


def piece(answer: str, first: int, last: int) -> StreamToken:
    """The characters ``[first, last)`` of ``answer``, as the server would send them."""
    return token(answer[first:last], len(answer[:last].encode()))


@pytest.mark.parametrize(
    ("have", "offset", "length", "verdict"),
    [
        (0, 5, 5, Take(0)),
        (5, 9, 4, Take(0)),
        (5, 9, 9, Take(5)),
        (7, 9, 4, Take(2)),
        (9, 9, 4, DROP),
        (12, 9, 4, DROP),
        (5, 5, 0, DROP),
        (4, 9, 4, GAP),
        (0, 9, 4, GAP),
        (4, 5, 0, GAP),
    ],
)
def test_merge(have: int, offset: int, length: int, verdict: Merge) -> None:
    """A piece is taken whole, without what is known, not at all, or shows a gap."""
    assert merge(have, offset, length) == verdict


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_merge_reaches_the_piece_end_and_never_beyond(have: int, begin: int, length: int) -> None:
    """After a piece that is taken, the client has exactly up to its end."""
    verdict = merge(have, begin + length, length)
    if isinstance(verdict, Take):
        assert 0 <= verdict.skip < length
        assert have + length - verdict.skip == begin + length
    elif verdict is GAP:
        assert begin > have
    else:
        assert begin + length <= have


@given(ANSWERS, st.data())
def test_a_text_survives_any_cutting_repeating_and_reordering(
    answer: str, data: st.DataObject
) -> None:
    """Pieces in any cut and order, then what was asked for: the text is the answer."""
    bounds = st.tuples(st.integers(0, len(answer)), st.integers(0, len(answer)))
    cuts = data.draw(st.lists(bounds.map(sorted), max_size=20))
    text = AnswerText()
    for first, last in cuts:
        text.apply(piece(answer, first, last))
        assert answer.encode().startswith(text.text.encode())
    text.disconnected()
    asked = text.finish(len(answer.encode()))
    if asked is not None:
        assert asked == Ask(text.have)
        rest = answer.encode()[text.have :].decode()
        text.apply(snapshot(rest, len(answer.encode())))
    assert text.text == answer


@given(ANSWERS, st.data())
def test_what_is_added_joins_to_the_text(answer: str, data: st.DataObject) -> None:
    """A program that only appends what `Added` says shows the same text."""
    bounds = st.tuples(st.integers(0, len(answer)), st.integers(0, len(answer)))
    cuts = data.draw(st.lists(bounds.map(sorted), max_size=20))
    text = AnswerText()
    outcomes = [text.apply(piece(answer, first, last)) for first, last in cuts]
    shown = "".join(outcome.text for outcome in outcomes if isinstance(outcome, Added))
    assert shown == text.text


def test_a_piece_is_appended() -> None:
    """The next piece is added as it is; offsets count bytes, not characters."""
    text = AnswerText()
    assert text.apply(token("naïve", 6)) == Added("naïve")
    assert text.apply(token(" idea", 11)) == Added(" idea")
    assert (text.text, text.have) == ("naïve idea", 11)


def test_a_known_piece_is_dropped() -> None:
    """A piece that came before changes nothing."""
    text = AnswerText()
    text.apply(token("abc", 3))
    assert text.apply(token("abc", 3)) is None
    assert text.text == "abc"


def test_an_overlapping_piece_adds_its_end() -> None:
    """Of a piece that begins earlier only the new part is added."""
    text = AnswerText()
    text.apply(token("über", 5))
    assert text.apply(token("erall", 8)) == Added("all")
    assert text.text == "überall"


def test_a_gap_asks_once_until_it_is_answered() -> None:
    """Further pieces beyond the gap do not ask again; a snapshot closes it."""
    text = AnswerText()
    text.apply(token("ab", 2))
    assert text.apply(token("ef", 6)) == Ask(2)
    assert text.apply(token("gh", 8)) is None
    assert text.apply(snapshot("cdefgh", 8)) == Added("cdefgh")
    assert text.apply(token("kl", 12)) == Ask(8)


def test_a_snapshot_that_begins_too_late_asks_again() -> None:
    """A snapshot is an answer: if it does not join, the question is asked anew."""
    text = AnswerText()
    assert text.apply(token("b", 2)) == Ask(0)
    assert text.apply(snapshot("b", 2)) == Ask(0)


def test_a_lost_connection_forgets_the_question() -> None:
    """After a reconnect a gap is asked for again."""
    text = AnswerText()
    assert text.apply(token("b", 2)) == Ask(0)
    text.disconnected()
    assert text.apply(token("c", 3)) == Ask(0)


def test_a_rewind_drops_the_end() -> None:
    """Text past a rewind's offset goes, and other text follows there."""
    text = AnswerText()
    text.apply(token("abcdef", 6))
    assert text.apply(rewind(4)) == Shortened(4)
    assert text.apply(token("EF", 6)) == Added("EF")
    assert text.text == "abcdEF"


def test_a_rewind_to_where_the_text_ends_changes_nothing() -> None:
    """A rewind never lengthens, and tells nothing where there is nothing to drop."""
    text = AnswerText()
    text.apply(token("abc", 3))
    assert text.apply(rewind(3)) is None
    assert text.apply(rewind(9)) is None
    assert text.text == "abc"


def test_a_piece_that_would_split_a_character_is_not_joined() -> None:
    """Bytes of another text (a rewind was lost) are never glued into a broken character."""
    text = AnswerText()
    text.apply(token("ab", 2))
    assert text.apply(token("aé", 3)) == Ask(2)
    assert text.text == "ab"


@pytest.mark.parametrize("final", [0, 2, 4])
def test_a_final_offset_that_differs_asks(final: int) -> None:
    """Too little and too much both are the server's to resolve."""
    text = AnswerText()
    text.apply(token("abc", 3))
    assert text.finish(final) == Ask(3)


def test_a_final_offset_that_agrees_is_the_end() -> None:
    """A whole text needs nothing more."""
    text = AnswerText()
    text.apply(token("abc", 3))
    assert text.finish(3) is None
