"""What a node leads into line, known to the others whatever Redis loses."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from tests.support.waiting import eventually_so
from wsserver.stores.redis import RedisLink
from wsserver.stores.redis.led import RedisLedger

KEY = "wsserver:{n:nod_1}:led"


async def test_a_node_says_again_what_it_leads(link: RedisLink) -> None:
    """Redis has lost that one is led, and that another is so no more: after a doubt it has what is
    so, with an end."""
    ledger = RedisLedger(link, "nod_1")
    for stream_id in ("led", "over"):
        await ledger.add(stream_id)
    ledger.remove("over")

    async def holds() -> bool:
        return set(await link.command("SMEMBERS", KEY)) == {b"led"}

    await eventually_so(holds)
    await link.command("DEL", KEY)
    await link.command("SADD", KEY, "over")
    keeping = asyncio.create_task(ledger.keep())
    ledger.doubt()
    await eventually_so(holds)
    assert await link.command("PTTL", KEY) > 0
    keeping.cancel()
    with suppress(asyncio.CancelledError):
        await keeping


async def test_what_is_noted_too_late_is_struck_again(link: RedisLink) -> None:
    """A note that was under way when its answer was led no longer may come after what struck it."""
    ledger = RedisLedger(link, "nod_1")
    for stream_id in ("led", "over"):
        await ledger.add(stream_id)
    ledger.remove("over")

    async def holds() -> bool:
        return set(await link.command("SMEMBERS", KEY)) == {b"led"}

    await eventually_so(holds)
    await ledger._note("over")
    await eventually_so(holds)
