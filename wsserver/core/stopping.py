"""How a process is told to end: once, and again by who does not want to wait."""

from __future__ import annotations

import asyncio
import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """The wish that this process ends.

    A second Ctrl-C hurries. A second SIGTERM says nothing new: a service manager sends it to all
    processes of a service, and their supervisor to each of them once more.

    Attributes:
        begun: Set by the first signal.
        hurried: Set by who does not want to wait.
    """

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.hurried = asyncio.Event()
        self._was_interrupted = False

    def listen(self) -> None:
        """Take SIGINT and SIGTERM of this process from now on."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.take, number)

    def take(self, number: signal.Signals) -> None:
        """Take a signal. An interrupt hurries whether it comes before or after a SIGTERM: of two
        that come at once the order is not known."""
        is_interrupt = number == signal.SIGINT
        if self.begun.is_set() and (is_interrupt or self._was_interrupted):
            self.hurried.set()
        self._was_interrupted = self._was_interrupted or is_interrupt
        self.begun.set()
