"""Showing one stream: its pieces become lines, and what it waits for becomes a word.

One stream at a time is on air; others keep their text and are shown after it, so that answers
that come at the same time are never mixed up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from wsserver_client import StreamHandle, StreamPhase, StreamUpdate
from wsserver_terminal.ink import Ink
from wsserver_terminal.lines import Line, LineMaker
from wsserver_terminal.neutral import neutral
from wsserver_terminal.screen import Screen


class Feed:
    """What is on air.

    Attributes:
        partial: The line that still grows, to be shown with the prompt.
        activity: What the stream on air does, in a few words; empty if there is none.
    """

    def __init__(self, screen: Screen, on_change: Callable[[], None]) -> None:
        self._screen = screen
        self._on_change = on_change
        self._turn = asyncio.Lock()  # fair: streams are shown in the order of their beginning
        self.partial: Line = ()
        self.activity = ""
        self.on_air: StreamHandle | None = None

    async def show(
        self,
        stream: StreamHandle,
        before: Callable[[], None] | None = None,
        *,
        prior: str = "",
    ) -> float:
        """Show a stream to its end, also a failed one.

        Args:
            stream: The stream.
            before: Called when its turn has come.
            prior: Text that the stream goes on with: its last line is shown again, and grows.

        Returns:
            Seconds from the call to its first text, as this terminal saw it; 0.0 if none came.
        """
        asked = time.monotonic()
        first = 0.0
        async with self._turn:
            if before is not None:
                before()
            self.on_air = stream
            maker, ink = LineMaker(self._screen.width), Ink()
            maker.feed(ink.feed(neutral(prior)))
            try:
                async for update in stream.updates():
                    if update.rewound:
                        self._print(maker.feed(ink.finish()) + maker.finish())
                        self._screen.mark("(the end of this was lost; the answer goes on earlier)")
                        ink = Ink()
                    if update.text and not first:
                        first = time.monotonic() - asked
                    maker.width = self._screen.width
                    self._print(maker.feed(ink.feed(neutral(update.text))))
                    self.partial = maker.partial
                    self.activity = _activity(update)
                    self._on_change()
                self._print(maker.feed(ink.finish()) + maker.finish())
            finally:
                self.partial, self.activity, self.on_air = (), "", None
                self._on_change()
        return first

    def _print(self, lines: list[Line]) -> None:
        for line in lines:
            self._screen.line(line)


def _activity(update: StreamUpdate) -> str:
    if update.phase is StreamPhase.ASKED:
        return "asking"
    if update.queue_position is not None:
        return f"waiting, place {update.queue_position} in the queue"
    if update.phase is StreamPhase.WAITING:
        return "the model is getting ready"
    if update.tokens_per_second:
        return f"answering, {update.tokens_per_second:.0f} tokens/s"
    return "answering"
