"""The text of one answer as this client has it: bytes, once, and nothing else.

This room decides what a piece adds, by the protocol's merge rule, and knows no stream and no
socket. There is no queue of pieces: every reader keeps a position in these bytes, so an answer
that nobody reads takes the memory of its text and no more, and nothing of it is lost.
"""

from __future__ import annotations

from enum import Enum

from wsserver_protocol.cursor import GAP, Take, merge


class Outcome(Enum):
    """What a piece did."""

    ADDED = "added"
    KNOWN = "known"
    GAP = "gap"


class Answer:
    """Text from byte offset ``base`` on; ``base`` is 0 except for a watch that began midway."""

    def __init__(self, base: int = 0) -> None:
        self._base = base
        self._bytes = bytearray()
        self._rewinds: list[int] = []

    @property
    def end(self) -> int:
        """Length of the answer so far in UTF-8 bytes, what came before ``base`` included."""
        return self._base + len(self._bytes)

    @property
    def base(self) -> int:
        return self._base

    @property
    def text(self) -> str:
        return self._bytes.decode("utf-8")

    @property
    def rewinds(self) -> int:
        """How often text was taken back."""
        return len(self._rewinds)

    def put(self, text: str, end: int) -> Outcome:
        """Take a piece that ends at offset ``end``."""
        piece = text.encode("utf-8")
        verdict = merge(self.end, end, len(piece))
        if isinstance(verdict, Take):
            self._bytes += piece[verdict.skip :]
            return Outcome.ADDED
        return Outcome.GAP if verdict is GAP else Outcome.KNOWN

    def place(self, base: int) -> None:
        """Begin at ``base``, as the server moved it (into no character); only while empty."""
        if self._bytes:
            raise AssertionError("an answer with text has its beginning")
        self._base = base

    def rewind(self, end: int) -> bool:
        """Drop the text past ``end``; False if there was none."""
        if end >= self.end:
            return False
        del self._bytes[max(0, end - self._base) :]
        self._base = min(self._base, end)
        self._rewinds.append(end)
        return True

    def reader(self) -> Reader:
        """A reader at the beginning."""
        return Reader(self, self._base, 0)

    def slice(self, start: int) -> str:
        """The text from offset ``start``, the beginning of a character, to the end."""
        return self._bytes[start - self._base :].decode("utf-8")

    def rewinds_since(self, count: int) -> list[int]:
        return self._rewinds[count:]


class Reader:
    """A position in an answer."""

    def __init__(self, answer: Answer, position: int, rewinds: int) -> None:
        self._answer = answer
        self._position = position
        self._rewinds = rewinds

    def take(self) -> tuple[str, bool]:
        """The text that came since, and whether text taken before is no longer part of it."""
        rewound = False
        for end in self._answer.rewinds_since(self._rewinds):
            if end < self._position:
                self._position = end
                rewound = True
        self._rewinds = self._answer.rewinds
        self._position = max(self._position, self._answer.base)
        if self._position >= self._answer.end:
            return "", rewound
        text = self._answer.slice(self._position)
        self._position = self._answer.end
        return text, rewound
