"""An accepted answer's way into its model's line, on a gateway of a fleet.

An accepted answer exists for its client from the same moment as on a single server, so that the
next frame finds it: a stop, for one. Its start is held back until the fleet has admitted it, which
takes a few round trips; if that is refused, it ends as if it had never been accepted. From the
moment its start is told it lives in the shared log, and nothing of it depends on this process.

The way, as the answer's leader task goes it::

    accept ─ admit (repeat? limits) ─ placed ─ create in the log ─ start told ─ in line

A session has its question, where a turn of its is *placed*, before the answer is in the log: the
answer is told where that stands. A room has it after: its members look for the answer then.

Whoever asks for its end before it is in line leaves that to the leader.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from itertools import chain

from wsserver.core.ask import Answer, Claim, make_job
from wsserver.core.cache import cache_key, is_deterministic
from wsserver.core.engine import ChatMessage
from wsserver.core.jobs import Job, QueueFull, SharedJobQueue
from wsserver.core.models import ModelDirectory, ModelView
from wsserver.core.models.fallbacks import bind, chosen, others
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.shared.admission import Admission
from wsserver.core.shared.endings import Endings
from wsserver.core.shared.entering import EnteringAnswers
from wsserver.core.shared.led import Led, store_away
from wsserver.core.shared.meta import Kept, learn_input, pack, unpack
from wsserver.core.shared.ports import Ledger, SharedCache, SharedStreams
from wsserver.core.streams import Ending, StreamRecord
from wsserver_protocol.errors import WireError
from wsserver_protocol.lifecycle import StreamState

HOLD_EVERY = 5.0
"""Seconds between two words that an answer lives which is in no log yet: its turn may be long in
coming."""


class LedAnswers(EnteringAnswers):
    """Leads what this process accepts.

    Args:
        streams: The shared log.
        queue: The shared queue.
        admission: Repeats and limits over the fleet.
        cache: Answers that are given again.
        endings: What an end brings.
        models: All models of the fleet.
        stop_here: Ends an answer that an engine of this very process makes, at once and also while
            the store is away. False if none does.
        ledger: Where it stands what this process leads.
        max_wait: Seconds within which a slot must be found; 0: no bound.
    """

    def __init__(
        self,
        *,
        streams: SharedStreams,
        queue: SharedJobQueue,
        admission: Admission,
        cache: SharedCache,
        endings: Endings,
        models: ModelDirectory,
        stop_here: Callable[[str, Ending], bool],
        ledger: Ledger,
        retention: float,
        max_wait: float = 0.0,
    ) -> None:
        super().__init__(
            streams=streams,
            admission=admission,
            endings=endings,
            models=models,
            ledger=ledger,
            retention=retention,
            max_wait=max_wait,
        )
        self._queue = queue
        self._cache = cache
        self._stop_here = stop_here

    def enqueue(
        self,
        answer: Answer,
        *,
        messages: tuple[ChatMessage, ...] | None = None,
        raw: str | None = None,
        prior: str = "",
    ) -> None:
        led = self._led.get(answer.stream_id)
        if led is None:
            return
        record = answer.record
        if record.cancel is not None:
            led.step()  # its leader ends it
            return
        chosen(self._models, record, None)
        led.job = make_job(record, answer.ask, messages, raw, prior)
        led.step()

    def release(self, answer: Answer) -> None:
        led = self._led.get(answer.stream_id)
        super().release(answer)
        if led is not None and answer.holds == 1:  # our own
            led.placed.set()
            led.step()

    async def admitted(self, answer: Answer) -> bool:
        led = self._led.get(answer.stream_id)
        while led is not None and not led.may_be_placed and answer.stream_id in self._led:
            await led.changed.wait()
        if led is not None and not led.may_be_placed:  # refused, or a repeat of another one
            return False
        if answer.record.is_ended or answer.is_refused:
            return False
        # A turn of a session is kept, also one that is stopped before it began.
        return answer.record.cancel is None or answer.ask.room_id is None

    def refuse(self, answer: Answer, error: WireError) -> None:
        super().refuse(answer, error)
        led = self._led.get(answer.stream_id)
        if led is not None:  # whoever held it back has no more to say, also of one that is stopped
            led.placed.set()
            led.step()

    async def made_before(
        self, identity_key: str, request_id: str, fingerprint: bytes | None = None
    ) -> Answer | None:
        try:
            stream_id = await self._admission.earlier(identity_key, request_id, fingerprint)
        except StoreUnavailable:
            raise store_away() from None
        return None if stream_id is None else await self.find(stream_id)

    async def learn_input(self, answer: Answer) -> None:
        try:
            meta = await self._streams.meta(answer.stream_id)
        except StoreUnavailable:
            raise store_away() from None
        if meta is not None:
            learn_input(answer, unpack(meta))

    def claim_id(self, answer: Answer, claim: Claim) -> None:
        """The asker gave the request an id: at the same call, before it is admitted."""
        led = self._led.get(answer.stream_id)
        if led is not None:
            led.claim = claim

    def keep(self, answer: Answer, kept: Kept) -> None:
        """A session keeps the answer. Before its start is released."""
        led = self._led.get(answer.stream_id)
        if led is not None:
            led.kept = kept

    def _begin(self, answer: Answer) -> None:
        answer.holds += 1
        led = self._led[answer.stream_id] = Led(answer)
        # Whether anything else holds it back is known when its acceptance is over.
        asyncio.get_running_loop().call_soon(self._accepted, led)

    def _withdraw(self, answer: Answer) -> None:
        del self._answers[answer.stream_id]
        del self._led[answer.stream_id]
        if answer.deadline is not None:
            answer.deadline.cancel()

    def _accepted(self, led: Led) -> None:
        if self._led.get(led.answer.stream_id) is not led:
            return  # withdrawn: it was refused at once
        if led.answer.holds <= 1:
            led.placed.set()
        self._errands.begin(self._lead(led))

    async def _lead(self, led: Led) -> None:
        answer, record = led.answer, led.answer.record
        try:
            await self._go(led)
        except WireError as error:
            await self._give_up(led, Ending.failed(error))
        except QueueFull:
            await self._give_up(led, Ending.failed(self._no_place(answer)))
        except StoreUnavailable:
            await self._give_up(led, Ending.failed(store_away()))
        finally:
            self._led.pop(answer.stream_id, None)
            led.step()
        # Not where this process ends before: then whoever clears what it leaves ends the answer.
        if led.may_be_created:
            self._errands.begin(self._end_there(led))
        else:
            self._ledger.remove(answer.stream_id)
        if record.watchers and not record.is_ended:
            self._errands.begin(self._tell_viewers(answer))
        if led.is_in_line and record.cancel is not None:
            # Asked for while the last step was on its way.
            self._stop_here(answer.stream_id, record.cancel)
            self._errands.begin(self._ask_for_end(record, record.cancel))

    async def _go(self, led: Led) -> None:
        answer, record = led.answer, led.answer.record
        self._note(led)
        earlier = await self._admission.admit(answer, led.claim)
        while earlier is not None:
            if record.cancel is not None:
                # An item may wait for its place elsewhere, and would begin there all the same.
                if led.claim is not None and answer.ask.is_patient:
                    if await self._admission.seize(answer, led.claim):
                        break
                    if await self._become(led, earlier):
                        return
                await self._give_up(led, record.cancel)
                return
            if await self._become(led, earlier):
                return
            assert led.claim is not None  # or it would be no repeat
            earlier = await self._admission.admit_instead(answer, led.claim)
        led.is_admitted = True
        led.step()
        if answer.ask.room_id is not None and not await self._create(led):
            await self._follow_another(led)
            return
        while self._waits_for_its_place(led):
            led.noting = None  # by then it may be believed dead, and what it led cleared: once more
            try:
                async with asyncio.timeout(HOLD_EVERY):
                    await led.changed.wait()
            except TimeoutError:
                await self._admission.hold(answer)
        if record.is_ended:
            return  # others have ended it: this process was believed dead
        if record.cancel is not None and (answer.is_refused or not led.placed.is_set()):
            await self._give_up(led, record.cancel)
            return
        # What was stopped by now comes into the log all the same: it was told of, and who looks at
        # it or repeats it elsewhere is to find its end.
        if not led.is_created and not await self._create(led):
            await self._follow_another(led)
            return
        if answer.ask_seq is not None:
            meta = pack(answer, led.kept, with_input=False)
            self._streams.describe(answer.stream_id, meta)
        # Its context is being made: that may take a while. In a room it has begun for the others.
        if led.job is None or answer.ask.room_id is not None:
            super().release(answer)
        while led.job is None and record.cancel is None and not record.is_ended:
            await led.changed.wait()
        if record.is_ended:
            return
        if record.cancel is not None or led.job is None:
            await self._give_up(led, record.cancel or Ending.failed(store_away()))
            return
        if answer.ask.room_id is not None:  # any member goes on with it, on any gateway
            meta = pack(answer, led.kept, with_input=True)
            self._streams.describe(answer.stream_id, meta)
        await self._line_up(led, led.job)

    def _waits_for_its_place(self, led: Led) -> bool:
        """Whether its place is being found, which it gets however soon it is stopped."""
        answer, record = led.answer, led.answer.record
        if led.placed.is_set() or record.is_ended:
            return False
        return record.cancel is None or (answer.holds > 1 and not answer.is_refused)

    async def _line_up(self, led: Led, job: Job) -> None:
        """Put an answer in its model's line, or in a fallback's if that is full.

        Raises:
            QueueFull: If all of them are.
        """
        record = led.answer.record
        first = self._models.get(record.model_id)
        asked = record.requested_model or first.id
        rest = others(self._models, asked, led.answer.ask.options, {first.id})
        for model in chain((first,), rest):
            if model.id != record.model_id:
                bind(record, model, asked)
            try:
                await self._line_up_for(led, replace(job, model_id=model.id), model)
                return
            except QueueFull:
                continue
        bind(record, first, asked)
        raise QueueFull

    async def _line_up_for(self, led: Led, job: Job, model: ModelView) -> None:
        answer, record = led.answer, led.answer.record
        await self._models.begun(model.id)
        self._models.require(model.id)  # since its acceptance its unload may have begun
        if is_deterministic(answer.ask.options):
            answer.cache_key = cache_key(job, model.build)
            if await self._give_again(led):
                return
        job = replace(job, meta=pack(answer, led.kept, with_input=False))
        led.may_be_in_line = True
        try:
            place = await self._queue.submit(job, slots=model.slots)
        except QueueFull:
            led.may_be_in_line = False
            raise
        led.is_in_line = True
        if place and record.state is not StreamState.RUNNING and not record.is_ended:
            self._wait(answer, place)
        self._queue.follow(record)
        if answer.is_held:
            super().release(answer)

    async def _give_again(self, led: Led) -> bool:
        """End an answer at once with the text that it had before. False if it had none."""
        answer, record = led.answer, led.answer.record
        assert answer.cache_key is not None
        cached = await self._cache.get(answer.cache_key)
        if cached is None:
            return False
        record.is_cached = True
        record.prompt_tokens = record.cached_tokens = cached.prompt_tokens
        await self._streams.fill(record.stream_id, cached.text, cached.tokens)
        if answer.is_held:
            super().release(answer)
        await self._end_here(answer.stream_id, Ending.complete(cached.finish_reason))
        return True

    @abstractmethod
    async def _ask_for_end(self, record: StreamRecord, ending: Ending) -> None:
        """Have an answer end that is in the log."""

    @abstractmethod
    async def _tell_viewers(self, answer: Answer) -> None:
        """Tell the others whether anyone looks at an answer here."""
