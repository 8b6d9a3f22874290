"""An answer's text as bytes, with the places where its tokens ended.

Positions are byte offsets into the UTF-8 text, never message numbers: coalescing, splitting,
replay and de-duplication are then one comparison, and a reader's whole state is one integer.
The token marks serve people (``count``, ``position``) and ``tokenInterval`` 0, where every piece
is one token. They cost 8 bytes a token.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import NamedTuple

# A piece of text in one frame, in bytes. The wire allows 32 KiB; half of it keeps a stalled
# reader's frame, JSON escapes included, under the 64 KiB that it may cost.
MAX_PIECE_BYTES = 16 * 1024

_CONTINUATION_MASK, _CONTINUATION = 0b1100_0000, 0b1000_0000


class Piece(NamedTuple):
    """Text ``[start, end)`` and the tokens that ended in it."""

    text: str
    start: int
    end: int  # the wire's ``offset``
    tokens: int  # that ended within
    position: int  # number of the last of them, from 1


class Transcript:
    """Append-only text. Every append and every piece begins and ends between characters."""

    __slots__ = ("_data", "_ends", "_pending", "_tokens")

    def __init__(self) -> None:
        self._data = bytearray()
        self._ends = array("I")  # byte offset at which the i-th mark ends
        self._tokens = array("I")  # tokens up to and including the i-th mark
        self._pending = 0  # tokens that have shown no text yet

    def __len__(self) -> int:
        """Length in UTF-8 bytes."""
        return len(self._data)

    @property
    def tokens(self) -> int:
        """Tokens that show in the text: the sum of all pieces' ``count``."""
        return self._tokens[-1] if self._tokens else 0

    @property
    def generated(self) -> int:
        """Tokens generated, with those that showed no text (an end mark, a cut stop string)."""
        return self.tokens + self._pending

    @property
    def text(self) -> str:
        return self._data.decode()

    def append(self, text: str, tokens: int) -> None:
        """Add text made of ``tokens`` tokens; empty text keeps them for the next that shows."""
        self._pending += tokens
        if text:
            self._data += text.encode()
            total = self.tokens + self._pending
            self._ends.append(len(self._data))
            self._tokens.append(total)
            self._pending = 0

    def restore(self, text: str, tokens: int) -> None:
        """Begin with text from before: a failover's, in one mark."""
        self._data = bytearray(text.encode())
        self._ends = array("I", [len(self._data)] if text else [])
        self._tokens = array("I", [tokens] if text else [])
        self._pending = 0 if text else tokens

    def boundary(self, offset: int) -> int:
        """The beginning of the character that holds byte ``offset``; at most the text's length."""
        data = self._data
        offset = min(offset, len(data))
        while offset < len(data) and data[offset] & _CONTINUATION_MASK == _CONTINUATION:
            offset -= 1
        return offset

    def position_at(self, offset: int) -> int:
        """Number of the last token that ended at or before byte ``offset``; 0 for none."""
        index = bisect_right(self._ends, offset)
        return self._tokens[index - 1] if index else 0

    def piece(self, start: int, *, single: bool = False) -> Piece:
        """The text after byte ``start``: all of it, or with ``single`` the rest of one token.

        At most `MAX_PIECE_BYTES` long. ``start`` must lie between characters and before the end.
        """
        data = self._data
        ends = self._ends
        index = bisect_right(ends, start)
        end = ends[index] if single else len(data)
        if end - start > MAX_PIECE_BYTES:
            end = self.boundary(start + MAX_PIECE_BYTES)
        before = self._tokens[index - 1] if index else 0
        if single and end == ends[index]:
            position = self._tokens[index]
        else:
            position = self.position_at(end)
        return Piece(data[start:end].decode(), start, end, position - before, position)

    def slice(self, start: int, end: int) -> str:
        """Text between two byte offsets that lie between characters."""
        return self._data[start:end].decode()
