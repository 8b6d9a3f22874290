"""What the end of an answer brings, in whichever process it is written.

Exactly one process ends an answer: the worker that holds its claim, or, where none does, whoever
took it out of the line. Before the end is written its session has the last text and its room the
entry, so that the one terminal event, wherever it is told, says what became of them. Then the
asker's place is free again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from wsserver.core.ask import Answer
from wsserver.core.cache import keepable
from wsserver.core.errands import Errands
from wsserver.core.results import ending_word
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.shared.ports import SharedCache, SharedLimits
from wsserver.core.streams import Ending
from wsserver.core.telemetry import Telemetry
from wsserver_protocol.errors import WireError

log = logging.getLogger(__name__)

RETRY_EVERY = 0.5
"""Seconds between tries to give a place back while the store is away."""

LogAnswer = Callable[[Answer], Awaitable[int | None]]
"""Gives an answer of a room its entry in the room's log, once. Returns its seq."""


class Endings:
    """Does what an end brings, apart from the end itself."""

    def __init__(
        self,
        *,
        limits: SharedLimits,
        cache: SharedCache,
        telemetry: Telemetry,
        log_answer: LogAnswer,
    ) -> None:
        self._limits = limits
        self._cache = cache
        self._telemetry = telemetry
        self._log_answer = log_answer
        self._errands = Errands("an answer could not be settled")

    async def log_in_room(self, answer: Answer) -> None:
        """Give an answer of a room its entry; a store that is away leaves it without."""
        if answer.ask.room_id is None:
            return
        try:
            answer.record.seq = await self._log_answer(answer)
        except WireError as error:
            log.warning("an answer could not be put into its room's log: %s", error.message)
            answer.record.saved = False

    def settle(self, answer: Answer, ending: Ending) -> None:
        """Charge what was used, keep what may be given again, give the place back."""
        record = answer.record
        self._telemetry.stream_ended(record.model_id, ending_word(ending))
        self._errands.begin(self._settle(answer, ending))

    async def settled(self) -> None:
        """Wait until all that was settled is written."""
        await self._errands.ended()

    async def _settle(self, answer: Answer, ending: Ending) -> None:
        record, key = answer.record, answer.ask.owner.limit_key
        used = record.prompt_tokens + record.transcript.generated
        kept = keepable(record, ending) if answer.cache_key is not None else None
        while True:
            try:
                await self._limits.end(key, record.stream_id)
                break
            except StoreUnavailable:
                await asyncio.sleep(RETRY_EVERY)  # a place that leaks would lock the asker out
        try:
            if used and not record.is_cached:
                await self._limits.use_tokens(key, used)
            if answer.cache_key is not None and kept is not None:
                await self._cache.put(answer.cache_key, kept)
        except StoreUnavailable as error:
            log.warning("an answer's use could not be noted: %s", error)
