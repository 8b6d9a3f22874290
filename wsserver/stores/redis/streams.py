"""The readers' side of answers on Redis: mirrors, one for each answer that is needed here.

A mirror is kept true by its `Follower`: doorbells as they come, readings where one was missed, a
watchdog for the last one. What is told to others (cancel, end) goes straight to the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from wsserver.core.ids import new_id
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.shared.ports import Barred, Cancelled
from wsserver.core.streams import Ending, StreamRecord
from wsserver.core.streams.follower import NOTHING, Cursor
from wsserver.stores.redis.followed import Followed
from wsserver.stores.redis.link import PUBLISH, RedisLink
from wsserver.stores.redis.listening import hear_and_ask
from wsserver.stores.redis.stream_format import (
    Rung,
    beginning_keys,
    kept_ms,
    pack_ending,
    stream_keys,
)
from wsserver.stores.redis.stream_wants import ASKED_FOR, StreamWants
from wsserver_protocol.lifecycle import StreamState

KEPT_SECONDS = 30.0
"""For which a mirror stays that nobody here needs any more: they often come back."""

BARRED_MS = 86_400_000
"""For which an answer stays out of the log: no process that stood still for longer goes on."""

PLACE_SECONDS = 2.0
"""How long a reader waits that has more than the log shows: its writer may write it again."""


class RedisStreams:
    """A `SharedStreams`.

    Args:
        link: The way to Redis.
        node: This process.
        retention: Seconds for which ended answers are kept.
        patience: Seconds without news of an answer after which it is read again.
        window: Seconds for which a client's place is kept.

    Attributes:
        wants: Whether anyone looks here, and whose askers are here.
        on_cancelled: See the port.
        on_end: See the port.
        on_gone: See the port.
        on_rewind: See the port.
    """

    def __init__(
        self,
        link: RedisLink,
        node: str,
        *,
        retention: float,
        patience: float = 3.0,
        window: float = 0.0,
    ) -> None:
        self._link = link
        self._lease = round((window + ASKED_FOR) * 1000)
        self.wants = StreamWants(link, node)
        self._retention = kept_ms(retention)
        self._patience = patience
        self._followed: dict[str, Followed] = {}
        self.on_cancelled: Callable[[StreamRecord], None] = lambda record: None
        self.on_end: Callable[[StreamRecord], None] = lambda record: None
        self.on_gone: Callable[[StreamRecord], None] = lambda record: None
        self.on_rewind: Callable[[StreamRecord, int], None] = lambda record, offset: None

    def __len__(self) -> int:
        """Mirrors that are here."""
        return len(self._followed)

    async def create(self, record: StreamRecord, meta: bytes, *, needs_asker: bool = True) -> None:
        """Begin an answer in the log; ``record`` is its mirror from now on.

        Raises:
            Barred: If it must not come into the log any more.
            StoreUnavailable: If Redis is away. Nothing is left here; the log may have it.
        """
        followed = self._add(record, meta)
        keys = beginning_keys(record.stream_id)
        args = (record.model_id, meta, self._lease if needs_asker else "", PUBLISH)
        try:
            # Side by side: before this returns nobody knows the answer who could ring.
            _, reply = await hear_and_ask(
                followed.listen(), self._link.call("streams/create", keys, args)
            )
            if reply[0] == b"barred":
                raise Barred
            followed.begin_new()
        except BaseException:
            self._drop(followed)
            raise
        followed.opened.set_result(True)

    def describe(self, stream_id: str, meta: bytes) -> None:
        """Give an answer another meta, for those who open it from now on. Never waits."""
        self._link.tell("streams/describe", stream_keys(stream_id), (meta,))

    async def meta(self, stream_id: str) -> bytes | None:
        """The meta that an answer was given last; None if it is gone.

        Raises:
            StoreUnavailable: If Redis is away.
        """
        found: bytes | None = await self._link.command("HGET", stream_keys(stream_id)[0], "meta")
        return found

    async def bar(self, stream_id: str) -> bool:
        """Have an answer never come into the log. False if it is there.

        Raises:
            StoreUnavailable: If Redis is away.
        """
        step = self._link.call("streams/bar", beginning_keys(stream_id), (BARRED_MS,))
        return bool(await step)

    async def open(self, stream_id: str) -> tuple[StreamRecord, bytes] | None:
        """The mirror of any answer in the log, true from now on, and its meta; None if gone.

        Whoever gets one calls `release` when he needs it no more.

        Raises:
            StoreUnavailable: If Redis is away and it is not mirrored here.
        """
        followed = self._followed.get(stream_id)
        if followed is None:
            record = StreamRecord(stream_id, "", asyncio.get_running_loop().time())
            followed = self._add(record, b"")
            try:
                await followed.listen()
                is_there = await followed.begin()
            except BaseException as error:
                self._drop(followed)
                failed = error if isinstance(error, StoreUnavailable) else None
                followed.opened.set_exception(failed or StoreUnavailable("Redis: not opened"))
                followed.opened.exception()  # seen: nobody else need have waited
                raise
            if not is_there:
                self._drop(followed)
            followed.opened.set_result(is_there)
        else:
            followed.holders += 1
            self._keep(followed)
        if not await asyncio.shield(followed.opened):
            return None
        return followed.record, followed.meta

    def get(self, stream_id: str) -> StreamRecord | None:
        """The mirror that is here."""
        followed = self._followed.get(stream_id)
        is_open = followed is not None and followed.is_open
        return followed.record if followed is not None and is_open else None

    def release(self, stream_id: str) -> None:
        """One who created or opened the mirror needs it no more.

        When nobody does it goes after `KEPT_SECONDS`, and at once if the answer has ended: how
        long that can be opened is for the log to say.
        """
        followed = self._followed.get(stream_id)
        if followed is None or followed.leaving is not None:
            return
        followed.holders -= 1
        if followed.holders:
            return
        if followed.record.is_ended:
            self._drop(followed)
        else:
            loop = asyncio.get_running_loop()
            followed.leaving = loop.call_later(KEPT_SECONDS, self._drop, followed)

    async def place(self, stream_id: str, offset: int) -> int:
        """Where a reader stands that has ``offset`` bytes: at most there; it drops what is past.

        Waits until that is known, so that a mirror that is behind takes nothing away from a reader
        who was ahead of it elsewhere. Let the reader in at what this returns without awaiting
        anything in between.

        Raises:
            KeyError: If there is no mirror here (any more).
        """
        followed = self._followed[stream_id]
        follower = followed.mirror.follower
        cursor = NOTHING if offset == 0 else Cursor(None, offset)
        since = follower.next_reading
        stands = follower.place(cursor, since)
        if stands is None:
            followed.doubt()
            until = asyncio.get_running_loop().time() + PLACE_SECONDS
            stands = await followed.placed(cursor, since, until)
        return stands

    async def is_known(self, stream_id: str) -> bool:
        """Whether the log has an answer, ended or not.

        Raises:
            StoreUnavailable: If Redis is away.
        """
        return bool(await self._link.command("EXISTS", stream_keys(stream_id)[0]))

    async def cancel(self, stream_id: str, ending: Ending) -> Cancelled:
        """Ask for an end, durably; the first one asked of a living answer counts.

        Raises:
            StoreUnavailable: If Redis is away.
        """
        args = (pack_ending(ending), new_id("can"), PUBLISH)
        is_first, state = await self._link.call("streams/cancel", stream_keys(stream_id), args)
        return Cancelled(bool(is_first), StreamState(state.decode()))

    async def end(self, stream_id: str, ending: Ending) -> bool:
        """End an answer that no writer holds, where its text ends. False if it had ended.

        Raises:
            StoreUnavailable: If Redis is away.
        """
        args = (pack_ending(ending), new_id("end"), self._retention, PUBLISH)
        return bool(await self._link.call("streams/end", stream_keys(stream_id), args))

    async def fill(self, stream_id: str, text: str, tokens: int) -> None:
        """Put a whole text into an answer that no writer holds.

        Raises:
            StoreUnavailable: If Redis is away.
        """
        args = (new_id("wri"), text, tokens, PUBLISH)
        await self._link.call("streams/fill", stream_keys(stream_id), args)

    async def view(self, stream_id: str, *, has_viewers: bool) -> bool:
        """Tell whether anyone looks at an answer in this process.

        Returns:
            True if nobody looks at it in any living process, and its asker is gone.

        Raises:
            StoreUnavailable: If Redis is away. It is told again with the next renewal.
        """
        return await self.wants.view(stream_id, has_viewers=has_viewers)

    async def asker_gone(self, stream_id: str) -> bool:
        """Note that the asker is gone for good. Returns as `view`.

        Raises:
            StoreUnavailable: If Redis is away.
        """
        return await self.wants.asker_gone(stream_id)

    async def living(self, stream_ids: list[str]) -> set[str]:
        """Which of these answers have not ended.

        Raises:
            StoreUnavailable: If Redis is away.
        """
        keys = [stream_keys(stream_id)[0] for stream_id in stream_ids]
        states = await asyncio.gather(*(self._link.command("HGET", k, "state") for k in keys))
        found = zip(stream_ids, states, strict=True)
        return {stream_id for stream_id, state in found if state not in (None, b"ended")}

    def ring(self, stream_id: str, rung: Rung) -> None:
        """A writer in this process has made text: it need not go by way of Redis."""
        followed = self._followed.get(stream_id)
        if followed is not None and followed.is_open:
            followed.ring(rung)

    async def close(self) -> None:
        """Let all mirrors go."""
        for followed in list(self._followed.values()):
            self._drop(followed)

    def _add(self, record: StreamRecord, meta: bytes) -> Followed:
        followed = self._followed[record.stream_id] = Followed(
            self._link,
            record,
            meta,
            patience=self._patience,
            on_rewind=lambda offset: self.on_rewind(record, offset),
            on_cancelled=lambda: self.on_cancelled(record),
            on_end=lambda: self._ended(followed),
            on_gone=lambda: self.on_gone(record),
        )
        return followed

    def _ended(self, followed: Followed) -> None:
        self.wants.drop(followed.record.stream_id)
        self.on_end(followed.record)

    def _keep(self, followed: Followed) -> None:
        if followed.leaving is not None:
            followed.leaving.cancel()
            followed.leaving = None

    def _drop(self, followed: Followed) -> None:
        self._keep(followed)
        followed.close()
        stream_id = followed.record.stream_id
        if self._followed.get(stream_id) is followed:
            del self._followed[stream_id]
            self.wants.drop(stream_id)
