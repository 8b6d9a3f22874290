"""What a client was told of itself holds on every gateway, whichever dies the next moment."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from tests.conftest import Connect, StartServer
from tests.support.redis import RedisProcess, redis_is_installed
from tests.support.redis_gate import RedisGate, redis_gate
from tests.support.server import ServerProcess
from tests.support.waiting import eventually
from tests.support.wire import Frame, Wire

pytestmark = pytest.mark.skipif(
    not redis_is_installed(), reason="redis-server is not installed (package redis-server)"
)

StartGated = Callable[[], Awaitable[tuple[ServerProcess, RedisGate]]]


@pytest.fixture
def there(redis: RedisProcess, start_server: StartServer) -> ServerProcess:
    """A gateway that stays, with the only worker."""
    return start_server("--redis-url", redis.url)


@pytest.fixture
async def start_gated(redis: RedisProcess, start_server: StartServer) -> AsyncIterator[StartGated]:
    """Starts a gateway without a worker behind a gate to Redis."""
    async with AsyncExitStack() as stack:

        async def start() -> tuple[ServerProcess, RedisGate]:
            gate = await stack.enter_async_context(redis_gate(redis))
            drain = ("--set", "server.drain_seconds=5")
            arguments = ("--set", "models.start=[]", "--redis-url", gate.url, *drain)
            return await asyncio.to_thread(start_server, *arguments), gate

        yield start


def is_away(redis: RedisProcess, wire: Wire) -> bool:
    """Whether the fleet knows that a client is away."""
    client = f"wsserver:{{c:{wire.connected['clientId']}}}"
    return redis.ask("HGET", client, "away").startswith("$13")


async def test_a_token_is_good_from_the_first_moment(
    there: ServerProcess, start_gated: StartGated, connect: Connect
) -> None:
    """The gateway is killed as soon as it has said `connected`: the client resumes elsewhere."""
    here, _ = await start_gated()
    first = await connect(to=here)
    here.kill()
    back = await connect(to=there)
    resumed = await back.ask("resume", resumeToken=first.connected["resumeToken"])
    assert (resumed["type"], resumed["clientId"]) == ("resumed", first.connected["clientId"])


async def test_a_user_that_was_acknowledged_is_that_user_everywhere(
    there: ServerProcess, start_gated: StartGated, connect: Connect
) -> None:
    """Without Redis a name is refused and changes nothing; one that was given outlives its
    gateway."""
    here, gate = await start_gated()
    first = await connect(to=here)
    gate.shut_at("clients/save")
    refused = await first.ask("authenticate", userId="ada")
    assert (refused["type"], refused["code"]) == ("error", "store_unavailable")
    assert refused["retryAfter"] > 0
    gate.open()
    await eventually(lambda: b"wsserver_store_up 1.0" in here.get("/metrics")[2])
    status = await first.ask_until("get_status")
    assert status["userId"] == f"anon-{first.connected['clientId']}"
    assert (await first.ask_until("authenticate", userId="ada"))["userId"] == "ada"
    here.kill()
    back = await connect(to=there)
    await back.ask("resume", resumeToken=first.connected["resumeToken"])
    assert (await back.ask("get_status"))["userId"] == "ada"


async def test_a_gateway_greets_without_redis(
    redis: RedisProcess, there: ServerProcess, connect: Connect
) -> None:
    """It says at once that it is there, and what is not; the token is good when Redis is back."""
    redis.freeze()
    wire = await connect(to=there)
    assert (await wire.ask("authenticate", userId="ada"))["code"] == "store_unavailable"
    redis.thaw()
    assert (await wire.ask_until("authenticate", userId="ada"))["userId"] == "ada"
    await wire.cut()
    back = await connect(to=there)
    assert (await back.ask("resume", resumeToken=wire.connected["resumeToken"]))["type"] == (
        "resumed"
    )


async def test_a_resume_that_fails_leaves_the_client_away(
    redis: RedisProcess, there: ServerProcess, start_gated: StartGated, connect: Connect
) -> None:
    """Redis goes when the client is taken and its streams are looked up: it is refused, its window
    begins anew, and the same token is good again."""
    here, gate = await start_gated()
    first = await connect(to=there)
    start = await first.stream(requestId="r", options={"maxTokens": 100_000})
    await first.cut()
    await eventually(lambda: is_away(redis, first))
    gate.shut_at("streams/read")
    back = await connect(to=here)
    back.rules.sent_ids.add("r")
    token: Frame = {
        "resumeToken": first.connected["resumeToken"],
        "streams": {start["streamId"]: 0},
    }
    assert (await back.ask("resume", **token))["code"] == "store_unavailable"
    gate.open()
    await eventually(lambda: is_away(redis, first))
    resumed = await back.ask_until("resume", **token)
    assert (resumed["type"], resumed["streams"][0]["state"]) == ("resumed", "running")
    await back.send(type="stop_stream", streamId=start["streamId"])
    await back.end_of(start["streamId"])


async def test_a_connection_that_is_lost_in_a_resume_leaves_the_client_away(
    redis: RedisProcess, there: ServerProcess, start_gated: StartGated, connect: Connect
) -> None:
    """Its reply would go nowhere: the client is not put on it, or nobody would ever see it go."""
    here, gate = await start_gated()
    first = await connect(to=there)
    await first.cut()
    await eventually(lambda: is_away(redis, first))
    back = await connect(to=here)
    gate.shut_at("clients/take")
    await back.send(type="resume", resumeToken=first.connected["resumeToken"])
    await gate.shut.wait()
    await back.cut()
    connections = b"wsserver_connections_open 0.0"
    await eventually(lambda: connections in here.get("/metrics")[2])
    gate.go_on()
    client = f"wsserver:{{c:{first.connected['clientId']}}}"
    await eventually(lambda: " " in redis.ask("HGET", client, "tokens"))  # it was tried
    await eventually(lambda: is_away(redis, first))
    again = await connect(to=there)
    resumed = await again.ask("resume", resumeToken=first.connected["resumeToken"])
    assert resumed["type"] == "resumed"


async def test_a_room_that_was_entered_or_left_is_so_everywhere(
    there: ServerProcess, start_gated: StartGated, connect: Connect
) -> None:
    """The gateway is killed as soon as it has said so: whoever resumes is where it was told to
    be."""
    here, _ = await start_gated()
    first = await connect(to=here)
    for room_id in ("left", "entered"):
        assert (await first.ask("join_room", roomId=room_id))["type"] == "room_joined"
    assert (await first.ask_until("leave_room", roomId="left"))["type"] == "room_left"
    here.kill()
    back = await connect(to=there)
    resumed = await back.ask("resume", resumeToken=first.connected["resumeToken"])
    assert [room["roomId"] for room in resumed["rooms"]] == ["entered"]


async def test_nothing_comes_before_the_greeting(
    there: ServerProcess, start_gated: StartGated, connect: Connect
) -> None:
    """The gateway is told to end while Redis takes the new client: it says so after `connected`."""
    here, gate = await start_gated()
    first = await connect(to=here)
    start = await first.stream(options={"maxTokens": 100_000})  # it does not end at once
    gate.shut_at("clients/save")
    wire = await connect(to=here, greeted=False)
    await gate.shut.wait()
    here.signal(signal.SIGTERM)
    await eventually(lambda: here.get("/readyz")[0] == 503)
    gate.go_on()
    assert (await wire.receive())["type"] == "connected"
    assert (await wire.receive())["type"] == "server_draining"
    await first.send(type="stop_stream", streamId=start["streamId"])
    await first.end_of(start["streamId"])
    assert await asyncio.to_thread(here.wait, 20) == 0
