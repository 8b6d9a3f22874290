"""One claim's text on its way into a log that lives elsewhere.

The engine is never kept waiting by the log: what it makes is buffered here, and goes out one
operation at a time, each with the fence and the byte offset that it continues from. So a retry
after a lost reply adds nothing, and a log that has lost its tail says so and gets it again. For
that the writer keeps the whole text, that of the writers before it included.

No I/O and no clock: the owner sends what `next_operation` says, when it wants to, and gives the
reply to `replied`; without a reply it simply asks for the next operation, which is the same again.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from wsserver.core.streams.record import Ending


class Refusal(Enum):
    """Why the log did not do it."""

    FENCED = "fenced"  # a newer claim exists, or the answer has ended: stop, write no more
    SHORT = "short"  # its text ends before the offset: it has lost a tail


class Reply(NamedTuple):
    """What the log says to an operation."""

    length: int  # bytes of its text, done or refused
    refusal: Refusal | None = None
    is_cancelled: bool = False  # an end was asked for: it costs no operation of its own


class Append(NamedTuple):
    """Add ``data`` at byte ``offset``; what the log has already is skipped."""

    fence: int
    offset: int
    data: bytes
    tokens: int  # of the whole answer, at the end of data


class Finish(NamedTuple):
    """End the answer at ``total`` bytes; refused while the text is not that long."""

    fence: int
    total: int
    ending: Ending


class Seal(NamedTuple):
    """Decide the end at ``total`` bytes, without ending yet: no claim is granted any more."""

    fence: int
    total: int
    ending: Ending


Operation = Append | Seal | Finish


class LogWriter:
    """Writes one answer under one claim.

    Args:
        fence: The claim's.
        text: The text that the claim gave, in UTF-8.
        tokens: The tokens that it is made of.

    Attributes:
        text: All of the answer, with what the log does not have yet.
        is_over: Nothing is left to do: the answer has ended here, or the writer was fenced off.
        is_fenced: It was: stop the engine's work on it.
        is_cancelled: The log says that an end was asked for.
        is_sealed: How it ends is decided, and stands in the log with all text.
    """

    __slots__ = (
        "_ending",
        "_held",
        "_seal",
        "_text",
        "_tokens",
        "fence",
        "is_cancelled",
        "is_fenced",
        "is_over",
        "is_sealed",
    )

    def __init__(self, fence: int, text: bytes, tokens: int) -> None:
        self.fence = fence
        self.is_over = False
        self.is_fenced = False
        self.is_cancelled = False
        self.is_sealed = False
        self._text = bytearray(text)
        self._tokens = tokens
        self._held = len(text)  # bytes that the log has, as far as we know
        self._seal: Ending | None = None
        self._ending: Ending | None = None

    @property
    def text(self) -> bytes:
        return bytes(self._text)

    @property
    def unsent(self) -> int:
        """Bytes that the log does not have, as far as we know."""
        return len(self._text) - self._held

    @property
    def is_finishing(self) -> bool:
        """Whether the end, or what is decided of it, is still to be written."""
        is_open = self._ending is not None or (self._seal is not None and not self.is_sealed)
        return is_open and not self.is_over

    @property
    def has_more(self) -> bool:
        """Whether there is an operation to send."""
        return not self.is_over and (self._held < len(self._text) or self.is_finishing)

    @property
    def rest(self) -> Append:
        """What the log does not have, be it nothing."""
        data = bytes(self._text[self._held :])
        return Append(self.fence, self._held, data, self._tokens)

    def write(self, text: bytes, tokens: int) -> None:
        """Add what the engine made: whole characters."""
        assert self._ending is None and self._seal is None, "text after the end"
        self._text += text
        self._tokens += tokens

    def seal(self, ending: Ending) -> None:
        """All is written; say how it will end once the log has it."""
        self._seal = ending

    def finish(self, ending: Ending) -> None:
        """All is written; end once the log has it."""
        self._ending = ending

    def reopen(self) -> None:
        """The log may have lost the end that it has taken: it is to be written again."""
        self.is_over = self.is_fenced

    def next_operation(self) -> Operation | None:
        """What to send now; None if there is nothing. One at a time."""
        if self.is_over:
            return None
        if self._held < len(self._text):
            return self.rest
        if self._seal is not None and not self.is_sealed:
            return Seal(self.fence, len(self._text), self._seal)
        if self._ending is not None:
            return Finish(self.fence, len(self._text), self._ending)
        return None

    def taken(self, length: int) -> None:
        """The log took what it was sent, and has so many bytes now."""
        self._held = length

    def replied(self, operation: Operation, reply: Reply) -> None:
        """The log answered."""
        self.is_cancelled = self.is_cancelled or reply.is_cancelled
        if reply.refusal is Refusal.FENCED:
            # Also the retry of a finish whose reply was lost: the end in the log is ours then,
            # and to us it makes no difference.
            self.is_over = self.is_fenced = True
        elif reply.refusal is None and isinstance(operation, Finish):
            self.is_over = True
        elif reply.refusal is None and isinstance(operation, Seal):
            self.is_sealed = True
        else:
            self._held = reply.length
