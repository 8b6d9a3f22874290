"""How an accepted answer enters the log, or does not: refused, a repeat, or overtaken.

A process may be slow enough to be believed dead. A repeat of its request is then begun elsewhere,
and the log is closed to the answer that it had in mind. When it comes to put that one there, it
shows the other one instead.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod

from wsserver.core.answers import Answers
from wsserver.core.ask import Answer
from wsserver.core.errands import Errands
from wsserver.core.models import ModelDirectory
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.shared.admission import LOOK_EVERY, Admission
from wsserver.core.shared.endings import RETRY_EVERY, Endings
from wsserver.core.shared.led import Led
from wsserver.core.shared.meta import pack
from wsserver.core.shared.ports import Barred, Ledger, SharedStreams
from wsserver.core.streams import Ending, StreamRecord


class EnteringAnswers(Answers):
    """Puts what this process has accepted into the log.

    Args:
        streams: The shared log.
        admission: Repeats and limits over the fleet.
        endings: What an end brings.
        models: All models of the fleet.
        ledger: Where it stands what this process leads.
        retention: As for `Answers`.
        max_wait: As for `Answers`.
    """

    def __init__(
        self,
        *,
        streams: SharedStreams,
        admission: Admission,
        endings: Endings,
        models: ModelDirectory,
        ledger: Ledger,
        retention: float,
        max_wait: float,
    ) -> None:
        super().__init__(models=models, retention=retention, max_wait=max_wait)
        self._streams = streams
        self._admission = admission
        self._endings = endings
        self._ledger = ledger
        self._led: dict[str, Led] = {}
        self._errands = Errands("a step of an answer has failed")

    def _note(self, led: Led) -> None:
        """Begin to make known that this process leads an answer, while it is being admitted."""
        noting = asyncio.get_running_loop().create_task(self._ledger.add(led.answer.stream_id))
        noting.add_done_callback(_look_at)  # one that is refused needs it no more
        led.noting = noting

    async def _create(self, led: Led) -> bool:
        """Put an answer into the log. False if another one is made in its place by now.

        Raises:
            StoreUnavailable: If the store is away.
        """
        answer, record = led.answer, led.answer.record
        is_kept = led.kept is not None or answer.ask.room_id is not None
        meta = pack(answer, led.kept, with_input=not is_kept)
        # Waited for: an answer in the log that nobody is known to lead would stay there, queued.
        await (led.noting or self._ledger.add(answer.stream_id))
        try:
            needs_asker = not answer.survives_its_asker
            await self._streams.create(record, meta, needs_asker=needs_asker)
        except Barred:
            return False
        except StoreUnavailable:
            led.may_be_created = True  # whoever leads it sees to that
            raise
        led.is_created = True
        led.step()
        return True

    async def _end_there(self, led: Led) -> None:
        """The log has, or may have, an answer that was refused here: nobody else would end it.

        Whoever finds it there is told the end that was told here.
        """
        answer, record = led.answer, led.answer.record
        assert record.ending is not None
        ending = record.ending.told_with(record.facts(asyncio.get_running_loop().time()))
        while True:
            try:
                if not await self._streams.bar(answer.stream_id):
                    await self._end_here(answer.stream_id, ending)
                break
            except StoreUnavailable:
                await asyncio.sleep(RETRY_EVERY)
        self._ledger.remove(answer.stream_id)

    async def _follow_another(self, led: Led) -> None:
        """This process was believed dead, and the request was begun elsewhere meanwhile.

        Raises:
            WireError: ``store_unavailable`` if it was not, after all.
            StoreUnavailable: If the store is away.
        """
        answer, record = led.answer, led.answer.record
        assert led.claim is not None  # or nobody could have begun it
        led.is_admitted = False
        for hook in answer.on_dropped:  # its turn is over: that of the other one waits for it
            hook()
        await self._admission.leave(answer)
        while record.cancel is None:
            earlier = await self._admission.overtaken(answer, led.claim)
            if await self._become(led, earlier):
                return
            await asyncio.sleep(LOOK_EVERY)
        await self._give_up(led, record.cancel)

    async def _become(self, led: Led, stream_id: str) -> bool:
        """The same request was accepted before: show that one instead. False if it is not there."""
        earlier = await self.find(stream_id)
        answer = led.answer
        if earlier is None:
            return False
        self._answers.pop(answer.stream_id, None)
        if answer.deadline is not None:
            answer.deadline.cancel()
        if answer.on_replaced is not None:
            answer.on_replaced(earlier)
        for hook in answer.on_dropped:
            hook()
        return True

    async def _give_up(self, led: Led, ending: Ending) -> None:
        """End an answer that never came into line."""
        answer, record = led.answer, led.answer.record
        if led.may_be_in_line and answer.is_held:
            super().release(answer)  # it may run: it has begun, and ends as the log says
        if record.cancel is None and answer.is_held:
            answer.is_refused = True
        if answer.is_refused and led.claim is not None and led.is_admitted:
            answer.claim = None
            self._admission.release(answer, led.claim)
        how = record.cancel or ending
        if led.is_created and answer.is_refused and answer.ask.room_id is not None:
            # Its asker need not wait: the room has said no, so that nobody else is told of it.
            led.may_be_created = True
            self._over(answer, how)
            self._streams.release(answer.stream_id)
            return
        if led.is_created and led.may_be_in_line:
            await self._end_in_doubt(record, how)
            return
        if led.is_created:
            await self._end_here(answer.stream_id, how)
            return
        if led.is_admitted:
            self._endings.settle(answer, ending)
            self._admission.settle(answer)
        record.cancel = how
        for hook in answer.closing:
            await hook(record, how)
        self._over(answer, how)

    def _over(self, answer: Answer, ending: Ending) -> None:
        """End an answer for those here, whatever its log says."""
        answer.record.end_here(ending, asyncio.get_running_loop().time())
        self._has_ended(answer)
        answer.record.wake()

    @abstractmethod
    async def _end_in_doubt(self, record: StreamRecord, ending: Ending) -> None:
        """End an answer in the log of which nobody knows whether it is in line."""

    @abstractmethod
    async def _end_here(self, stream_id: str, ending: Ending | None) -> None:
        """End an answer in the log that no writer holds."""


def _look_at(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()
