"""Batches of a fleet: they outlive their gateway, no item is made twice, and none for nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from tests.conftest import Connect, StartServer
from tests.integration.test_generating import counted
from tests.support.redis import RedisProcess, redis_is_installed
from tests.support.server import ServerProcess
from tests.support.waiting import eventually
from tests.support.wire import Frame, Wire
from wsserver.stores.redis import RedisLink, RedisNodes
from wsserver.stores.redis.deaths import declare_dead
from wsserver.stores.redis.fleet import read_workers

pytestmark = pytest.mark.skipif(
    not redis_is_installed(), reason="redis-server is not installed (package redis-server)"
)

StartPair = Callable[..., tuple[ServerProcess, ServerProcess]]

MODEL = "m=synthetic:?tps=100&ttft_ms=0&slots=8"

PROMPTS = [f"prompt {n}" for n in range(5)]

BODY: Frame = {"prompts": PROMPTS, "requestId": "b", "options": {"maxTokens": 150}}


@pytest.fixture
def start_pair(redis: RedisProcess, start_server: StartServer) -> StartPair:
    """Starts two gateways; the first has the only worker, and stays."""

    def start(*arguments: str) -> tuple[ServerProcess, ServerProcess]:
        shared = ("--redis-url", redis.url, *arguments)
        first = start_server("--model", MODEL, *shared)
        return first, start_server("--set", "models.start=[]", *shared)

    return start


def answers_made(redis: RedisProcess) -> int:
    """How many answers were ever begun in the log."""
    with Redis.from_url(redis.url) as asked:
        return len(list(asked.scan_iter("wsserver:{g:*}:m")))


def is_busy(server: ServerProcess) -> bool:
    return b'wsserver_slots{model="m",state="busy"} 0.0' not in server.get("/metrics")[2]


async def say_that_it_died(redis: RedisProcess) -> None:
    """Have all know, as a supervisor has, that the gateway without a worker is dead."""
    link = RedisLink.open(redis.url)
    workers = {worker.node for worker in await read_workers(link)}
    for node in set(await RedisNodes(link).alive()) - workers:
        await declare_dead(link, node)
    await link.close()


async def resumed(connect: Connect, at: ServerProcess, before: Wire) -> Wire:
    wire = await connect(to=at)
    wire.rules.sent_ids.add("b")
    reply = await wire.ask("resume", resumeToken=before.connected["resumeToken"])
    assert (reply["type"], reply["streams"]) == ("resumed", [])  # items are no streams
    return wire


async def whole(wire: Wire, start: dict[str, Any]) -> None:
    """The batch ends here once, with every item once and its whole text."""
    end = await wire.until("batch_complete", requestId="b")
    assert end["batchId"] == start["batchId"]
    assert (end["summary"]["total"], end["summary"]["successful"]) == (5, 5)
    items = wire.of_type("batch_item")
    assert sorted(item["index"] for item in items) == [0, 1, 2, 3, 4]
    assert {item["result"]["text"] for item in items} == {counted(150)}


async def test_a_batch_is_the_same_on_another_gateway(
    redis: RedisProcess, start_pair: StartPair, connect: Connect
) -> None:
    """Sent again there by the same user it has the same id and the same items, made once and
    charged once; another body under the id is refused. So it is when it has ended."""
    here, there = start_pair("--set", "limits.requests_per_minute=10")
    one, two, three = [await connect(to=server) for server in (here, there, there)]
    for wire in (one, two, three):
        await wire.ask("authenticate", userId="ada")
    start = await one.ask("batch", **BODY)
    again = await two.ask("batch", **BODY)
    assert again["batchId"] == start["batchId"]
    for wire in (one, two):
        await whole(wire, start)
    await whole(three, await three.ask("batch", **BODY))
    assert answers_made(redis) == 5
    assert (await two.ask("get_status"))["limits"]["requestsRemaining"] == 5
    other = await two.ask("batch", **(BODY | {"prompts": ["else"]}))
    assert (other["type"], other["code"]) == ("batch_error", "duplicate_request")


async def test_a_batch_outlives_its_gateway(
    redis: RedisProcess, start_pair: StartPair, connect: Connect
) -> None:
    """kill -9 in the midst of it, two items at work and three waiting for a place: asked for again
    on another gateway it goes on with those that run and begins those that did not."""
    stays, dies = start_pair("--set", "limits.max_concurrent_streams=2")
    wire = await connect(to=dies)
    start = await wire.ask("batch", **BODY)
    # One that is in no line yet when its gateway dies is ended.
    both = b'wsserver_slots{model="m",state="busy"} 2.0'
    await eventually(lambda: both in stays.get("/metrics")[2])
    dies.kill()
    await say_that_it_died(redis)
    back = await resumed(connect, stays, wire)
    again = await back.ask("batch", **BODY)
    assert again["batchId"] == start["batchId"]
    await whole(back, start)
    assert answers_made(redis) == 5
    await eventually(lambda: not is_busy(stays))


async def test_a_batch_moves_with_its_client(
    redis: RedisProcess, start_pair: StartPair, connect: Connect
) -> None:
    """Its client comes back to another gateway, while the first one lives: the first begins no
    more of it; nothing of it is made twice, and it ends where it is followed."""
    there, here = start_pair("--set", "limits.max_concurrent_streams=2")
    wire = await connect(to=here)
    start = await wire.ask("batch", **BODY)
    await eventually(lambda: answers_made(redis) == 2)
    await wire.cut()
    back = await resumed(connect, there, wire)
    await eventually(lambda: not is_busy(there))
    assert answers_made(redis) == 2  # nobody has asked for the others here
    assert (await back.ask("batch", **BODY))["batchId"] == start["batchId"]
    await whole(back, start)
    assert answers_made(redis) == 5


async def test_nothing_is_made_for_nobody(
    redis: RedisProcess, start_pair: StartPair, connect: Connect
) -> None:
    """A gateway dies with a batch, and its client never comes back: what runs of it is stopped when
    the client's window is over."""
    stays, dies = start_pair("--set", "resume.window_seconds=1")
    wire = await connect(to=dies)
    await wire.ask("batch", **(BODY | {"options": {"maxTokens": 100_000}}))
    await eventually(lambda: answers_made(redis) == 5 and is_busy(stays))
    dies.kill()
    await say_that_it_died(redis)
    await eventually(lambda: not is_busy(stays), 20)


async def test_a_drained_gateway_leaves_its_batches(
    redis: RedisProcess, start_pair: StartPair, connect: Connect
) -> None:
    """SIGTERM: what runs of a batch goes on, and its client gets all of it on the next gateway."""
    stays, leaves = start_pair(
        *("--set", "limits.max_concurrent_streams=2", "--set", "server.drain_seconds=0.2")
    )
    wire = await connect(to=leaves)
    start = await wire.ask("batch", **BODY)
    await eventually(lambda: answers_made(redis) == 2)
    assert leaves.stop() == 0
    back = await resumed(connect, stays, wire)
    assert (await back.ask("batch", **BODY))["batchId"] == start["batchId"]
    await whole(back, start)
    assert answers_made(redis) == 5


async def test_a_stop_does_not_wait_for_places(start_pair: StartPair, connect: Connect) -> None:
    """A stopped batch ends at once, also while its asker's other answers have all the places."""
    here, _ = start_pair("--set", "limits.max_concurrent_streams=1")
    wire = await connect(to=here)
    await wire.stream(options={"maxTokens": 100_000})
    start = await wire.ask("batch", **BODY)
    await wire.send(type="stop_batch", batchId=start["batchId"], requestId="stop")
    end = await wire.until("batch_complete", requestId="b")
    assert end["summary"]["cancelled"] == 5
    await wire.ask("interrupt")


async def test_a_stop_reaches_what_waits_elsewhere(
    redis: RedisProcess, start_pair: StartPair, connect: Connect
) -> None:
    """A batch whose items wait for places on one gateway is stopped on another: none of them ever
    begins, and it ends as cancelled on both."""
    here, there = start_pair("--set", "limits.max_concurrent_streams=1")
    one, two = await connect(to=here), await connect(to=there)
    for wire in (one, two):
        await wire.ask("authenticate", userId="ada")
    busy = await one.stream(options={"maxTokens": 100_000})
    start = await one.ask("batch", **BODY)
    assert (await two.ask("batch", **BODY))["batchId"] == start["batchId"]
    await two.send(type="stop_batch", batchId=start["batchId"], requestId="stop")
    assert (await two.until("batch_complete", requestId="b"))["summary"]["cancelled"] == 5
    await one.send(type="stop_stream", streamId=busy["streamId"])
    await one.end_of(busy["streamId"])
    end = await one.until("batch_complete", requestId="b", seconds=30)
    assert end["summary"]["cancelled"] == 5
    await eventually(lambda: not is_busy(there), 20)
