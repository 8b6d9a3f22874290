"""A part of a Redis Cluster is away while something ends whose keys lie in several parts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.crc import key_slot

from tests.conftest import Connect, StartServer
from tests.support.redis import (
    SLOTS,
    RedisCluster,
    RedisProcess,
    redis_is_installed,
    running_redis_cluster,
)
from tests.support.waiting import eventually
from tests.support.wire import Wire
from wsserver.stores.redis import RedisLink, RedisNodes
from wsserver.stores.redis.deaths import declare_dead
from wsserver.stores.redis.fleet import read_workers

pytestmark = pytest.mark.skipif(
    not redis_is_installed(), reason="redis-server is not installed (package redis-server)"
)

MODEL = ("--model", "m=synthetic:?tps=50&ttft_ms=0&slots=64")

TRIES = 64
"""Answers that may be begun until the keys of one lie as they must; three in ten do."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    folder = tmp_path / "cluster"
    folder.mkdir()
    with running_redis_cluster(folder) as running:
        yield running


def home(cluster: RedisCluster, key: str) -> RedisProcess:
    """The server that has a key."""
    share = SLOTS // len(cluster.nodes)
    return cluster.nodes[min(key_slot(key.encode()) // share, len(cluster.nodes) - 1)]


def is_given_up(server: RedisProcess, client: str) -> bool:
    """Whether nobody takes a client any more; it may have been forgotten."""
    return server.ask("HGET", client, "gone") == "$1\r\n1\r\n" or (
        server.ask("EXISTS", client) == ":0\r\n"
    )


async def asked_apart(wire: Wire, cluster: RedisCluster, others: set[RedisProcess]) -> str:
    """An answer under way whose log has a server that none of the others is."""
    for _ in range(TRIES):
        start = await wire.stream(options={"maxTokens": 100_000})
        stream_id: str = start["streamId"]
        if home(cluster, f"{{g:{stream_id}}}") not in others:
            await wire.first_token(stream_id)
            return stream_id
        await wire.send(type="stop_stream", streamId=stream_id)
        await wire.end_of(stream_id)
    raise AssertionError("no answer's log has a server of its own")


async def test_nothing_is_made_for_who_was_given_up_by_a_process_that_died(
    cluster: RedisCluster, start_server: StartServer, connect: Connect
) -> None:
    """A client's window is over, its answer's log is away, and its gateway dies before it can tell
    the log that nobody waits: somebody else does, when the log is back."""
    shared = ("--redis-url", cluster.url, "--set", "resume.window_seconds=3")
    start_server(*MODEL, *shared)
    dying = start_server("--set", "models.start=[]", *shared)
    link = RedisLink.open(cluster.url)
    workers = {worker.node for worker in await read_workers(link)}
    (node,) = set(await RedisNodes(link).alive()) - workers
    wire = await connect(to=dying)
    client = f"wsserver:{{c:{wire.connected['clientId']}}}"
    stream_id = await asked_apart(
        wire, cluster, {home(cluster, client), home(cluster, f"{{n:{node}}}")}
    )
    log = home(cluster, f"{{g:{stream_id}}}")
    await wire.cut()
    viewers = f"wsserver:{{g:{stream_id}}}:v"
    await eventually(lambda: log.ask("ZCARD", viewers) == ":0\r\n")
    log.freeze()
    try:
        await eventually(lambda: is_given_up(home(cluster, client), client))
        await asyncio.to_thread(dying.kill)
    finally:
        log.thaw()
    await declare_dead(link, node)
    answer = f"wsserver:{{g:{stream_id}}}:m"
    await eventually(lambda: "ended" in log.ask("HGET", answer, "state"), 30)
    await link.close()
