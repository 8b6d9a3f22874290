"""An answer's text: whatever pieces are taken, they join to it, and never split a character."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wsserver.core.streams.transcript import MAX_PIECE_BYTES, Transcript

text = st.text(st.characters(codec="utf-8"), max_size=20)
appends = st.lists(st.tuples(text, st.integers(0, 5)), max_size=30)


def written(parts: list[tuple[str, int]]) -> Transcript:
    """A transcript of these appends."""
    transcript = Transcript()
    for part, tokens in parts:
        transcript.append(part, tokens)
    return transcript


@given(parts=appends, single=st.booleans())
def test_pieces_join_to_the_text(parts: list[tuple[str, int]], single: bool) -> None:
    """From the beginning to the end: every byte once, tokens and positions add up."""
    transcript = written(parts)
    cursor, joined, tokens = 0, "", 0
    while cursor < len(transcript):
        piece = transcript.piece(cursor, single=single)
        assert piece.start == cursor < piece.end
        assert len(piece.text.encode()) == piece.end - piece.start <= MAX_PIECE_BYTES
        tokens += piece.tokens
        assert piece.position == tokens
        joined += piece.text
        cursor = piece.end
    assert joined == transcript.text == "".join(part for part, _ in parts)
    assert tokens == transcript.tokens


@given(parts=appends, offset=st.integers(0, 2000))
def test_a_piece_begins_between_characters(parts: list[tuple[str, int]], offset: int) -> None:
    """Any offset moves back to the start of its character, and the rest reads from there."""
    transcript = written(parts)
    start = transcript.boundary(offset)
    assert start <= min(offset, len(transcript))
    assert min(offset, len(transcript)) - start < 4
    rest = transcript.slice(start, len(transcript))
    assert transcript.text.encode()[start:].decode() == rest
    if start < len(transcript):
        assert transcript.piece(start).text == rest


@given(parts=appends)
def test_all_tokens_are_counted(parts: list[tuple[str, int]]) -> None:
    """Tokens that showed no text count as generated, and show with the next text."""
    transcript = written(parts)
    assert transcript.generated == sum(tokens for _, tokens in parts)
    shown = 0
    for index, (part, _) in enumerate(parts):
        if part:
            shown = sum(tokens for _, tokens in parts[: index + 1])
    assert transcript.tokens == shown
    assert transcript.position_at(len(transcript)) == shown


@given(before=st.tuples(text, st.integers(0, 9)), parts=appends, offset=st.integers(0, 2000))
def test_restored_text_goes_on(
    before: tuple[str, int], parts: list[tuple[str, int]], offset: int
) -> None:
    """A failover's text and what follows read like one text."""
    transcript = Transcript()
    transcript.restore(*before)
    for part, tokens in parts:
        transcript.append(part, tokens)
    whole = before[0] + "".join(part for part, _ in parts)
    assert transcript.text == whole
    assert transcript.generated == before[1] + sum(tokens for _, tokens in parts)
    start = transcript.boundary(offset)
    assert transcript.slice(start, len(transcript)) == whole.encode()[start:].decode()


def test_a_long_token_is_cut_between_characters() -> None:
    """A piece has at most its bound, also where one token is longer; its token comes at its end."""
    transcript = Transcript()
    transcript.append("🎻" * 10_000, 1)
    cursor, pieces = 0, []
    while cursor < len(transcript):
        pieces.append(transcript.piece(cursor, single=True))
        cursor = pieces[-1].end
    assert max(piece.end - piece.start for piece in pieces) <= MAX_PIECE_BYTES
    assert "".join(piece.text for piece in pieces) == transcript.text
    assert [piece.tokens for piece in pieces] == [0] * (len(pieces) - 1) + [1]
