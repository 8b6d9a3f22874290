"""Server-sent events, read as they come.

Decides where an event ends. It knows no JSON and no socket: bytes in, the data of whole events
out. The rule is the standard's: lines end with CR, LF or both, however the bytes were cut; the
``data`` lines of an event are joined by line feeds; a comment is nothing; **an event without the
empty line that ends it was cut off and does not count**.
"""

from __future__ import annotations

from typing import Final

# A piece of an answer with its log probabilities is some KiB. Past this it is no event stream.
MAX_EVENT_BYTES: Final = 8 * 1024 * 1024

_BOM: Final = b"\xef\xbb\xbf"
_CR: Final = 0x0D


class SseError(Exception):
    """The bytes are no event stream; feed nothing more."""


class SseParser:
    """Follows one stream."""

    def __init__(self, max_event: int = MAX_EVENT_BYTES) -> None:
        self._max_event = max_event
        self._open = b""  # a line that has not ended
        self._data: list[bytes] = []
        self._size = 0  # of the data lines
        self._is_after_cr = False
        self._is_beginning = True

    def feed(self, data: bytes) -> list[str]:
        """The data of all events that ``data`` completes.

        Raises:
            SseError: If an event is not UTF-8, or larger than the bound.
        """
        if self._is_after_cr and data:
            # Only now is it known whether the CR was half of a CRLF.
            data = data[1:] if data[:1] == b"\n" else data
            self._is_after_cr = False
        data = self._open + data
        if self._is_beginning:
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._open = data
                return []
            data = data.removeprefix(_BOM)
            self._is_beginning = False
        self._is_after_cr = bool(data) and data[-1] == _CR
        *lines, self._open = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        events = [event for line in lines if (event := self._take(line)) is not None]
        if self._size + len(self._open) > self._max_event:
            raise SseError(f"an event of more than {self._max_event} bytes")
        return events

    def _take(self, line: bytes) -> str | None:
        """One whole line; gives the event that it ends."""
        if line:
            name, _, value = line.partition(b":")
            if name == b"data":
                value = value.removeprefix(b" ")
                self._data.append(value)
                self._size += len(value) + 1
            return None  # a comment, or a field that is of no use here
        if not self._data:
            return None
        joined = b"\n".join(self._data)
        self._data, self._size = [], 0
        try:
            return joined.decode()
        except UnicodeDecodeError as error:
            raise SseError("an event that is not UTF-8") from error
