"""Whether the fleet takes a request: not a repeat of an earlier one, and within its limits.

A request is claimed before its answer is in the log, and a turn of a session may wait for its place
in between. What a claim says is therefore the answer and, until that has ended, the process that is
to put it there: a repeat waits for the answer while that process lives, and takes its place if it
has died.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

from wsserver.core.ask import Answer, Claim
from wsserver.core.limits import limit_of
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.shared.ports import Repeats, SharedLimits
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
        telemetry: Told what they refuse.
        node: This process.
        nodes: All processes that live.
    """

    def __init__(
        self,
        repeats: Repeats,
        limits: SharedLimits,
        *,
        telemetry: Telemetry,
        node: str,
        nodes: Callable[[], Awaitable[Collection[str]]],
    ) -> None:
        self._repeats = repeats
        self._limits = limits
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
        if claim is not None:
            earlier = await self._repeats.claim(*claim, self._about(answer))
            if earlier is not None and earlier != self._about(answer):
                return earlier.decode().partition(" ")[0]
        await self._begin(answer, claim)
        return None

    async def admit_instead(self, answer: Answer, claim: Claim) -> str | None:
        """Look again at a repeat whose earlier answer is not in the log: as `admit`, in a while.

        Raises:
            WireError: As `admit`; ``stream_not_found`` if the earlier one has ended, and is gone.
            StoreUnavailable: If it can't be told.
        """
        await asyncio.sleep(LOOK_EVERY)
        earlier = await self._repeats.claim(*claim, self._about(answer))
        if earlier is not None and earlier != self._about(answer):
            stream_id, _, node = earlier.decode().partition(" ")
            if not node:
                raise WireError(
                    ErrorCode.STREAM_NOT_FOUND,
                    "This request was answered before, and its answer is not kept any more.",
                )
            if node in await self._nodes():
                return stream_id
            about = self._about(answer)
            if not await self._repeats.take_over(
                claim.identity_key, claim.request_id, earlier, about
            ):
                return stream_id
        await self._begin(answer, claim)
        return None

    def _about(self, answer: Answer) -> bytes:
        return f"{answer.stream_id} {self._node}".encode()

    async def _begin(self, answer: Answer, claim: Claim | None) -> None:
        try:
            await self._take_place(answer)
        except WireError as error:
            self._telemetry.rate_limited(limit_of(error))
            if claim is not None:
                await self._repeats.settle(claim.identity_key, claim.request_id, None)
            raise
        if claim is not None:
            answer.claim = claim

    async def hold(self, answer: Answer) -> None:
        """Say that an admitted answer lives that is not in the log yet: else its place goes."""
        with suppress(StoreUnavailable, WireError):
            await self._limits.begin(answer.ask.owner.limit_key, answer.stream_id)

    async def forget(self, claim: Claim) -> None:
        """The request was refused after all: its id is free again."""
        try:
            await self._repeats.settle(claim.identity_key, claim.request_id, None)
        except StoreUnavailable:
            return  # it is forgotten by its age

    async def settle(self, answer: Answer) -> None:
        """The answer has ended: from now on its id is remembered for the retention."""
        claim = answer.claim
        if claim is None:
            return
        try:
            await self._repeats.settle(
                claim.identity_key, claim.request_id, answer.stream_id.encode()
            )
        except StoreUnavailable:
            return  # it is remembered for longer than it need be

    async def _take_place(self, answer: Answer) -> None:
        key = answer.ask.owner.limit_key
        if not answer.ask.is_patient:  # a batch was charged as a whole
            await self._limits.admit(key, 1)
        while answer.record.cancel is None:  # who is to end anyway needs none
            try:
                await self._limits.begin(key, answer.stream_id)
                return
            except WireError as error:
                if error.code is not ErrorCode.TOO_MANY_STREAMS or not answer.ask.is_patient:
                    raise
            await asyncio.sleep(PLACE_RETRY_EVERY)
