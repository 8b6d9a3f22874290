"""The client's rule for joining the pieces of an answer, as pure code.

A stream's cursor is the length of its text in UTF-8 bytes. A piece says where it ends
(``offset``); where it begins follows from its own length. A client that has ``n`` bytes needs no
other bookkeeping: not which pieces came, over which connection, or how often. Whatever is cut,
repeated, joined up differently or sent again from elsewhere, the bytes are the same.

This room knows no connection. It says when to ask for `watch_stream`; asking is the client's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

from wsserver_protocol.events import StreamRewind, StreamSnapshot, StreamToken


class Verdict(Enum):
    """What to do with a piece that is not taken."""

    DROP = "drop"
    GAP = "gap"


DROP: Final = Verdict.DROP
"""The client has all of it already."""

GAP: Final = Verdict.GAP
"""Text before it is missing: ask with ``watch_stream`` from what is there."""


@dataclass(frozen=True, slots=True)
class Take:
    """Append the piece without its first ``skip`` bytes (0 unless it overlaps)."""

    skip: int


Merge = Take | Literal[Verdict.DROP, Verdict.GAP]


def merge(have: int, offset: int, length: int) -> Merge:
    """What a client that has ``have`` bytes does with a piece.

    Args:
        have: Bytes that the client has.
        offset: Where the piece ends.
        length: Bytes of the piece; it begins at ``offset - length``.
    """
    begins = offset - length
    if begins > have:
        return GAP
    if offset <= have:
        return DROP
    return Take(have - begins)


@dataclass(frozen=True, slots=True)
class Added:
    """Text was appended."""

    text: str


@dataclass(frozen=True, slots=True)
class Shortened:
    """Text was dropped from the end: show `AnswerText.text` anew."""

    offset: int


@dataclass(frozen=True, slots=True)
class Ask:
    """Text is missing: send ``watch_stream`` with this ``fromOffset``."""

    from_offset: int


Applied = Added | Shortened | Ask | None
"""What an event did to the text; None: nothing, it was known or is on its way."""


class AnswerText:
    """The text of one answer as a client has it. Not thread-safe.

    While an `Ask` is open, further gaps are not reported again: a server that has fallen behind
    for a moment would otherwise be asked once for each piece.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._asked = False

    @property
    def have(self) -> int:
        """Length in UTF-8 bytes: the cursor, and ``streams[streamId]`` of a ``resume``."""
        return len(self._bytes)

    @property
    def text(self) -> str:
        """The answer so far."""
        return self._bytes.decode("utf-8")

    def apply(self, event: StreamToken | StreamSnapshot | StreamRewind) -> Applied:
        """Take in an event of this stream; of no other, which is not checked."""
        match event:
            case StreamRewind():
                return self._rewind(event.offset)
            case StreamSnapshot():
                # It is the answer to what was asked, also if it begins too late: ask again then.
                self._asked = False
                return self._piece(event.text, event.offset)
            case StreamToken():
                return self._piece(event.token, event.offset)

    def finish(self, offset: int) -> Applied:
        """Compare with the final ``offset`` of a terminal event.

        Returns:
            None when the text is whole, else an `Ask`: the stream can still be watched.
        """
        return None if offset == self.have else self._ask()

    def disconnected(self) -> None:
        """Forget that something was asked: the connection that would have answered is gone."""
        self._asked = False

    def _piece(self, text: str, offset: int) -> Applied:
        piece = text.encode("utf-8")
        verdict = merge(self.have, offset, len(piece))
        if verdict is GAP:
            return self._ask()
        if verdict is DROP:
            return None
        assert isinstance(verdict, Take)
        added = piece[verdict.skip :]
        if verdict.skip and (added[0] & 0xC0) == 0x80:
            # What we have ends within a character of this piece: it is of another text, which
            # only a lost rewind explains. The server knows; asking makes it send the rewind.
            return self._ask()
        self._bytes += added
        return Added(added.decode("utf-8"))

    def _rewind(self, offset: int) -> Applied:
        self._asked = False
        if offset >= self.have:
            return None
        del self._bytes[offset:]
        return Shortened(offset)

    def _ask(self) -> Applied:
        if self._asked:
            return None
        self._asked = True
        return Ask(self.have)
