"""The job queue of many processes.

The order is that of `wsserver.core.fairness`, in Lua (``lua/queue``). What a process has claimed it
holds under a lease that it renews; the claim has a name that nobody else knows, so that whoever
was believed dead changes nothing any more. Steps that can't wait for Redis (a slot is free, a job
is put back) are repeated until it has taken them; each may be done twice.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from wsserver.core.fairness import prompt_estimate
from wsserver.core.jobs import Job, QueueFull
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.streams import StreamRecord
from wsserver.stores.redis.link import PUBLISH, Argument, RedisLink
from wsserver.stores.redis.names import digest
from wsserver.stores.redis.places import Places
from wsserver.stores.redis.queue_keys import claims_of, queue_bell, queue_keys
from wsserver.stores.redis.work_bell import WorkBell

LEASE_SECONDS, RENEW_SECONDS = 15.0, 5.0
"""For how long a silent process is believed alive, and how often one that lives says so."""

MAX_CLAIMS = 3
"""Of one job by runners that died: a job that kills its worker must not kill them all."""

RETRY_SECONDS = 1.0
"""After which free slots ask again when Redis was away."""

LEASE_MS = round(LEASE_SECONDS * 1000)

log = logging.getLogger(__name__)

_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(Job).decode


@dataclass(slots=True)
class _Held:
    """A job in this process's keeping."""

    job: Job
    claim: str


@dataclass(frozen=True, slots=True)
class _Step:
    """What Redis must still be told of a job."""

    script: str
    model_id: str
    args: tuple[str | bytes | int | float, ...]


class RedisJobQueue:
    """The queues of all models in one Redis.

    Args:
        link: The Redis.
        node: This process: its claims are found by it, should it die.
        max_depth: Jobs that may wait for one model.
        max_claims: How often a job is claimed by runners that die before it is given up.

    Attributes:
        on_lost: Called for a followed record whose job is in nobody's keeping any more.
    """

    def __init__(
        self, link: RedisLink, node: str, *, max_depth: int, max_claims: int = MAX_CLAIMS
    ) -> None:
        self._link = link
        self._node = node
        self._max_depth = max_depth
        self._max_claims = max_claims
        self._held: dict[str, _Held] = {}
        self._steps: dict[str, _Step] = {}  # by streamId: a later one includes the one before
        self._sending: asyncio.Task[None] | None = None
        self._charges: defaultdict[str, defaultdict[str, float]] = defaultdict(_no_charges)
        self._bells: dict[str, WorkBell] = {}
        self._is_back = asyncio.Event()
        self._places = Places(link, lambda record: self.on_lost(record))
        self.on_lost: Callable[[StreamRecord], None] = _ignore
        link.on_up.append(self._came_up)

    # A runner's side.

    def subscribe(self, model_id: str, bell: Callable[[], None]) -> Callable[[], None]:
        known = self._bells.get(model_id)
        if known is None:
            known = self._bells[model_id] = WorkBell(self._link, model_id)
        known.listeners.append(bell)

        def unsubscribe() -> None:
            known.listeners.remove(bell)
            if not known.listeners and self._bells.get(model_id) is known:
                self._bells.pop(model_id).close()

        return unsubscribe

    async def claim(self, model_id: str) -> Job | None:
        claiming = asyncio.get_running_loop().create_task(self._claim(model_id))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # Redis may give it a job all the same, which would wait for its lease to run out.
            claiming.add_done_callback(self._give_back)
            raise

    async def _claim(self, model_id: str) -> Job | None:
        while True:
            claim = self._new_claim()
            try:
                self._send_charges(model_id)  # before: they go into the order
                payload = await self._call("claim", model_id, claim, LEASE_MS)
            except StoreUnavailable:
                self._ask_again(model_id)
                return None
            if payload is None:
                return None
            job = _decode(payload)
            is_ours_already = job.stream_id in self._held
            self._held[job.stream_id] = _Held(job, claim)
            if not is_ours_already:
                return job
            # The lease ran out while this process stood still. The job is still being made here,
            # under the fence that it has: it goes on under the new lease.

    def charge(self, model_id: str, owner: str, tokens: float) -> None:
        self._charges[model_id][digest(owner)] += tokens

    def done(self, model_id: str, owner: str, stream_id: str) -> None:
        held = self._held.get(stream_id)
        if held is not None:
            self._tell(_Step("done", model_id, (stream_id, held.claim)))

    def resubmit(self, job: Job, record: StreamRecord) -> None:
        self.put_back(job)

    def put_back(self, job: Job) -> None:
        """Give a job that is held here back to the head of its line."""
        held = self._held.pop(job.stream_id, None)
        if held is not None:
            args = (*_description(job), held.claim, _encode(job))
            self._tell(_Step("resubmit", job.model_id, args))

    def abandon(self, model_id: str, owner: str, stream_id: str) -> None:
        self._held.pop(stream_id, None)  # whatever lease there is belongs to another, or runs out

    # What is in this process's keeping.

    def settled(self, stream_id: str) -> None:
        held = self._held.pop(stream_id, None)
        if held is not None:
            self._tell(_Step("settled", held.job.model_id, (stream_id, held.claim)))

    async def renew(self) -> None:
        by_model: defaultdict[str, list[_Held]] = defaultdict(list)
        for held in self._held.values():
            by_model[held.job.model_id].append(held)
        asked: list[Any] = [self._renew(model, all_held) for model, all_held in by_model.items()]
        for model in list(self._charges):
            self._send_charges(model)
        self._send_soon()
        await asyncio.gather(*asked)

    async def keep(self) -> None:
        """Renew the leases for ever; at once when Redis is back, which may have lost them all.

        Should this process die before, nobody would know of what it had claimed.
        """
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEW_SECONDS):
                    await self._is_back.wait()
            self._is_back.clear()
            try:
                await self.renew()
            except StoreUnavailable as error:
                log.warning("the leases of running answers could not be renewed: %s", error)

    async def reap(self, model_id: str) -> list[Job]:
        claim = self._new_claim()
        given_up = await self._call("reap", model_id, self._max_claims, claim, LEASE_MS)
        return [self._hold(payload, claim) for payload in given_up]

    # A gateway's side.

    async def submit(self, job: Job, *, slots: int) -> int:
        args = (*_description(job), self._max_depth, _encode(job), slots)
        place: int = await self._call("submit", job.model_id, *args)
        if place < 0:
            raise QueueFull(job.model_id)
        return place

    async def remove(self, model_id: str, stream_id: str) -> Job | None:
        claim = self._new_claim()
        payload = await self._call("remove", model_id, stream_id, claim, LEASE_MS)
        return None if payload is None else self._hold(payload, claim)

    async def drain(self, model_id: str) -> list[Job]:
        claim = self._new_claim()
        payloads = await self._call("drain", model_id, claim, LEASE_MS)
        return [self._hold(payload, claim) for payload in payloads]

    async def depth(self, model_id: str) -> int:
        count: int = await self._link.command("ZCARD", queue_keys(model_id)[0])
        return count

    def follow(self, record: StreamRecord) -> None:
        self._places.follow(record)

    def watch(self, record: StreamRecord) -> None:
        self._places.watch(record)

    async def close(self) -> None:
        """Say what is still to be said, and listen no more."""
        self._link.on_up.remove(self._came_up)
        self._places.close()
        for bell in self._bells.values():
            bell.close()
        self._bells.clear()
        if self._sending is not None:
            await asyncio.wait({self._sending})

    def _give_back(self, claiming: asyncio.Task[Job | None]) -> None:
        """A job came for a runner that has gone meanwhile."""
        if not claiming.cancelled() and (job := claiming.result()) is not None:
            self.put_back(job)

    def _hold(self, payload: bytes, claim: str) -> Job:
        job = _decode(payload)
        self._held[job.stream_id] = _Held(job, claim)
        return job

    async def _renew(self, model_id: str, all_held: Sequence[_Held]) -> None:
        named = [part for held in all_held for part in (held.job.stream_id, held.claim)]
        unknown = await self._call("renew", model_id, LEASE_MS, *named)
        lost = {stream_id.decode() for stream_id in unknown}
        await asyncio.gather(
            *(
                self._call(
                    "adopt",
                    model_id,
                    *_description(held.job),
                    held.claim,
                    _encode(held.job),
                    LEASE_MS,
                )
                for held in all_held
                # What was settled while Redis was asked is no longer to be known.
                if held.job.stream_id in lost and self._held.get(held.job.stream_id) is held
            )
        )

    def _send_charges(self, model_id: str) -> None:
        """One call for all owners. What gets lost with it makes the order a little less fair."""
        charges = self._charges.pop(model_id, None)
        if charges:
            flat = [part for item in charges.items() for part in item]
            self._link.post(*_step("charge", model_id, *flat), _note_charged)

    def _tell(self, step: _Step) -> None:
        self._steps[str(step.args[0])] = step
        self._send_soon()

    def _send_soon(self) -> None:
        if self._steps and self._sending is None:
            self._sending = asyncio.get_running_loop().create_task(self._send_steps())

    async def _send_steps(self) -> None:
        """Tell Redis what it must know; while it is away that is kept for the next time."""
        try:
            while self._steps:
                steps = dict(self._steps)
                asked = (self._call(s.script, s.model_id, *s.args) for s in steps.values())
                await asyncio.gather(*asked)
                for stream_id, step in steps.items():
                    if self._steps.get(stream_id) is step:
                        del self._steps[stream_id]
        except StoreUnavailable as error:
            log.debug("%d ends are kept until Redis is back: %s", len(self._steps), error)
        finally:
            self._sending = None

    def _new_claim(self) -> str:
        return claims_of(self._node) + secrets.token_hex(8)

    def _ask_again(self, model_id: str) -> None:
        bell = self._bells.get(model_id)
        if bell is not None:
            bell.ring_in(RETRY_SECONDS)

    def _came_up(self) -> None:
        self._is_back.set()
        self._send_soon()
        for bell in self._bells.values():
            bell.ring()

    def _call(self, script: str, model_id: str, *args: str | bytes | int | float) -> Any:
        return self._link.call(*_step(script, model_id, *args))


def _step(
    script: str, model_id: str, *args: str | bytes | int | float
) -> tuple[str, list[str], list[Argument]]:
    return f"queue/{script}", queue_keys(model_id), [queue_bell(model_id), *args, PUBLISH]


def _note_charged(reply: object) -> None:
    if isinstance(reply, StoreUnavailable):
        log.debug("charges are lost: %s", reply)


def _description(job: Job) -> tuple[str, str, int, float]:
    """Who, whose, and how it counts: what the scripts need to know of a job."""
    return job.stream_id, digest(job.owner), job.priority, prompt_estimate(job)


def _no_charges() -> defaultdict[str, float]:
    return defaultdict(float)


def _ignore(_: object) -> None:
    pass
