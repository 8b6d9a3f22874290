"""The Redis under test: one server, or the nodes of a cluster."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis.asyncio as redis_client

from tests.support.redis import RedisProcess, running_redis_cluster


@dataclass(frozen=True, slots=True)
class Store:
    """A Redis as the harness sees it.

    Attributes:
        nodes: Its servers. Each has slots of its own: what befalls one befalls a part of the keys.
    """

    nodes: list[RedisProcess]

    @property
    def is_cluster(self) -> bool:
        return len(self.nodes) > 1

    @property
    def url(self) -> str:
        """Where it is found."""
        return self.nodes[0].url

    @property
    def ports(self) -> list[int]:
        """Where its servers listen."""
        return [node.port for node in self.nodes if node.port is not None]

    def client(self) -> Any:
        """A client that reaches all keys. Of which class decides the number of nodes."""
        kind = redis_client.RedisCluster if self.is_cluster else redis_client.Redis
        return kind(host="127.0.0.1", port=self.ports[0])


@contextmanager
def running_store(folder: Path, *, is_cluster: bool) -> Iterator[Store]:
    """A Redis for the length of the block, with its files in a folder.

    What it has answered is never lost by killing it: the operating system has it, as nothing is
    put off for the disk's sake. So only the faults that are meant to lose something do.
    """
    if is_cluster:
        with running_redis_cluster(folder, appendfsync="no") as cluster:
            yield Store(cluster.nodes)
        return
    server = RedisProcess(folder, free_port(), appendfsync="no")
    server.start()
    try:
        yield Store([server])
    finally:
        server.stop()


def free_port() -> int:
    """A port that nobody had a moment ago."""
    with socket.socket() as probing:
        probing.bind(("127.0.0.1", 0))
        port: int = probing.getsockname()[1]
        return port
