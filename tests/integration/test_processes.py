"""`wsserver serve --processes`: gateways and a worker over a real Redis, as clients see them."""

from __future__ import annotations

import psutil
import pytest

from tests.conftest import Connect, StartServer
from tests.integration.test_generating import counted
from tests.support.redis import RedisProcess, redis_is_installed
from tests.support.server import ServerProcess

pytestmark = pytest.mark.skipif(
    not redis_is_installed(), reason="redis-server is not installed (package redis-server)"
)


def the_worker(server: ServerProcess) -> psutil.Process:
    members = psutil.Process(server.pid).children()
    (worker,) = [member for member in members if member.cmdline()[-1] == "worker"]
    return worker


async def test_a_killed_worker_costs_a_pause(
    redis: RedisProcess, start_server: StartServer, connect: Connect
) -> None:
    """kill -9 of the only worker: it starts again, and every client of every gateway ends with
    the whole text, without waiting for a lease: the gateways were told of the death."""
    server = start_server(
        *("--redis-url", redis.url, "--processes", "2"),
        *("--model", "synthetic:?tps=100&ttft_ms=0&slots=6"),
    )
    wires = [await connect(to=server) for _ in range(6)]
    starts = [await wire.stream(options={"maxTokens": 200}) for wire in wires]
    for wire, start in zip(wires, starts, strict=True):
        await wire.first_token(start["streamId"])
    the_worker(server).kill()
    for wire, start in zip(wires, starts, strict=True):
        end = await wire.end_of(start["streamId"], seconds=10)
        assert end["type"] == "stream_complete"
        assert wire.copy(start["streamId"]).text == counted(200)
