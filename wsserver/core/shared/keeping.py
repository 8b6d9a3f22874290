"""A session's answer, kept while it is made: by the worker, who has its text first.

The gateway has put the message into the tree before the work was lined up. From then on only the
message's text and end change, and the one who writes them is the one who may write the text.
"""

from __future__ import annotations

import asyncio
import logging

from wsserver.core.sessions.refusals import in_time
from wsserver.core.sessions.store import SessionError, SessionStore, StoreUnavailable
from wsserver.core.sessions.turns import message_now
from wsserver.core.shared.meta import Kept
from wsserver.core.streams import Ending, StreamRecord

log = logging.getLogger(__name__)

CHECKPOINT_EVERY = 0.75
"""Seconds between writes of a running answer: it is never more than a second behind."""

LEASE_RENEWED_EVERY = 2.0
"""Seconds after which an answer without new text is written again, to show that it lives."""

SAVED_WITHIN = 2.5
"""Seconds that the end of an answer waits for the store."""

RETRY_EVERY = 0.25
"""Seconds between tries to write an end."""


class Keeping:
    """Keeps one answer from its claim to its end."""

    def __init__(self, store: SessionStore, kept: Kept, record: StreamRecord) -> None:
        self._store = store
        self._kept = kept
        self._record = record
        self._ended = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def finish(self, ending: Ending) -> bool:
        """Write the last text. Whether the store took it; after `SAVED_WITHIN` it is not asked."""
        self.give_up()
        await asyncio.wait({self._task})
        return await write_end(self._store, self._kept, self._record, ending)

    def give_up(self) -> None:
        """Write no more: the answer has ended, or another writer has it."""
        self._ended.set()

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        length, written_at = -1, loop.time()
        while not self._ended.is_set():
            try:
                async with asyncio.timeout(CHECKPOINT_EVERY):
                    await self._ended.wait()
                return
            except TimeoutError:
                pass
            now = loop.time()
            if len(self._record.transcript) == length and now - written_at < LEASE_RENEWED_EVERY:
                continue
            length = len(self._record.transcript)
            try:
                await _write(self._store, self._kept, self._record, None)
                written_at = now
            except StoreUnavailable:
                length = -1  # written with the next text, or at the end
            except SessionError as error:
                log.warning("an answer has lost its session: %r", error)
                return


async def write_end(store: SessionStore, kept: Kept, record: StreamRecord, ending: Ending) -> bool:
    """Write an answer's last text and how it ended. Whether the store took it in time."""
    try:
        async with asyncio.timeout(SAVED_WITHIN):
            while True:
                try:
                    await _write(store, kept, record, ending)
                    return True
                except StoreUnavailable:
                    await asyncio.sleep(RETRY_EVERY)
    except TimeoutError:
        return False
    except SessionError as error:
        log.warning("an answer has lost its session: %r", error)
        return False


async def _write(
    store: SessionStore, kept: Kept, record: StreamRecord, ending: Ending | None
) -> None:
    message = message_now(kept.message, record, ending)
    revised = store.revise(kept.owner, kept.session_id, message, instead_of=kept.instead_of)
    await in_time(revised)
