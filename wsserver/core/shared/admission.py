"""Whether the fleet takes a request: not a repeat of an earlier one, and within its limits."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from wsserver.core.ask import Answer, Claim
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.shared.ports import Repeats, SharedLimits
from wsserver_protocol.errors import ErrorCode, WireError

PLACE_RETRY_EVERY = 0.2
"""Seconds between looks for a free place by what waits for one: an item of a batch."""


class Admission:
    """Admits answers, each once."""

    def __init__(self, repeats: Repeats, limits: SharedLimits) -> None:
        self._repeats = repeats
        self._limits = limits

    async def admit(self, answer: Answer, claim: Claim | None) -> str | None:
        """Take a request in. The streamId of the same request's answer if there was one before.

        Raises:
            WireError: ``duplicate_request``, ``rate_limited``, ``too_many_streams``. Nothing is
                remembered or charged then.
            StoreUnavailable: If it can't be told.
        """
        if claim is not None:
            earlier = await self._repeats.claim(*claim, answer.stream_id.encode())
            if earlier is not None and earlier.decode() != answer.stream_id:
                return earlier.decode()
        try:
            await self._take_place(answer)
        except WireError:
            if claim is not None:
                await self._repeats.settle(claim.identity_key, claim.request_id, None)
            raise
        if claim is not None:
            answer.claim = claim
        return None

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
        while True:
            try:
                await self._limits.begin(key, answer.stream_id)
                return
            except WireError as error:
                if error.code is not ErrorCode.TOO_MANY_STREAMS or not answer.ask.is_patient:
                    raise
            await asyncio.sleep(PLACE_RETRY_EVERY)
