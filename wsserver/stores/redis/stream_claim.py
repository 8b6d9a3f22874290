"""How a process becomes an answer's writer, and lets it go."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from wsserver.core.ids import new_id
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.streams import Ending, StreamRecord
from wsserver.core.streams.writer import LogWriter
from wsserver.stores.redis.link import PUBLISH, RedisLink
from wsserver.stores.redis.stream_format import logprobs_of, pack_ending, stream_keys
from wsserver.stores.redis.stream_writing import Writing
from wsserver_protocol.lifecycle import StopReason, StreamStep

CLAIM_SECONDS = 10.0
"""For a claim while Redis is away: less than the lease of the job, which is another's then."""

RETRY_SECONDS = 0.25
"""Between two tries."""


class Claimant(NamedTuple):
    """Who claims what: ``writer`` is never used again, so that a claim repeated is the same."""

    stream_id: str
    writer: str


async def claim(link: RedisLink, stream_id: str) -> Writing | None:
    """Claim an answer. Its bells are not heard yet.

    Returns:
        None when it has ended, was cancelled or is gone, or Redis stays away.
    """
    claimant = Claimant(stream_id, new_id("wri"))
    keys, args = stream_keys(stream_id), (claimant.writer, PUBLISH)
    loop = asyncio.get_running_loop()
    until = loop.time() + CLAIM_SECONDS
    while True:
        try:
            reply = await link.call("streams/claim", keys, args)
        except StoreUnavailable:
            if loop.time() > until:
                return None
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return _writing(claimant, reply, loop.time()) if reply[0] == b"ok" else None


async def give_back(link: RedisLink, writing: Writing, patience: float) -> None:
    """Give a claim back with the text that is not written yet; for ``patience`` seconds."""
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    while loop.time() < until:
        try:
            reply = await link.call(*writing.call_to_release())
            if reply[0] != b"short":  # fenced: it was done before, or someone was faster
                return
            writing.replied(writing.writer.rest, reply)
        except StoreUnavailable:
            await asyncio.sleep(RETRY_SECONDS)


async def ask_for_end(link: RedisLink, stream_id: str) -> None:
    """Nobody wants an answer: its asker is gone, and who looked died without a word."""
    ending = pack_ending(Ending.stopped(StopReason.DISCONNECT, "server"))
    await link.call("streams/cancel", stream_keys(stream_id), (ending, new_id("can"), PUBLISH))


def _writing(claimant: Claimant, reply: list[Any], now: float) -> Writing:
    """The writing that a claim began: ``reply`` is the script's, ``now`` loop time."""
    (fence, claims, tokens, model, meta, attempts, lease), text, logprobs = reply[1:]
    record = StreamRecord(claimant.stream_id, model.decode(), now)
    record.transcript.restore(text.decode(), int(tokens))
    record.logprobs = list(logprobs_of(logprobs))
    record.attempts = int(attempts)
    record.fence = int(fence)
    record.claimed_at = now
    record.take(StreamStep.RUN)
    writer = LogWriter(record.fence, text, int(tokens))
    own = claimant.writer
    return Writing(record, writer, own=own, claims=claims, meta=meta, lease=lease or b"")
