"""Why an engine's process failed, in words for people.

Decides what of a child's stderr and exit code a person is told. It knows no process and no engine
by name. The rule: what leaves this module shows no path of this host, since it may reach clients.
"""

from __future__ import annotations

import re
import signal
from collections import deque
from collections.abc import Sequence
from typing import Final

# An absolute path of two parts or more, on POSIX or Windows; its last part is what people know.
_DRIVE: Final = r"(?:[A-Za-z]:)?"
_QUOTED_PATH: Final = re.compile(rf"(['\"]){_DRIVE}[/\\](?:[^'\"\n]*[/\\])?([^'\"\n/\\]+)\1")
_BARE_PATH: Final = re.compile(
    rf"(?:(?<![\w/.:#])|(?<=://)|(?<=file:)){_DRIVE}"
    r"(?:[/\\][^\s/\\'\":,;()]+)+[/\\]([^\s/\\'\":,;()]+)"
)
_TELLING: Final = re.compile(
    r"\b(error|failed|cannot|can't|unable|unknown|invalid|unsupported|missing|out of memory"
    r"|assert|exception|refused|not found|no such)\b",
    re.IGNORECASE,
)
_TRACEBACK: Final = "Traceback (most recent call last):"
_PYTHON_ERROR: Final = re.compile(r"^[\w.]+(?:Error|Exception|Exit|Interrupt)?: (.+)$")
# What a C++ log puts before its words: time stamps, a level letter, a function's name.
_LOG_PREFIX: Final = re.compile(r"^(?:\d[\d.]*\s+)?(?:[EWID]\s+)?(?:[A-Za-z_]\w*:\s+)?")

# What a signal that nobody of ours sent mostly means.
_HINTS: Final = {
    "SIGILL": " (this processor lacks an instruction it needs)",
    "SIGKILL": " (by the system, if the machine ran out of memory)",
}

_MAX_REASON: Final = 400  # characters


def without_host_paths(text: str) -> str:
    """``text`` with each absolute path cut down to its last part."""
    return _BARE_PATH.sub(r"\1", _QUOTED_PATH.sub(r"\1\2\1", text))


def load_failure(log: Sequence[str]) -> str | None:
    """The reason that a failed load left on stderr, or None if nothing there tells one.

    The engine's own words come before Python's: a C++ library says on stderr what its exception
    leaves out.
    """
    native, python = _split(log)
    # The first such line: those after it are what came of it.
    telling = next((line for line in native if _TELLING.search(line)), None)
    if telling is not None:
        return _tidy(_LOG_PREFIX.sub("", telling))
    match = next((m for line in reversed(python) if (m := _PYTHON_ERROR.match(line))), None)
    return _tidy(match.group(1)) if match else None


def _split(log: Sequence[str]) -> tuple[list[str], list[str]]:
    """Lines outside and inside of Python tracebacks."""
    native: list[str] = []
    python: list[str] = []
    inside = False
    for line in log:
        if line.startswith(_TRACEBACK):
            inside = True
        (python if inside else native).append(line)
        if inside and not line.startswith((" ", _TRACEBACK)):
            inside = False
    return native, python


def _tidy(text: str) -> str:
    text = " ".join(without_host_paths(text).split())
    return text if len(text) <= _MAX_REASON else text[: _MAX_REASON - 1] + "…"


def ending(returncode: int) -> str:
    """How a process ended, for example "was killed by SIGKILL"."""
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    return f"was killed by {name}{_HINTS.get(name, '')}"


class LogTail:
    """The last lines that a process wrote, whatever pieces they came in. Bounded."""

    def __init__(self, lines: int = 200, line_bytes: int = 4096) -> None:
        self._lines: deque[str] = deque(maxlen=lines)
        self._line_bytes = line_bytes
        self._open = b""

    def feed(self, data: bytes) -> list[str]:
        """Take the next bytes; returns the lines they complete."""
        *whole, rest = (self._open + data).split(b"\n")
        self._open = rest[: self._line_bytes]
        lines = [self._text(line) for line in whole if line]
        self._lines.extend(lines)
        return lines

    def lines(self) -> list[str]:
        """The last lines, oldest first, an unfinished one included."""
        return [*self._lines, self._text(self._open)] if self._open else list(self._lines)

    def last(self, count: int = 20) -> str:
        """The last few lines as one text, for the server's own log."""
        return " | ".join(self.lines()[-count:]) or "none"

    def _text(self, line: bytes) -> str:
        return line[: self._line_bytes].decode("utf-8", "replace").rstrip()
