"""A Redis Cluster with replicas loses a master: one of them takes over, and the fleet heals."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import Connect, StartServer
from tests.integration.test_generating import counted
from tests.support.redis import RedisCluster, redis_is_installed, running_redis_cluster
from tests.support.server import ServerProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(
    not redis_is_installed(), reason="redis-server is not installed (package redis-server)"
)

MODEL = ("--model", "m=synthetic:?tps=50&ttft_ms=0&slots=8")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    folder = tmp_path / "cluster"
    folder.mkdir()
    with running_redis_cluster(folder, has_replicas=True, cluster_node_timeout="1000") as running:
        yield running


def is_well(server: ServerProcess) -> bool:
    return b"wsserver_store_up 1.0" in server.get("/metrics")[2]


@pytest.mark.parametrize("number", [0, 2])
async def test_a_master_is_killed(
    cluster: RedisCluster, number: int, start_server: StartServer, connect: Connect
) -> None:
    """kill -9 of a master, also of the one that the address names, in the midst of answers whose
    keys lie on all: each ends whole, also what the replica had not been told yet; afterwards new
    ones are made, rooms and histories work, and the gateways say that they are well."""
    here = start_server(*MODEL, "--redis-url", cluster.url)
    there = start_server("--set", "models.start=[]", "--redis-url", cluster.url)
    wires = [await connect(to=server) for server in (here, there) * 3]
    starts = [await wire.stream(options={"maxTokens": 500}) for wire in wires]
    for wire, start in zip(wires, starts, strict=True):
        await wire.first_token(start["streamId"])
    cluster.nodes[number].kill()
    for wire, start in zip(wires, starts, strict=True):
        end = await wire.end_of(start["streamId"], seconds=30)
        assert end["type"] == "stream_complete"
        assert wire.copy(start["streamId"]).text == counted(500)
    for server in (here, there):
        await eventually(partial(is_well, server), 10)
    for wire in wires:
        await wire.ask("join_room", roomId=wire.new_id())
        session = (await wire.ask("open_session"))["session"]["sessionId"]
        start = await wire.stream(sessionId=session, options={"maxTokens": 5})
        end = await wire.end_of(start["streamId"])
        assert (end["type"], end["saved"]) == ("stream_complete", True)
