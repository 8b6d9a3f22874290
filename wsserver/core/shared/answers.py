"""Answers on a gateway of a fleet: those that it accepted, and those that someone here looks at.

Each is a mirror of the shared log. Whoever asks for an end writes that into the log first, where
one of all who ask is the first; the answer's writer sees it there and ends it, or, where it has
none, whoever takes it out of the line.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial

from wsserver.core.ask import Answer
from wsserver.core.clients import Client
from wsserver.core.jobs import SharedJobQueue
from wsserver.core.models import ModelDirectory
from wsserver.core.sessions.store import SessionStore, StoreUnavailable
from wsserver.core.shared.admission import Admission
from wsserver.core.shared.endings import RETRY_EVERY, Endings
from wsserver.core.shared.leading import LedAnswers
from wsserver.core.shared.led import store_away
from wsserver.core.shared.meta import answer_of, unpack
from wsserver.core.shared.ports import Ledger, SharedCache, SharedStreams
from wsserver.core.shared.waiting import REAP_EVERY, given_up, is_led, reaped
from wsserver.core.shared.work import end_unclaimed
from wsserver.core.streams import Ending, StreamRecord
from wsserver_protocol.errors import ErrorCode
from wsserver_protocol.lifecycle import StopReason, StreamState

log = logging.getLogger(__name__)

ASK_AGAIN_AFTER = 5.0
"""Seconds that an answer has to end in, once asked to."""


class SharedAnswers(LedAnswers):
    """The answers that this gateway knows of.

    Args:
        store: Where sessions are.
        others: As for `LedAnswers`.
    """

    def __init__(
        self,
        *,
        streams: SharedStreams,
        queue: SharedJobQueue,
        admission: Admission,
        cache: SharedCache,
        store: SessionStore,
        endings: Endings,
        models: ModelDirectory,
        stop_here: Callable[[str, Ending], bool],
        ledger: Ledger,
        retention: float,
        max_wait: float = 0.0,
    ) -> None:
        super().__init__(
            streams=streams,
            queue=queue,
            admission=admission,
            cache=cache,
            endings=endings,
            models=models,
            stop_here=stop_here,
            ledger=ledger,
            retention=retention,
            max_wait=max_wait,
        )
        self._store = store
        self._orphans: dict[str, asyncio.Event] = {}  # set once told, by streamId
        streams.on_cancelled, streams.on_end = self._stopped_elsewhere, self._mirror_ended
        streams.on_gone = self.lost
        streams.on_rewind = self._mirror_rewound
        queue.on_lost = self._missed

    async def find(self, stream_id: str) -> Answer | None:
        try:
            return await self.look_up(stream_id)
        except StoreUnavailable:
            raise store_away() from None

    async def look_up(self, stream_id: str) -> Answer | None:
        """As `find`, for who asks on nobody's behalf. Raises `StoreUnavailable`."""
        known = self.retained(stream_id)
        if known is not None:
            return known
        opened = await self._streams.open(stream_id)
        if opened is None:
            return None
        known = self.retained(stream_id)  # another one has looked for it meanwhile
        if known is not None:
            self._streams.release(stream_id)
            return known
        record, data = opened
        answer = answer_of(unpack(data), record)
        if record.ending is not None and record.ending.facts is not None:
            record.learn(record.ending.facts)
        if not record.is_ended:
            self._answers[stream_id] = answer
            self._queue.watch(record)
            return answer
        self._streams.release(stream_id)
        now = asyncio.get_running_loop().time()
        if now - (record.ended_at or now) >= self._retention:
            return None  # the log keeps it a little longer, for mirrors that missed the end
        self._ended[stream_id] = answer
        return answer

    async def look_up_of(self, client: Client) -> None:
        """Have a client know its answers that are not looked up yet.

        Raises:
            StoreUnavailable: If it can't be told; some of them may be.
        """
        for stream_id in client.stream_ids:
            answer = await self.look_up(stream_id)
            if answer is not None and not answer.record.is_ended:
                client.begin(answer)
        client.stream_ids = ()

    async def orphans_told(self, stream_ids: Collection[str]) -> None:
        """Wait until it is known of answers that were `orphaned`: then any process stops them."""
        for told in [self._orphans[s] for s in stream_ids if s in self._orphans]:
            await told.wait()

    async def place(self, answer: Answer, offset: int) -> int:
        if answer.record.is_ended:
            return min(offset, len(answer.record.transcript))
        try:
            return await self._streams.place(answer.stream_id, offset)
        except KeyError:  # its mirror has gone since it was found
            return min(offset, len(answer.record.transcript))

    async def look_again(self, answer: Answer) -> None:
        """As `Answers.look_again`: its end may have been told elsewhere, and not here yet."""
        looked = self.place(answer, len(answer.record.transcript) + 1)
        try:
            _, living = await asyncio.gather(looked, self._streams.living([answer.stream_id]))
        except StoreUnavailable:
            raise store_away() from None
        if not living and not answer.record.is_ended:
            raise store_away()

    def followed(self, answer: Answer) -> None:
        record = answer.record
        is_first = len(record.watchers) <= 1 and not record.is_ended
        if is_first and answer.stream_id not in self._led:  # before, nobody else knows of it
            self._errands.begin(self._tell_viewers(answer))

    def unfollowed(self, answer: Answer) -> None:
        if not answer.record.watchers and not answer.record.is_ended:
            self._errands.begin(self._tell_viewers(answer))

    def orphaned(self, answer: Answer) -> None:
        if not answer.survives_its_asker and not answer.record.is_ended:
            told = self._orphans[answer.stream_id] = asyncio.Event()
            self._errands.begin(self._tell_orphaned(answer, told))

    def end_early(self, answer: Answer, ending: Ending) -> bool:
        record = answer.record
        if record.is_ended or record.cancel is not None:
            return False
        record.cancel = ending  # here; in the log someone may have been earlier
        led = self._led.get(answer.stream_id)
        if led is not None:
            led.step()
        else:
            self._stop_here(answer.stream_id, ending)
            self._errands.begin(self._ask_for_end(record, ending))
        return True

    async def end_waiting(self, model_id: str, ending: Ending) -> None:
        """End what waits for a model, wherever it was asked, and see it ended here.

        If the store is away it is left to the model's workers, who look for it, too.
        """
        try:
            jobs = await self._queue.drain(model_id)
        except StoreUnavailable as error:
            log.warning("what waits for model %s can't be ended: %s", model_id, error)
            return
        told: list[asyncio.Event] = []
        ids = {job.stream_id for job in jobs}
        ids |= {s for s, led in self._led.items() if led.answer.record.model_id == model_id}
        for answer in filter(None, map(self._answers.get, ids)):
            told.append(asyncio.Event())
            answer.on_end.append(partial(_set, told[-1]))
        for job in jobs:
            await self._end_here(job.stream_id, ending)
            self._queue.settled(job.stream_id)
        with suppress(TimeoutError):  # its bell may be lost: then the watchdog tells it
            async with asyncio.timeout(RETRY_EVERY):
                await asyncio.gather(*(event.wait() for event in told))

    async def reap(self) -> None:
        """Give work of dead workers back to the lines of all models, for ever.

        Gateways do so, too: the only worker may have died, and its work waits for another.
        """
        while True:
            await asyncio.sleep(REAP_EVERY)
            for job in await reaped(self._queue, [model.id for model in self._models.all()]):
                await self._end_here(job.stream_id, given_up())
                self._queue.settled(job.stream_id)

    def lost(self, record: StreamRecord) -> None:
        """The store has lost an answer that waits: nobody else will end it."""
        self._errands.begin(self._end_lost(record))

    def _missed(self, record: StreamRecord) -> None:
        """End what no queue knows, unless somebody leads it into one."""
        self._errands.begin(self._end_missed(record))

    async def _end_missed(self, record: StreamRecord) -> None:
        if record.stream_id in self._led or await is_led(self._ledger, record.stream_id):
            self._queue.watch(record)
        else:
            await self._end_lost(record)

    async def closed(self) -> None:
        await self._errands.ended()
        await self._endings.settled()

    async def _ask_for_end(self, record: StreamRecord, ending: Ending) -> None:
        """Have an answer end that is in the log: by its writer, or here if it has none."""
        stream_id = record.stream_id
        while not record.is_ended:
            try:
                found = await self._streams.cancel(stream_id, ending)
                if found.state is StreamState.ENDED:  # or lost with all that the store had
                    await asyncio.sleep(RETRY_EVERY)
                    await self._end_lost(record, only_if_gone=True)
                    # Its writer may have written it again since: without what was asked.
                elif await self._queue.remove(record.model_id, stream_id) is not None:
                    # Under a lease: should this process die now, a worker is given the job, has
                    # its claim refused, and ends it instead.
                    await self._end_here(stream_id, None)
                    self._queue.settled(stream_id)
                self._ask_again_later(record, ending)
                return
            except StoreUnavailable:
                await asyncio.sleep(RETRY_EVERY)

    def _ask_again_later(self, record: StreamRecord, ending: Ending) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(ASK_AGAIN_AFTER, self._ask_again, record, ending)

    def _ask_again(self, record: StreamRecord, ending: Ending) -> None:
        """The store may have lost what it was asked: its writer goes on then, and nobody else asks
        again, since all who look at the answer here know that it is asked to end."""
        if not record.is_ended and self._streams.get(record.stream_id) is record:
            self._errands.begin(self._ask_for_end(record, ending))

    async def _end_lost(self, record: StreamRecord, *, only_if_gone: bool = False) -> None:
        ending = record.cancel or Ending.error(
            ErrorCode.STORE_UNAVAILABLE, "The store has lost this request.", retryable=True
        )
        while not record.is_ended:
            try:
                is_known = await self._streams.is_known(record.stream_id)
            except StoreUnavailable:
                await asyncio.sleep(RETRY_EVERY)
                continue
            if is_known and not only_if_gone:
                await self._end_here(record.stream_id, ending)
            if is_known:
                return
            if (answer := self._answers.get(record.stream_id)) is not None:
                await self._endings.log_in_room(answer)  # its ask may not be lost
            if not record.is_ended:  # it may have been found lost twice at once
                record.end_here(ending, asyncio.get_running_loop().time())
                self._mirror_ended(record)
                record.wake()

    async def _end_in_doubt(self, record: StreamRecord, ending: Ending) -> None:
        record.cancel = ending  # first: a worker that begins it has more text than is written here
        await self._ask_for_end(record, ending)
        while not record.is_ended:
            try:
                if not await self._ledger.is_in_line(record.model_id, record.stream_id):
                    await self._end_here(record.stream_id, None)
                return
            except StoreUnavailable:
                await asyncio.sleep(RETRY_EVERY)

    async def _tell_viewers(self, answer: Answer) -> None:
        """Tell the others whether anyone looks here; end what nobody is left for."""
        has_viewers = bool(answer.record.watchers)
        try:
            is_alone = await self._streams.view(answer.stream_id, has_viewers=has_viewers)
        except StoreUnavailable:
            return  # its lease tells the same, later
        if is_alone and not answer.survives_its_asker and not answer.record.watchers:
            self.stop(answer, StopReason.DISCONNECT, "server")

    async def _tell_orphaned(self, answer: Answer, told: asyncio.Event) -> None:
        stream_id = answer.stream_id
        led = self._led.get(stream_id)
        while led is not None and not led.is_created and stream_id in self._led:
            await led.changed.wait()  # nobody is told of what is in no log
        while not answer.record.is_ended:
            try:
                if answer.record.watchers:
                    await self._streams.view(stream_id, has_viewers=True)
                if await self._streams.asker_gone(stream_id) and not answer.record.watchers:
                    self.stop(answer, StopReason.DISCONNECT, "server")
                break
            except StoreUnavailable:
                await asyncio.sleep(RETRY_EVERY)
        self._orphans.pop(stream_id, None)
        told.set()

    async def _end_here(self, stream_id: str, ending: Ending | None) -> None:
        await end_unclaimed(
            stream_id, ending, streams=self._streams, store=self._store, endings=self._endings
        )

    def _stopped_elsewhere(self, record: StreamRecord) -> None:
        led = self._led.get(record.stream_id)
        if led is not None:  # not in line yet: nobody else would end it
            led.step()
        elif record.cancel is not None:
            self._ask_again_later(record, record.cancel)

    def _mirror_ended(self, record: StreamRecord) -> None:
        answer = self._answers.get(record.stream_id)
        if answer is None:
            return
        self._has_ended(answer)
        self._admission.settle(answer)
        self._streams.release(record.stream_id)
        if (led := self._led.get(record.stream_id)) is not None:
            led.step()

    def _mirror_rewound(self, record: StreamRecord, offset: int) -> None:
        answer = self.retained(record.stream_id)
        if answer is not None:
            answer.shared_frames.clear()  # their text is not the answer's any more
        for watcher in tuple(record.watchers):
            watcher.rewound(offset)


def _set(event: asyncio.Event, _: Answer) -> None:
    event.set()
