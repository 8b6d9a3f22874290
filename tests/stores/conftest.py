"""A Redis alone and a cluster, each shared by all tests, and empty for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.stores.queue_stage import MakeQueue
from tests.support.redis import (
    RedisCluster,
    RedisProcess,
    redis_is_installed,
    running_redis,
    running_redis_cluster,
)
from tests.support.redis_streams import RedisLogUnderTest
from wsserver.stores.redis import RedisJobQueue, RedisLink
from wsserver.stores.redis.streams import RedisStreams


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    """One server."""
    if not redis_is_installed():
        pytest.skip("redis-server is not installed (package redis-server)")
    with running_redis(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisProcess]:
    """A server of the test's own, which it may kill."""
    if not redis_is_installed():
        pytest.skip("redis-server is not installed (package redis-server)")
    with running_redis(tmp_path) as running:
        yield running


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Three servers as one cluster."""
    if not redis_is_installed():
        pytest.skip("redis-server is not installed (package redis-server)")
    with running_redis_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(params=["single", "cluster"])
def redis_url(request: pytest.FixtureRequest) -> str:
    """The address of an empty Redis: the test runs on one alone, and on a cluster."""
    if request.param == "single":
        alone: RedisProcess = request.getfixturevalue("redis_server")
        alone.ask("FLUSHALL")
        return alone.url
    cluster: RedisCluster = request.getfixturevalue("redis_cluster")
    for node in cluster.nodes:
        node.ask("FLUSHALL")
    return cluster.url


@pytest.fixture
async def link(redis_url: str) -> AsyncIterator[RedisLink]:
    """A link to it."""
    link = RedisLink.open(redis_url)
    yield link
    await link.close()


@pytest.fixture
async def log(redis_url: str) -> AsyncIterator[RedisLogUnderTest]:
    """A log on an empty Redis."""
    async with AsyncExitStack() as stack:
        yield RedisLogUnderTest(redis_url, stack)


@pytest.fixture
async def other(redis_url: str) -> AsyncIterator[RedisStreams]:
    """Mirrors of another process."""
    link = RedisLink.open(redis_url)
    streams = RedisStreams(link, "nod_other", retention=60)
    yield streams
    await streams.close()
    await link.close()


@pytest.fixture
async def process(link: RedisLink) -> AsyncIterator[MakeQueue]:
    """Makes queues as each process has one of its own."""
    made: list[RedisJobQueue] = []

    def make(*, max_depth: int = 100) -> RedisJobQueue:
        made.append(RedisJobQueue(link, f"nod_{len(made)}", max_depth=max_depth))
        return made[-1]

    yield make
    for queue in made:
        await queue.close()
