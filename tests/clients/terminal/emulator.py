"""A terminal for tests: a pseudo-terminal, and a screen that shows what a person would see."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect
import pyte

COLUMNS, LINES = 80, 24


class _Screen(pyte.HistoryScreen):
    """Answers what a terminal is asked, such as where the cursor is."""

    def __init__(self, answer: Callable[[str], None]) -> None:
        self._answer = answer
        super().__init__(COLUMNS, LINES, history=5000)

    def write_process_input(self, data: str) -> None:
        self._answer(data)


class Emulator:
    """``wsserver chat`` in a terminal of 80 by 24."""

    def __init__(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("WSSERVER_")}
        self._child: pexpect.spawn[bytes] = pexpect.spawn(
            sys.executable,
            ["-m", "wsserver", "chat", *arguments],
            dimensions=(LINES, COLUMNS),
            cwd=str(folder),
            env={
                **kept,
                "TERM": "xterm-256color",
                "HOME": str(folder),
                "XDG_STATE_HOME": str(folder / "state"),
                **(environment or {}),
            },
            timeout=10,
        )
        self._screen = _Screen(self._send_text)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""

    @property
    def pid(self) -> int:
        """The program's process id."""
        pid = self._child.pid
        assert pid is not None
        return pid

    def _send_text(self, data: str) -> None:
        self._child.send(data.encode())

    def type(self, text: str) -> None:
        """Press keys."""
        self._send_text(text)

    def enter(self, text: str) -> None:
        """Type a line and press Enter."""
        self._send_text(text + "\r")

    def press(self, letter: str) -> None:
        """Press Ctrl and a letter."""
        self._child.sendcontrol(letter)

    @property
    def visible(self) -> str:
        """What is on the screen now."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    @property
    def text(self) -> str:
        """All that was ever shown and scrolled up, and what is on the screen."""
        above = [_words(line) for line in self._screen.history.top]
        return "\n".join([*above, self.visible])

    def wait_for(self, what: str | Callable[[str], bool], timeout: float = 15.0) -> str:
        """Read until the text appears (or the condition holds); all the text then."""
        holds = (lambda text: what in text) if isinstance(what, str) else what
        deadline = time.monotonic() + timeout
        while not holds(self.text):
            if time.monotonic() > deadline:
                raise AssertionError(f"waited for {what!r}, saw:\n{self.text}")
            if not self._read(0.05) and not holds(self.text):
                raise AssertionError(f"it ended without {what!r}:\n{self.text}")
        return self.text

    def wait_end(self) -> int:
        """Read to the end of the program; its exit code."""
        deadline = time.monotonic() + 15
        while self._read(0.05):
            assert time.monotonic() < deadline, f"it does not end:\n{self.text}"
        self._child.close()
        assert self._child.signalstatus is None, f"killed by signal {self._child.signalstatus}"
        return int(self._child.exitstatus or 0)

    @contextmanager
    def read_meanwhile(self) -> Iterator[None]:
        """Read whatever the program writes, beside the running event loop's other work.

        For tests that wait elsewhere: a terminal that nobody reads blocks the program in it.
        """
        loop, terminal = asyncio.get_running_loop(), self._child.child_fd

        def take() -> None:
            if not self._read(0):
                loop.remove_reader(terminal)

        loop.add_reader(terminal, take)
        try:
            yield
        finally:
            loop.remove_reader(terminal)

    def interrupt(self) -> None:
        """Send SIGINT as another program would."""
        self._child.kill(signal.SIGINT)

    def kill(self) -> None:
        """End the program as a machine that dies ends it: it says nothing to anyone any more.

        Closing the terminal does not do that everywhere. What was started by ``nohup`` has its
        programs ignore the hangup, and they would see the end of what is typed, and leave in order.
        """
        self._child.kill(signal.SIGKILL)
        self._child.close(force=True)

    def _read(self, seconds: float) -> bool:
        """Take what the program wrote; False: it has ended."""
        try:
            data = self._child.read_nonblocking(65536, seconds)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += data
        self._stream.feed(data)
        return True


def _words(line: Any) -> str:
    return "".join(line[column].data for column in range(COLUMNS)).rstrip()
