"""Stop strings and half characters, against their plain definitions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsserver.engines.stops import StopMatcher, Utf8Assembler

# Few letters, so that stop strings are met, overlap and begin in vain.
TEXT = st.text("ab ", max_size=40)
STOPS = st.lists(st.text("ab ", min_size=1, max_size=5), max_size=4)


def cut_by_definition(text: str, stops: list[str]) -> str | None:
    """The text before the stop string that is complete first; None if there is none."""
    for end in range(1, len(text) + 1):
        met = [stop for stop in stops if text[:end].endswith(stop)]
        if met:
            return text[: end - max(map(len, met))]
    return None


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    """The text cut at these places."""
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[a:b] for a, b in zip(places, places[1:], strict=False)]


@given(TEXT, STOPS, st.lists(st.integers(0, 100), max_size=8))
def test_shown_text_is_that_of_the_definition(text: str, stops: list[str], cuts: list[int]) -> None:
    """However the text is cut, what shows in the end is what the definition says."""
    matcher = StopMatcher(stops)
    shown = "".join(matcher.push(piece) for piece in pieces_of(text, cuts)) + matcher.finish()
    expected = cut_by_definition(text, stops)
    assert matcher.is_matched == (expected is not None)
    assert shown == (text if expected is None else expected)


@given(TEXT, STOPS)
def test_only_the_beginning_of_a_stop_string_is_held_back(text: str, stops: list[str]) -> None:
    """After each character, all shows but the longest end that begins a stop string."""
    matcher = StopMatcher(stops)
    shown = ""
    for index, character in enumerate(text):
        shown += matcher.push(character)
        if matcher.is_matched:
            return
        so_far = text[: index + 1]
        beginnings = (stop[:n] for stop in stops for n in range(1, len(stop)))
        held = max((len(b) for b in beginnings if so_far.endswith(b)), default=0)
        assert shown == so_far[: len(so_far) - held]


def test_nothing_shows_after_a_stop_string() -> None:
    """What is pushed after the end stays unseen."""
    matcher = StopMatcher(["x"])
    assert [matcher.push("ax"), matcher.push("b"), matcher.finish()] == ["a", "", ""]


def test_empty_stop_string_is_a_mistake() -> None:
    """An empty stop string would end every answer at once."""
    with pytest.raises(ValueError, match="empty"):
        StopMatcher(["a", ""])


@given(st.text(max_size=30), st.lists(st.integers(0, 200), max_size=10))
def test_assembled_text_never_splits_a_character(text: str, cuts: list[int]) -> None:
    """The pieces are whole characters and joined they are the text."""
    data = text.encode()
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    assembler = Utf8Assembler()
    shown = ""
    for start, end in zip(places, places[1:], strict=False):
        shown += assembler.push(data[start:end])
        assert text.startswith(shown)
    assert shown + assembler.finish() == text


@given(st.binary(max_size=30))
def test_bytes_that_are_no_text_never_fail(data: bytes) -> None:
    """A model's nonsense shows as replacement characters."""
    assembler = Utf8Assembler()
    shown = "".join(assembler.push(bytes([byte])) for byte in data) + assembler.finish()
    assert shown == data.decode("utf-8", "replace")
