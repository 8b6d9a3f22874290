"""Asking and showing: one answer of one's own at a time, from the question to what its end means.

This room decides what is said about an end. It does not know where the conversation is kept.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from wsserver_client import ClientError, StreamHandle
from wsserver_terminal.commands import CommandError
from wsserver_terminal.feed import Feed
from wsserver_terminal.screen import Screen
from wsserver_terminal.stats import Stats
from wsserver_terminal.talk import Attempt, Talk

Start = Callable[[], Awaitable[Attempt]]

BUSY = "an answer is still coming; Ctrl-C stops it"


class Asking:
    """Asks, shows what comes, and says how it ended.

    Attributes:
        stats: Figures of the answers.
        is_busy: Whether an answer is on its way.
    """

    def __init__(self, screen: Screen, feed: Feed) -> None:
        self.stats = Stats()
        self.is_busy = False
        self._screen = screen
        self._feed = feed
        self._stream: StreamHandle | None = None
        self._is_unwanted = False

    @property
    def stream(self) -> StreamHandle | None:
        """The answer that is on its way, None if there is none, or it was not asked for yet."""
        stream = self._stream
        return stream if stream is not None and not stream.is_ended else None

    def begin(self, talk: Talk, start: Start) -> Coroutine[Any, Any, None]:
        """What has to be run for an answer: ask with ``start``, show, note.

        Raises:
            CommandError: If an answer is on its way still.
        """
        if self.is_busy:
            raise CommandError(BUSY)
        self.is_busy = True
        return self._run(talk, start)

    def interrupt(self) -> bool:
        """Stop the answer; False: there is none."""
        if self.stream is not None:
            self.stream.abandon()
        else:
            self._is_unwanted = self.is_busy  # it is stopped as soon as it is asked for
        return self.is_busy

    async def _run(self, talk: Talk, start: Start) -> None:
        try:
            attempt: Attempt | None = await start()
            while attempt is not None:
                attempt = await self._show(talk, attempt)
        finally:
            self.is_busy = self._is_unwanted = False
            self._stream = None

    async def _show(self, talk: Talk, attempt: Attempt) -> Attempt | None:
        """Show one attempt to its end; the one that takes its place, if any."""
        asked = time.monotonic()
        stream = self._stream = attempt.stream
        if self._is_unwanted:
            stream.abandon()
        first = await self._feed.show(stream, prior=attempt.prior)
        try:
            result = await stream.result()
        except ClientError as error:
            return await self._failed(talk, attempt, error)
        self.stats.note(result, first, time.monotonic() - asked)
        self._tell_end(result.finish_reason, result.stop_reason)
        note = talk.ended(attempt, result)
        if note:
            self._screen.notice(note)
        self._screen.gap()
        return None

    async def _failed(self, talk: Talk, attempt: Attempt, error: ClientError) -> Attempt | None:
        after = await talk.failed(attempt, error)
        if after.again is not None:
            return after.again
        if after.rest:
            seen = attempt.prior + attempt.stream.text
            self._screen.notice("(the server has kept more of it:)")
            self._screen.answer(after.rest, after=seen)
        if after.finish_reason is not None:
            self._tell_end(after.finish_reason, None)
            self._screen.gap()
        else:
            self._screen.error(str(error))
            if after.hint:
                self._screen.mark(after.hint)
        return None

    def _tell_end(self, finish_reason: str, stop_reason: str | None) -> None:
        if finish_reason == "stopped":
            why = "" if stop_reason in (None, "client") else f" ({stop_reason})"
            self._screen.mark(f"■ stopped{why}")
        elif finish_reason == "length":
            self._screen.notice("(cut short: /set max_tokens allows longer answers)")
        elif finish_reason == "timeout":
            self._screen.mark("(cut short: the time was over)")
