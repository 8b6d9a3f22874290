"""Text that must not show too early: stop strings and half characters.

Decides which part of a growing text may be shown. It knows no tokens, no engine and no clock. The
rule: show all that can no longer become part of a stop string, hold back only what can.

A text ends at the stop string that is **complete first**; of several complete at the same
character the longest one counts. That reading does not depend on how the text was cut into
pieces, which "the leftmost one" would: "bc" ends "abc" at once, though "abcd" could have begun
further left.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class StopMatcher:
    """Follows one answer and cuts it at the first of its stop strings."""

    def __init__(self, stops: Sequence[str]) -> None:
        """Raises ValueError for an empty stop string, which would match everywhere."""
        if not all(stops):
            raise ValueError("a stop string must not be empty")
        self._stops = tuple(dict.fromkeys(stops))
        self._held = ""
        self._matched = False

    @property
    def is_matched(self) -> bool:
        """Whether a stop string was met; nothing more is shown then."""
        return self._matched

    def push(self, text: str) -> str:
        """Take the next piece of the text; returns what may be shown now, perhaps nothing."""
        if self._matched:
            return ""
        if not self._stops:
            return text
        text = self._held + text
        cut = self._first_match(text)
        if cut is not None:
            self._matched = True
            self._held = ""
            return text[:cut]
        safe = len(text) - self._open_beginning(text)
        self._held = text[safe:]
        return text[:safe]

    def finish(self) -> str:
        """The text has ended otherwise: returns what was held back and is no stop string."""
        held, self._held = self._held, ""
        return held

    def _first_match(self, text: str) -> int | None:
        ends = [
            (start + len(stop), start) for stop in self._stops if (start := text.find(stop)) >= 0
        ]
        return min(ends)[1] if ends else None

    def _open_beginning(self, text: str) -> int:
        """Length of the longest end of ``text`` that begins a stop string."""
        longest = 0
        for stop in self._stops:
            for length in range(min(len(stop) - 1, len(text)), longest, -1):
                if text.endswith(stop[:length]):
                    longest = length
                    break
        return longest


class Utf8Assembler:
    """Joins the bytes of tokens to text and never splits a character.

    Bytes that can't be UTF-8 show as U+FFFD, so that a model's nonsense never ends an answer.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, data: bytes) -> str:
        """Take the next bytes; returns the characters they complete."""
        return self._decoder.decode(data)

    def finish(self) -> str:
        """The text has ended: half a character left over shows as U+FFFD."""
        return self._decoder.decode(b"", final=True)
