"""Limits over all processes.

The meters are those of `wsserver.core.limits`, in Lua (``lua/limits``) and by Redis' clock, so that
no process' clock matters. Places are the streamIds that have them: whoever gives one back twice
gives back one. A place whose process died before it could is found when somebody needs it.

| key | type | holds |
|---|---|---|
| ``…:requests``, ``…:tokens`` | string | when the key is fully rested again (seconds); ends then |
| ``…:places`` | sorted set | streamId of each answer, by the time (ms) of its last `begin` |

All keys of one limit key carry one hash tag, a digest of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from wsserver.core.limits import (
    LimitPolicy,
    LimitReport,
    requests_used_up,
    tokens_used_up,
    too_many_requests,
    too_many_streams,
)
from wsserver.stores.redis.link import RedisLink
from wsserver.stores.redis.names import digest

BELIEVED_MS = 15_000
"""For how long an answer is believed to live that was accepted and is in no log yet."""

Living = Callable[[Sequence[str]], Awaitable[set[str]]]
"""Which of these streams have not ended."""


class RedisLimits:
    """Limits in one Redis. Each method raises `StoreUnavailable` when it is away.

    Args:
        link: The Redis.
        policy: The allowances.
        living: Asked when all places of a key are taken: those of ended answers are given back.
    """

    def __init__(self, link: RedisLink, policy: LimitPolicy, living: Living) -> None:
        self._link = link
        self._policy = policy
        self._living = living

    async def admit(self, key: str, requests: int) -> None:
        """Charge ``requests`` requests.

        Raises:
            WireError: ``rate_limited`` with ``retry_after`` when requests or tokens are used up;
                nothing is charged then.
        """
        policy = self._policy
        most = policy.requests_per_minute
        args = (most, policy.tokens_per_minute, requests)
        used_up, wait = await self._link.call("limits/admit", _keys(key), args)
        if used_up == b"requests" and requests > most:
            raise too_many_requests(requests, most)
        _refuse(used_up, wait)

    async def enter(self, key: str, stream_id: str) -> None:
        """Charge one request and take a place for its answer, in one step. Again for the same
        answer: nothing more.

        Raises:
            WireError: ``rate_limited`` as `admit`, ``too_many_streams`` as `begin`; nothing is
                charged or taken then.
        """
        policy = self._policy
        most = policy.max_concurrent_streams
        rates = (policy.requests_per_minute, policy.tokens_per_minute)
        call = ("limits/enter", _keys(key), (*rates, most, stream_id, BELIEVED_MS))
        used_up, how = await self._link.call(*call)
        if used_up == b"places" and await self._give_back_ended(key, how):
            used_up, how = await self._link.call(*call)
        if used_up == b"places":
            raise too_many_streams(most)
        _refuse(used_up, how)

    async def begin(self, key: str, stream_id: str) -> None:
        """Take a place for one running or waiting answer. Again for the same one: no other.

        Raises:
            WireError: ``too_many_streams`` when all places are taken.
        """
        most = self._policy.max_concurrent_streams
        args = (most, stream_id, BELIEVED_MS)
        unseen = await self._link.call("limits/begin", _keys(key), args)
        if unseen and await self._give_back_ended(key, unseen):
            unseen = await self._link.call("limits/begin", _keys(key), args)
        if unseen is not None:
            raise too_many_streams(most)

    def undo(self, key: str, stream_id: str) -> None:
        """Give back what an `enter` before has charged and taken, if it has. Never waits."""
        args = (self._policy.requests_per_minute, stream_id)
        self._link.tell("limits/undo", _keys(key), args)

    async def end(self, key: str, stream_id: str) -> None:
        """Give the place of one answer back. Idempotent."""
        await self._link.command("ZREM", _keys(key)[2], stream_id)

    async def use_tokens(self, key: str, tokens: int) -> None:
        """Charge tokens that were used, prompt and answer alike."""
        args = (self._policy.tokens_per_minute, tokens)
        await self._link.call("limits/charge", _keys(key), args)

    async def report(self, key: str) -> LimitReport:
        """The key's allowances and what is left of them."""
        policy = self._policy
        args = (policy.requests_per_minute, policy.tokens_per_minute)
        requests, tokens, taken, reset = await self._link.call("limits/report", _keys(key), args)
        return LimitReport(
            requests_limit=policy.requests_per_minute,
            requests_remaining=requests,
            tokens_limit=policy.tokens_per_minute,
            tokens_remaining=tokens,
            concurrent_limit=policy.max_concurrent_streams,
            concurrent_remaining=max(0, policy.max_concurrent_streams - taken),
            reset_in=float(reset),
        )

    async def _give_back_ended(self, key: str, unseen: list[bytes]) -> bool:
        """Whether a place has become free."""
        holders = [one.decode() for one in unseen]
        ended = set(holders) - await self._living(holders)
        if ended:
            await self._link.command("ZREM", _keys(key)[2], *ended)
        return bool(ended)


def _refuse(used_up: bytes, wait: bytes) -> None:
    """Say what a script has found used up, if anything."""
    if used_up == b"tokens":
        raise tokens_used_up(float(wait))
    if used_up == b"requests":
        raise requests_used_up(float(wait))


def _keys(key: str) -> list[str]:
    """The keys of a limit key, in the order of the scripts."""
    base = f"wsserver:{{l:{digest(key)}}}"
    return [f"{base}:requests", f"{base}:tokens", f"{base}:places"]
