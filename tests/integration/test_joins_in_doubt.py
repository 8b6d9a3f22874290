"""Joins whose gateway loses Redis, or dies, once they have taken place and before it knows that.

Whoever comes in so has come once for all others, however often it has to ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tests.conftest import Connect, StartServer
from tests.integration.session_steps import sign_in
from tests.integration.test_rooms import join
from tests.support.redis import RedisProcess, redis_is_installed
from tests.support.redis_gate import RedisGate, redis_gate
from tests.support.server import ServerProcess
from tests.support.waiting import eventually_so
from tests.support.wire import Wire

pytestmark = pytest.mark.skipif(
    not redis_is_installed(), reason="redis-server is not installed (package redis-server)"
)

GATEWAY = ("--set", "models.start=[]", "--redis-url")


class Hall:
    """Bob sits in a room through one gateway; ada is about to, through one behind a gate."""

    here: ServerProcess
    there: ServerProcess
    gate: RedisGate
    ada: Wire
    bob: Wire

    async def half_joined(self) -> None:
        """Ada has her seat, and bob is told so, but her gateway is not."""
        self.gate.shut_after("rooms/join")
        await self.ada.send(type="join_room", requestId="j", roomId="r")
        await self.gate.shut.wait()
        await self.bob.until("room_user_joined")

    async def ada_has_come_and_gone_once(self, ada: Wire) -> None:
        """She leaves: bob was told of one coming and one going in all, and she of neither."""
        await ada.ask("leave_room", roomId="r")
        await self.bob.until("room_user_left")
        await self.bob.ask("room_message", roomId="r", text="alone")
        told = self.bob.of_type("room_user_joined", "room_user_left")
        assert [(one["type"], one["participants"]) for one in told] == [
            ("room_user_joined", 2),
            ("room_user_left", 1),
        ]
        assert ada.of_type("room_user_joined", "room_user_left") == []


@asynccontextmanager
async def _hall(
    redis: RedisProcess, start_server: StartServer, connect: Connect
) -> AsyncIterator[Hall]:
    async with AsyncExitStack() as stack:
        hall = Hall()
        hall.there = await asyncio.to_thread(start_server, *GATEWAY, redis.url, ready=False)
        hall.gate = await stack.enter_async_context(redis_gate(redis))
        hall.here = await asyncio.to_thread(start_server, *GATEWAY, hall.gate.url, ready=False)
        hall.bob, hall.ada = await connect(to=hall.there), await connect(to=hall.here)
        for wire, name in ((hall.bob, "bob"), (hall.ada, "ada")):
            await sign_in(wire, name)
        await join(hall.bob, "r")
        yield hall


@pytest.fixture
async def hall(
    redis: RedisProcess, start_server: StartServer, connect: Connect
) -> AsyncIterator[Hall]:
    """Two gateways and a room."""
    async with _hall(redis, start_server, connect) as hall:
        yield hall


async def test_who_comes_through_a_dying_gateway_comes_once(hall: Hall, connect: Connect) -> None:
    """The gateway is killed in that moment: she resumes on another one, and asks again to join."""
    await hall.half_joined()
    hall.here.kill()
    back = await connect(to=hall.there)
    resumed = await back.ask("resume", resumeToken=hall.ada.connected["resumeToken"])
    assert resumed["type"] == "resumed", resumed
    assert (await join(back, "r"))["participants"] == 2
    await hall.ada_has_come_and_gone_once(back)


async def test_who_comes_as_redis_goes_away_comes_once(hall: Hall) -> None:
    """Her gateway loses the reply, asks Redis again, and she asks to join once more."""
    await hall.half_joined()
    hall.gate.open()
    await hall.ada.until("room_joined", "error", requestId="j")

    async def is_in() -> bool:
        reply = await hall.ada.ask("join_room", roomId="r")
        return bool(reply["type"] == "room_joined")

    await eventually_so(is_in)
    await hall.ada_has_come_and_gone_once(hall.ada)
