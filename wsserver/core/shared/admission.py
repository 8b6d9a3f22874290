"""Whether the fleet takes a request: not a repeat of an earlier one, and within its limits.

A request is claimed before its answer is in the log, and a turn of a session may wait for its place
in between. What a claim says is therefore the answer and, until that has ended, the process that is
to put it there: a repeat waits for the answer while that process lives, and takes its place if it
has died. It might only be slow: so the log is closed to its answer first, and if that is there by
then, the repeat is shown it.

A request that was refused, or was to have an answer whose process died, may have left its messages
in a session. Who takes it up is told of which answers these are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

from wsserver.core.ask import Answer, Claim
from wsserver.core.limits import limit_of
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.shared.led import store_away
from wsserver.core.shared.ports import Became, Repeats, SharedLimits, SharedStreams
from wsserver.core.telemetry import Telemetry
from wsserver_protocol.errors import ErrorCode, WireError

PLACE_RETRY_EVERY = 0.2
"""Seconds between looks for a free place by what waits for one: an item of a batch."""


LOOK_EVERY = 0.25
"""Seconds between looks for an answer that another process is about to begin."""


class Admission:
    """Admits answers, each once.

    Args:
        repeats: What requests became.
        limits: Places and allowances.
        streams: The log, which an answer whose process has died must not enter any more.
        telemetry: Told what they refuse.
        node: This process.
        nodes: All processes that live.
    """

    def __init__(
        self,
        repeats: Repeats,
        limits: SharedLimits,
        streams: SharedStreams,
        *,
        telemetry: Telemetry,
        node: str,
        nodes: Callable[[], Awaitable[Collection[str]]],
    ) -> None:
        self._repeats = repeats
        self._limits = limits
        self._streams = streams
        self._telemetry = telemetry
        self._node = node
        self._nodes = nodes

    async def admit(self, answer: Answer, claim: Claim | None) -> str | None:
        """Take a request in. The streamId of the same request's answer if there was one before.

        Raises:
            WireError: ``duplicate_request``, ``rate_limited``, ``too_many_streams``. Nothing is
                remembered or charged then.
            StoreUnavailable: If it can't be told.
        """
        if claim is None or answer.ask.is_patient:
            return await self._admit(answer, claim, self._earlier)
        # Both at once: a repeat is seldom, and gets back what it was charged.
        limits, key = self._limits, answer.ask.owner.limit_key
        entering = asyncio.get_running_loop().create_task(limits.enter(key, answer.stream_id))
        entering.add_done_callback(_look_at)
        try:
            earlier = await self._earlier(answer, claim)
            if earlier is None:
                await entering
                answer.claim = claim
                return None
        except (WireError, StoreUnavailable) as error:
            self._count(error)
            entering.add_done_callback(lambda _: limits.undo(key, answer.stream_id))
            self.release(answer, claim)
            raise
        entering.add_done_callback(lambda _: limits.undo(key, answer.stream_id))
        return earlier

    async def admit_instead(self, answer: Answer, claim: Claim) -> str | None:
        """Look again at a repeat whose earlier answer is not in the log: as `admit`, in a while.

        Raises:
            WireError: As `admit`; ``stream_not_found`` if the earlier one has ended, and is gone.
            StoreUnavailable: If it can't be told.
        """
        await asyncio.sleep(LOOK_EVERY)
        return await self._admit(answer, claim, self._earlier_that_lives)

    async def earlier(
        self, identity_key: str, request_id: str, fingerprint: bytes | None
    ) -> str | None:
        """The streamId of a request's answer, if it was made before; nothing is claimed.

        Raises:
            WireError: ``duplicate_request``.
            StoreUnavailable: If it can't be told.
        """
        became = await self._repeats.look(identity_key, request_id, fingerprint)
        return None if became is None else _stream_of(became)

    async def seize(self, answer: Answer, claim: Claim) -> bool:
        """Have a request that was begun elsewhere become this answer, which is stopped.

        Returns:
            False if the other one is in the log: then that is the one to stop.

        Raises:
            StoreUnavailable: If it can't be told.
        """
        about = self._about(answer)
        earlier = (await self._repeats.claim(*claim, about)).outcome
        if earlier == about:
            return True
        if b" " not in earlier or not await self._streams.bar(_stream_of(earlier)):
            return False
        identity_key, request_id, _ = claim
        return await self._repeats.take_over(identity_key, request_id, earlier, about)

    async def overtaken(self, answer: Answer, claim: Claim) -> str:
        """The streamId of what is made in place of an answer that is barred from the log.

        Raises:
            WireError: ``store_unavailable`` if nobody makes it: sent again it is begun anew.
            StoreUnavailable: If it can't be told.
        """
        earlier = await self._earlier(answer, claim)
        if earlier is None:
            self.release(answer, claim)
            raise store_away()
        return earlier

    async def _admit(
        self,
        answer: Answer,
        claim: Claim | None,
        look: Callable[[Answer, Claim], Awaitable[str | None]],
    ) -> str | None:
        try:
            earlier = None if claim is None else await look(answer, claim)
            if earlier is None:
                await self._take_place(answer)
                answer.claim = claim
            return earlier
        except (WireError, StoreUnavailable):
            if claim is not None:  # it may be this answer's, also where nobody said so
                self.release(answer, claim)
            raise

    async def _earlier(self, answer: Answer, claim: Claim) -> str | None:
        """What the request became before; None: it becomes this answer."""
        became = await self._repeats.claim(*claim, self._about(answer))
        if became.outcome != self._about(answer):
            return _stream_of(became.outcome)
        answer.instead_of = _streams_of(became, answer)
        return None

    async def _earlier_that_lives(self, answer: Answer, claim: Claim) -> str | None:
        about = self._about(answer)
        became = await self._repeats.claim(*claim, about)
        earlier = became.outcome
        stream_id, _, node = earlier.decode().partition(" ")
        if earlier != about:
            if not node:
                raise WireError(
                    ErrorCode.STREAM_NOT_FOUND,
                    "This request was answered before, and its answer is not kept any more.",
                )
            # A process that was only believed dead would go on with it: not past the log.
            if node in await self._nodes() or not await self._streams.bar(stream_id):
                return stream_id
            identity_key, request_id, _ = claim
            if not await self._repeats.take_over(identity_key, request_id, earlier, about):
                return stream_id
            became = became._replace(outcome=about, last=earlier)
        answer.instead_of = _streams_of(became, answer)
        return None

    def _about(self, answer: Answer) -> bytes:
        return f"{answer.stream_id} {self._node}".encode()

    async def hold(self, answer: Answer) -> None:
        """Say that an admitted answer lives that is not in the log yet: else its place goes."""
        with suppress(StoreUnavailable, WireError):
            await self._limits.begin(answer.ask.owner.limit_key, answer.stream_id)

    def release(self, answer: Answer, claim: Claim) -> None:
        """The request was refused after all: its id is free again."""
        self._repeats.release(claim.identity_key, claim.request_id, self._about(answer))

    def settle(self, answer: Answer) -> None:
        """The answer has ended: from now on its id is remembered for the retention."""
        claim = answer.claim
        if claim is not None:
            ended = answer.stream_id.encode()
            self._repeats.settle(claim.identity_key, claim.request_id, self._about(answer), ended)

    async def leave(self, answer: Answer) -> None:
        """The answer is not made here: its place is free."""
        with suppress(StoreUnavailable):  # what is in no log is not believed to live for long
            await self._limits.end(answer.ask.owner.limit_key, answer.stream_id)

    def _count(self, error: Exception) -> None:
        """Count what a limit has refused, and not a request whose id was used before."""
        if isinstance(error, WireError) and error.code is not ErrorCode.DUPLICATE_REQUEST:
            self._telemetry.rate_limited(limit_of(error))

    async def _take_place(self, answer: Answer) -> None:
        key = answer.ask.owner.limit_key
        if not answer.ask.is_patient:
            try:
                await self._limits.enter(key, answer.stream_id)
            except WireError as error:
                self._count(error)
                raise
            return
        while answer.record.cancel is None:  # who is to end anyway needs none
            try:
                await self._limits.begin(key, answer.stream_id)  # its batch was charged as a whole
                return
            except WireError as error:
                if error.code is not ErrorCode.TOO_MANY_STREAMS:
                    raise
            await asyncio.sleep(PLACE_RETRY_EVERY)


def _look_at(task: asyncio.Task[None]) -> None:
    """What comes of it may be of no interest any more."""
    if not task.cancelled():
        task.exception()


def _stream_of(outcome: bytes) -> str:
    return outcome.decode().partition(" ")[0]


def _streams_of(became: Became, answer: Answer) -> tuple[str, ...]:
    """The answers in whose place this one is made: the first that the request was to have, and the
    last one."""
    tried = dict.fromkeys(map(_stream_of, (became.first, became.last)))
    return tuple(stream_id for stream_id in tried if stream_id != answer.stream_id)
