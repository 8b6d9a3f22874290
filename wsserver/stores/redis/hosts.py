"""redis-py's connections to a Redis alone or to a cluster's hosts, and which host keeps what.

Whether it is a cluster is learnt from Redis itself at the first use. In a cluster the library knows
who keeps which slot and follows a key that moves; all else is asked in writings for one host each,
because the library's own for many hosts fail all for one. Learnt anew is when a host is lost.

How it is set up: it repeats nothing by itself (a step must run twice only where `lane` decides so),
has no time limits of its own but for connecting (a timer for each reply otherwise), and speaks the
older protocol: the newer one turns on notifications of a hosted Redis' maintenance, which would
change addresses and time limits behind our back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, ResponseError

from wsserver.stores.redis.lane import ANSWER_SECONDS, Lane, Lost
from wsserver.stores.redis.pipe import FAULTS, Command, Value

CONNECT_SECONDS = 1.0

SHARDED_SINCE = 7
"""Major version of Redis from which a cluster has bells that stay on one host."""

OPTIONS = frozenset(
    {"db", "password", "username"}
    | {f"ssl_{name}" for name in ("ca_certs", "certfile", "cert_reqs", "check_hostname", "keyfile")}
)
"""What an address may say in its query. Others of the library's would undo what is set up here."""

ALONE = ""
"""The name of the one host where there is no cluster."""


def _settings() -> dict[str, Any]:
    # No error counts as one to try again after; with any, a subscriber connects anew by itself.
    never = Retry(NoBackoff(), 0, supported_errors=())
    return {
        "protocol": 2,
        "retry": never,
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": None,
    }


class Hosts:
    """The hosts of one Redis or one cluster, with a lane to each.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        on_change: Called when a lane came up or went down.

    Attributes:
        is_known: Whether it was learnt what this is.
        is_sharded: Whether bells stay on the host of their channel's slot.

    Raises:
        ValueError: If the address is none of these, or says what it may not.
    """

    def __init__(self, url: str, on_change: Callable[[], None]) -> None:
        self._url = url
        self._options = {**_options(url), **_settings()}
        self._on_change = on_change
        self._shapes = dict(Redis(protocol=2).response_callbacks)
        self._cluster: RedisCluster | None = None
        self._lanes: dict[str, Lane] = {}
        self._is_closed = False
        self.is_known = False
        self.is_sharded = False

    @property
    def is_alone(self) -> bool:
        """Whether there is one host and no other that could take its place."""
        return self._cluster is None

    @property
    def publish(self) -> str:
        """The command that rings a bell."""
        return "SPUBLISH" if self.is_sharded else "PUBLISH"

    @property
    def lanes(self) -> list[Lane]:
        """To all hosts that keep keys."""
        return [self._lane(name) for name in self._names()]

    def lane_of(self, key: Value | None) -> Lane:
        """The lane to a key; to any host without one.

        Raises:
            Lost: If nobody keeps it.
        """
        return self._lane(self._name_of(key))

    def bell_host(self, channel: str) -> str:
        """The name of the host that a subscriber of this channel must be at.

        Raises:
            Lost: If nobody keeps its slot.
        """
        return self._name_of(channel if self.is_sharded else None)

    def connection(self, name: str) -> AbstractConnection:
        """A connection to a host, not connected yet.

        Raises:
            Lost: If there is no such host any more.
        """
        options = dict(self._options)
        make = options.pop("connection_class", Connection)
        if self._cluster is not None and name != ALONE:
            node = self._node(name)
            options |= {"host": node.host, "port": node.port}
        connection: AbstractConnection = make(**options)
        return connection

    async def learn(self) -> None:
        """Ask who keeps what: those that are known of a cluster, or else the address.

        Raises:
            Lost: If nobody answers.
        """
        if not await self._is_learnt_from_known():
            await self._learn_from_first()
        self.is_known = True
        if self._cluster is not None:
            await _disconnect(self._cluster)
        for name in self._lanes.keys() - set(self._names()):
            await self._lanes.pop(name).close()

    async def close(self) -> None:
        """End it; no lane is opened any more. Nobody may be learning."""
        self._is_closed = True
        for lane in self._lanes.values():
            await lane.close()
        if self._cluster is not None:
            await _close(self._cluster)

    async def _is_learnt_from_known(self) -> bool:
        if self._cluster is None:
            return False
        try:
            await _in_time(self._cluster.nodes_manager.initialize())
        except Lost:
            return False
        return True

    async def _learn_from_first(self) -> None:
        info = await self._lane(ALONE).ask(("INFO",))
        if isinstance(info, ResponseError):
            raise Lost(str(info))
        if info["cluster_enabled"]:
            major = int(info["redis_version"].partition(".")[0])
            self.is_sharded = major >= SHARDED_SINCE
            await self._join()

    async def _join(self) -> None:
        try:
            # Each fifth redirection would otherwise close all connections, whatever is under way.
            cluster = RedisCluster.from_url(self._url, **_settings(), reinitialize_steps=0)
        except RedisClusterException as error:  # a socket, or another database than the first
            raise Lost(str(error)) from error
        try:
            await _in_time(cluster.initialize())
        except BaseException:
            await _close(cluster)
            raise
        former, self._cluster = self._cluster, cluster
        if former is not None:
            await _close(former)

    def _names(self) -> list[str]:
        if self._cluster is None:
            return [ALONE]
        return [str(node.name) for node in self._cluster.get_primaries()]

    def _name_of(self, key: Value | None) -> str:
        if self._cluster is None:
            return ALONE
        if key is None:
            return self._names()[0]
        try:
            node = self._cluster.get_node_from_key(cast(str, key))  # takes all that can be encoded
        except RedisClusterException as error:
            raise Lost(str(error)) from error
        assert node is not None  # that is for replicas
        return str(node.name)

    def _node(self, name: str) -> Any:
        node = self._cluster.get_node(node_name=name) if self._cluster is not None else None
        if node is None:
            raise Lost(f"{name} has left the cluster")
        return node

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            if self._is_closed:
                raise Lost("closed")
            follow = None if name == ALONE else partial(self._follow, name)
            connect = partial(self.connection, name)
            lane = self._lanes[name] = Lane(connect, follow, self._shapes, self._on_change)
        return lane

    async def _follow(self, name: str, command: Command) -> Any:
        """Run a command whose key has moved, or is on its way, where a host says that it is."""
        node = self._node(name)
        assert self._cluster is not None
        return await self._cluster.execute_command(*command, target_nodes=node)


def _options(url: str) -> dict[str, Any]:
    """What an address says, as the library's connections take it. Errors quote no part of it that
    could be one of a password."""
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("expected a redis://, rediss:// or unix:// address")
    # The library leaves out a database that is no number, and fails on an unknown option only
    # when it connects.
    parts = urlsplit(url)
    database = parts.path.strip("/")
    if parts.scheme != "unix" and database and not database.isdecimal():
        raise ValueError("the database is no number (a / in a password is written as %2F)")
    for name in parse_qs(parts.query):
        if name not in OPTIONS:
            raise ValueError(f"option {name!r} is none of {', '.join(sorted(OPTIONS))}")
    try:
        return dict(parse_url(url))
    except ValueError:
        raise ValueError("its port or an option's value is not of its kind") from None


async def _in_time(asked: Awaitable[object]) -> None:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await asked
    except TimeoutError as error:
        raise Lost(f"no answer within {ANSWER_SECONDS:g} s") from error
    except FAULTS as error:
        raise Lost(str(error)) from error


async def _disconnect(cluster: RedisCluster) -> None:
    """Close the connections on which the library asked who keeps what: it makes them anew when it
    needs them, and all else goes by ours."""
    known = cluster.nodes_manager
    # The library takes two of one name for equal, though each has connections of its own.
    nodes = {id(n): n for n in (*known.nodes_cache.values(), *known.startup_nodes.values())}
    with suppress(*FAULTS):
        await asyncio.gather(*(node.disconnect() for node in nodes.values()))


async def _close(cluster: RedisCluster) -> None:
    """End it. Its own way closes nothing where it takes itself for not connected."""
    with suppress(*FAULTS):  # what can't be closed in an orderly way is broken
        await cluster.aclose()
    for nodes in ("nodes_cache", "startup_nodes"):
        with suppress(*FAULTS):
            await cluster.nodes_manager.aclose(nodes)
