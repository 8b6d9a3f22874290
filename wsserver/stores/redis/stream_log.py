"""The writer's side of answers on Redis: what a runner calls, and how its text gets there.

The engine is never kept waiting. What it makes is taken at once into a buffer (`LogWriter`), and
goes out with that of all other answers of this process in one writing: the first text of an answer
in the same tick, later text some 25 times a second (`text_tick`). Mirrors in this very process see
it before. So whether a write was refused is known a little later: the next one raises `Fenced`, and
`on_fenced` is called before.

While Redis is away text is held back, and viewers in this process are rung past it; after
`AWAY_SECONDS` or `MAX_UNSENT` bytes the answer's owner is told to end it. What Redis lost of an
answer it gets back from here: a tail, its newest claims, all of it, its end (`stream_ends`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from wsserver.core.engine import TokenLogprob
from wsserver.core.errands import Errands
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.streams import Claim, Ending, Fenced, StreamRecord
from wsserver.core.streams.writer import Operation
from wsserver.stores.redis.link import RedisLink
from wsserver.stores.redis.listening import Hearing
from wsserver.stores.redis.stream_claim import RETRY_SECONDS, ask_for_end, claim, give_back
from wsserver.stores.redis.stream_ends import written_ends
from wsserver.stores.redis.stream_format import (
    Asked,
    Rung,
    bell_of,
    ending_of,
    kept_ms,
    stream_keys,
    writer_channel,
)
from wsserver.stores.redis.stream_writing import Call, Near, Nearby, Writing
from wsserver.stores.redis.text_tick import FLUSH_SECONDS, TextTick
from wsserver_protocol.lifecycle import StreamStep

AWAY_SECONDS, MAX_UNSENT = 60.0, 4 * 1024 * 1024
"""How long, and how many bytes of text, an answer can do without Redis."""

CLOSE_SECONDS = 5.0
"""For what is still to be written when the process ends."""


class RedisStreamLog:
    """What a runner needs of a `StreamLog`, and `cancelled`.

    Args:
        link: The way to Redis.
        retention: Seconds for which ended answers are kept.
        near: The mirrors of this process: they see each step of the engine at once.

    Attributes:
        on_finished: Called with an answer's id when its end is written for good.
        on_cancelled: Called when someone asked for a running answer's end, with that.
        on_fenced: Called with an answer's id when another writer has taken it over, or ended it.
        on_lost: Called when Redis was away for too long for an answer to go on.
    """

    def __init__(
        self,
        link: RedisLink,
        *,
        retention: float,
        near: Near | None = None,
    ) -> None:
        self._link = link
        self._retention = kept_ms(retention)
        self._nearby = Nearby(near)
        self._writings: dict[str, Writing] = {}
        self._ends = written_ends(link, self._retention)
        self._tick = TextTick(self._flush)
        self._errands = Errands("a step of a stream log has failed")
        self.on_finished: Callable[[str], None] = lambda _: None
        self.on_cancelled: Callable[[StreamRecord, Ending], None] = lambda _, __: None
        self.on_fenced: Callable[[str], None] = lambda _: None
        self.on_lost: Callable[[StreamRecord], None] = lambda _: None
        link.on_up.append(self._look_at_all)

    def __len__(self) -> int:
        """Answers that are written here, those with an end that is not written yet included."""
        return len(self._writings)

    def get(self, stream_id: str) -> StreamRecord | None:
        """The record of an answer that is written here: its writer's own, no mirror."""
        writing = self._writings.get(stream_id)
        return None if writing is None else writing.record

    async def claim(self, stream_id: str) -> Claim | None:
        """Become the writer. None when ended, cancelled or gone, or Redis stays away."""
        writing = await claim(self._link, stream_id)
        if writing is None:
            return None
        before = self._writings.pop(stream_id, None)
        if before is not None:
            before.leave()
        self._writings[stream_id] = writing
        # The first token need not wait for this: each reply to a text says as much as the bells.
        writing.hearing = Hearing(
            self._link.bells,
            writer_channel(stream_id),
            partial(self._hear, stream_id),
            stands=lambda: self._errands.begin(self._look_for_cancel(writing)),
            doubt=lambda: None,
        )
        transcript = writing.record.transcript
        return Claim(writing.writer.fence, transcript.text, transcript.generated)

    async def cancelled(self, stream_id: str) -> Ending | None:
        """The end that was asked for an answer.

        Raises:
            StoreUnavailable: If Redis is away.
        """
        kept = await self._link.command("HGET", stream_keys(stream_id)[0], "cancel")
        return None if kept is None else ending_of(kept)

    def append(
        self,
        stream_id: str,
        fence: int,
        offset: int,
        text: str,
        tokens: int,
        logprobs: tuple[TokenLogprob, ...] | None = None,
    ) -> int:
        """As the port says; `Fenced` comes as soon as it is known here."""
        writing = self._writable(stream_id, fence)
        record = writing.record
        length = writing.take(offset, text, tokens, logprobs)
        self._nearby.show(writing)
        if record.first_token_at is None:
            record.first_token_at = asyncio.get_running_loop().time()
            self._tick.soon()
        else:
            self._tick.in_time()
        return length

    async def seal(self, stream_id: str, fence: int, ending: Ending) -> None:
        """Decide how an answer ends whose text is whole, before anything is told of it elsewhere.

        From now on its text is what it is: no claim is granted any more, and whoever is given its
        job ends it so. Waits for Redis as long as that is away.

        Raises:
            Fenced: If it is another writer's to decide.
        """
        writing = self._writable(stream_id, fence)
        writing.record.cancel = ending  # nobody's wish comes before it any more
        writing.writer.seal(ending)
        writing.sealed = asyncio.get_running_loop().create_future()
        self._tick.soon()
        await writing.sealed

    def finish(self, stream_id: str, fence: int, total: int, ending: Ending) -> None:
        """End the answer at ``total`` bytes. Written once all text is; `on_finished` tells.

        Raises:
            Fenced: If it is known by now that another writer has it.
            ValueError: If the text is not ``total`` bytes long.
        """
        writing = self._writable(stream_id, fence)
        record = writing.record
        if len(record.transcript) != total:
            raise ValueError(f"finish at {total}, but the text ends at {len(record.transcript)}")
        record.ending = ending
        record.ended_at = asyncio.get_running_loop().time()
        record.take(StreamStep.END)
        writing.writer.finish(ending)
        self._tick.soon()

    def release(self, stream_id: str, fence: int) -> None:
        """Give the claim back after an engine died; text that is not written yet goes first.

        Raises:
            Fenced: As for `finish`.
        """
        writing = self._writable(stream_id, fence)
        self._forget(writing)
        writing.record.attempts += 1
        writing.record.take(StreamStep.QUEUE)
        self._errands.begin(give_back(self._link, writing, AWAY_SECONDS))

    async def close(self) -> None:
        """Wait until every end and release is written, at most `CLOSE_SECONDS`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + CLOSE_SECONDS
        while self._is_busy and loop.time() < until:
            self._tick.soon()
            await asyncio.sleep(FLUSH_SECONDS)
        self._errands.cancel()
        self._tick.stop()
        for writing in list(self._writings.values()):
            self._forget(writing)
        self._link.on_up.remove(self._look_at_all)
        self._ends.close()

    @property
    def _is_busy(self) -> bool:
        writings = self._writings.values()
        return bool(self._errands) or any(w.is_sending or w.writer.is_finishing for w in writings)

    async def _look_for_cancel(self, writing: Writing) -> None:
        """An end may have been asked for before its bells were heard.

        Until there is text nothing else would tell.
        """
        with suppress(StoreUnavailable):  # the first reply after that says it, too
            ending = await self.cancelled(writing.record.stream_id)
            if ending is not None and self._writings.get(writing.record.stream_id) is writing:
                self._note_cancel(writing, ending)

    def _hear(self, stream_id: str, data: bytes) -> None:
        writing = self._writings.get(stream_id)
        if writing is None:
            return
        match bell_of(data):
            case Asked(ending):
                self._note_cancel(writing, ending)
            case Rung(bell) if bell.fence > writing.writer.fence:
                self._fence_off(writing)

    def _writable(self, stream_id: str, fence: int) -> Writing:
        writing = self._writings.get(stream_id)
        if writing is None or writing.writer.fence != fence or writing.record.is_ended:
            raise Fenced(stream_id)
        return writing

    def _look_at_all(self) -> None:
        """Redis is back, maybe with less than it had: what it lost it gets back now."""
        for writing in self._writings.values():
            writing.is_in_doubt = True
        self._tick.soon()

    def _flush(self) -> None:
        """Write what there is, of all answers, in one writing."""
        for writing in list(self._writings.values()):
            self._send(writing)

    def _send(self, writing: Writing) -> None:
        if writing.away_since is not None and not self._link.is_up:
            self._hold_back(writing)
        elif not writing.is_sending:
            self._write(writing)

    def _write(self, writing: Writing) -> None:
        """Send what there is, if there is any: one operation at a time."""
        operation = writing.next_operation()
        writing.is_sending = operation is not None
        if operation is not None:
            self._post(writing, operation, writing.call_for(operation, self._retention))

    def _post(self, writing: Writing, operation: Operation, call: Call) -> None:
        self._link.post(*call, partial(self._replied, writing, operation))

    def _replied(self, writing: Writing, operation: Operation, reply: Any) -> None:
        """Redis answered, or did not: write on if that is urgent."""
        writing.is_sending = False
        if isinstance(reply, StoreUnavailable):
            if self._is_here(writing):
                self._hold_back(writing)
            return
        if not isinstance(reply, int) and reply[0] in (b"gone", b"behind"):
            writing.is_sending = True
            self._post(writing, writing.writer.rest, writing.call_to_restore())
            return
        writing.replied(operation, reply)
        if not self._is_here(writing):
            return  # released meanwhile
        if writing.writer.is_sealed and writing.sealed is not None and not writing.sealed.done():
            writing.sealed.set_result(None)
        if self._go_on(writing, reply):
            self._write(writing)
        elif writing.writer.has_more:
            # Came while the last reply was awaited; there may be no further one to bring it along.
            self._tick.in_time()

    def _go_on(self, writing: Writing, reply: int | list[Any]) -> bool:
        """After a reply; whether to write on at once."""
        writer, record = writing.writer, writing.record
        if isinstance(reply, int):
            return writer.is_finishing
        if writer.is_over:
            if writer.is_fenced:
                self._fence_off(writing)
            else:
                self._forget(writing)
                self._ends.note(writing)
                self.on_finished(record.stream_id)
            return False
        cancel = reply[2]
        if cancel:
            self._note_cancel(writing, ending_of(cancel))
        elif writing.is_unwanted and not writing.is_orphan:
            writing.is_orphan = True
            self._errands.begin(self._end_orphan(writing))
        return reply[0] == b"short" or writer.is_finishing

    def _hold_back(self, writing: Writing) -> None:
        """Redis is away: try again in a while; for too long, and the owner is told."""
        loop = asyncio.get_running_loop()
        if writing.away_since is None:
            writing.away_since = loop.time()
        is_too_long = loop.time() - writing.away_since > AWAY_SECONDS
        if (is_too_long or writing.writer.unsent > MAX_UNSENT) and not writing.is_lost:
            writing.is_lost = True
            self.on_lost(writing.record)
        self._tick.at(loop.time() + RETRY_SECONDS)

    async def _end_orphan(self, writing: Writing) -> None:
        try:
            await ask_for_end(self._link, writing.record.stream_id)
        except StoreUnavailable:
            writing.is_orphan = False  # the next reply says it again

    def _note_cancel(self, writing: Writing, ending: Ending) -> None:
        if writing.record.cancel is None and not writing.record.is_ended:
            writing.record.cancel = ending
            self.on_cancelled(writing.record, ending)

    def _is_here(self, writing: Writing) -> bool:
        return self._writings.get(writing.record.stream_id) is writing

    def _fence_off(self, writing: Writing) -> None:
        if self._is_here(writing):
            self._forget(writing)
            self.on_fenced(writing.record.stream_id)

    def _forget(self, writing: Writing) -> None:
        del self._writings[writing.record.stream_id]
        writing.leave()
        if writing.sealed is not None and not writing.sealed.done():
            writing.sealed.set_exception(Fenced(writing.record.stream_id))
