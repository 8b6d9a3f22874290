"""Doorbells: channels of Redis to listen at.

A bell is a hint that may be lost, never the data itself. What this adds to Redis' own subscriptions
is that it is told when some may have been: each subscriber is called to *doubt* after its channel
was without a subscription, however short, and whenever Redis was away.

A subscription may be dead without a sign (a connection that a firewall forgot). So every
`PROBE_SECONDS` a bell of our own is rung at each host that we listen at; a line on which it is not
heard is cut and made anew. Channels are named ``wsserver:b:{tag}…``: in a cluster they lie on the
host of their tag's keys, so scripts ring them where they run.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from wsserver.core.ids import new_id
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.stores.redis.address import Address
from wsserver.stores.redis.connection import Connection, Lost, Refusal
from wsserver.stores.redis.topology import Topology

log = logging.getLogger(__name__)

PREFIX = "wsserver:b"

PROBE_SECONDS, HEARD_SECONDS = 10.0, 3.0
"""Between two probes, and how long one may take."""

CONFIRM_SECONDS = 2.0
"""For a subscription to be confirmed."""

FIRST_RETRY, LAST_RETRY = 0.05, 2.0
"""Seconds before a lost subscription is made again: the first pause, and the longest."""

_PROBE_NAMES = 10_000


@dataclass(eq=False, slots=True)
class _Listener:
    ring: Callable[[bytes], None]
    doubt: Callable[[], None]


@dataclass(eq=False, slots=True)
class _Channel:
    name: str
    listeners: list[_Listener] = field(default_factory=list)
    line: _Line | None = None
    is_confirmed: asyncio.Event = field(default_factory=asyncio.Event)
    was_lost: bool = False  # a subscription broke since it was last confirmed


@dataclass(eq=False, slots=True)
class _Line:
    """A subscriber's connection to one host."""

    address: Address
    probe: str  # a channel that lies there
    connection: Connection | None = None
    channels: set[_Channel] = field(default_factory=set)
    leaving: Counter[bytes] = field(default_factory=Counter)  # unsubscriptions under way
    heard: asyncio.Event = field(default_factory=asyncio.Event)


class Bells:
    """All subscriptions of one process.

    Args:
        topology: Which host a channel is at.
        command: Runs a command there.
        learn: Has the topology learnt anew.
    """

    def __init__(
        self,
        topology: Topology,
        command: Callable[..., Awaitable[Any]],
        learn: Callable[[], Awaitable[None]],
    ) -> None:
        self._topology = topology
        self._command = command
        self._learn = learn
        self._own = new_id("bel")
        self._channels: dict[bytes, _Channel] = {}
        self._lines: dict[Address, _Line] = {}
        self._homeless: set[_Channel] = set()
        self._placing: asyncio.Task[None] | None = None
        self._probing: asyncio.Task[None] | None = None
        self._pause = 0.0  # before channels are placed: grows with each loss in a row
        self._is_closed = False

    async def subscribe(
        self, channel: str, ring: Callable[[bytes], None], doubt: Callable[[], None]
    ) -> Callable[[], None]:
        """Listen; returns once every later bell will be heard.

        Args:
            channel: Its name; any number may listen at one.
            ring: Called with what was published.
            doubt: Called when bells may have been lost.

        Returns:
            Ends it. May be called again.

        Raises:
            StoreUnavailable: If it is not confirmed within `CONFIRM_SECONDS`. Nothing is left.
        """
        if self._is_closed:
            raise StoreUnavailable("Redis: closed")
        found = self._channels.get(channel.encode())
        if found is None:
            found = _Channel(channel)
            self._channels[channel.encode()] = found
            self._place([found])
        listener = _Listener(ring, doubt)
        found.listeners.append(listener)
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                await found.is_confirmed.wait()
        except TimeoutError:
            self._leave(found, listener)
            raise StoreUnavailable("Redis: a subscription is not confirmed") from None
        except BaseException:
            self._leave(found, listener)
            raise
        return lambda: self._leave(found, listener)

    def doubt(self) -> None:
        """Redis was away: whatever rang meanwhile may be lost."""
        for channel in tuple(self._channels.values()):
            for listener in tuple(channel.listeners):
                listener.doubt()

    async def close(self) -> None:
        """End all subscriptions."""
        self._is_closed = True
        tasks = {task for task in (self._placing, self._probing) if task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for line in self._lines.values():
            if line.connection is not None:
                line.connection.close()

    def _leave(self, channel: _Channel, listener: _Listener) -> None:
        if listener not in channel.listeners:
            return
        channel.listeners.remove(listener)
        if channel.listeners:
            return
        del self._channels[channel.name.encode()]
        self._homeless.discard(channel)
        line, channel.line = channel.line, None
        if line is not None:
            line.channels.discard(channel)
            line.leaving[channel.name.encode()] += 1
            self._send(line, "UNSUBSCRIBE", [channel.name])

    # Where channels are subscribed.

    def _place(self, channels: list[_Channel]) -> None:
        self._homeless.update(channels)
        if self._placing is None and not self._is_closed:
            loop = asyncio.get_running_loop()
            self._placing = loop.create_task(self._place_all())
            if self._probing is None:
                self._probing = loop.create_task(self._probe_all())

    async def _place_all(self) -> None:
        """Until each channel has a line. The pauses grow, and spread what many processes do."""
        try:
            while self._homeless:
                try:
                    if self._pause or not self._topology.is_known:
                        await asyncio.sleep(self._pause * random.uniform(0.5, 1.0))
                        await self._learn()
                    await self._place_some()
                except (Lost, StoreUnavailable) as error:
                    log.info("no subscription for now: %s", error)
                    self._wait_longer()
        finally:
            self._placing = None

    def _wait_longer(self) -> None:
        self._pause = min(max(2 * self._pause, FIRST_RETRY), LAST_RETRY)

    async def _place_some(self) -> None:
        """Subscribe what is homeless, host by host."""
        by_host: dict[Address, list[_Channel]] = {}
        for channel in self._homeless:
            lane = self._topology.bell_lane_of(channel.name)
            by_host.setdefault(lane.address, []).append(channel)
        for address, channels in by_host.items():
            line = self._lines.get(address) or await self._open(address)
            fresh = [channel for channel in channels if channel in self._homeless]
            for channel in fresh:
                self._homeless.discard(channel)
                channel.line = line
                line.channels.add(channel)
            self._send(line, "SUBSCRIBE", [channel.name for channel in fresh])

    async def _open(self, address: Address) -> _Line:
        line = _Line(address, self._probe_channel(address))
        connection = await Connection.open(address)
        line.connection = connection
        connection.on_reply = lambda reply: self._take(line, reply)
        connection.on_lost = lambda error: self._lose(line, error)
        self._lines[address] = line
        self._send(line, "SUBSCRIBE", [line.probe])
        return line

    def _probe_channel(self, address: Address) -> str:
        """A name that lies at a host. A few tries find one where a host has its share of slots."""
        for number in range(_PROBE_NAMES):
            name = f"{PREFIX}:{{{self._own}.{number}}}:probe"
            if self._topology.bell_lane_of(name).address == address:
                return name
        raise Lost(f"{address.host}:{address.port} keeps next to nothing (any more)")

    def _send(self, line: _Line, command: str, channels: list[str]) -> None:
        if line.connection is None:
            return
        sharded = "S" if self._topology.is_sharded else ""
        # One command for each: one that has moved must not spoil the others.
        line.connection.write([(f"{sharded}{command}", channel) for channel in channels])

    # What comes.

    def _take(self, line: _Line, reply: Any) -> None:
        if isinstance(reply, Refusal):  # a channel that is at another host by now
            self._cut(line, str(reply))
            return
        kind, name = reply[0], reply[1]
        channel = self._channels.get(name)
        if kind in (b"message", b"smessage"):
            if name == line.probe.encode():
                line.heard.set()
            elif channel is not None:
                for listener in tuple(channel.listeners):
                    _call(listener.ring, reply[2])
        elif kind in (b"unsubscribe", b"sunsubscribe"):
            if line.leaving[name]:
                line.leaving[name] -= 1
            else:
                self._cut(line, "a channel moves to another host")
        elif channel is not None and channel.line is line and not line.leaving[name]:
            self._confirm(channel)  # else it is of a subscription that has been ended since

    def _confirm(self, channel: _Channel) -> None:
        self._pause = 0.0
        channel.is_confirmed.set()
        if channel.was_lost:
            channel.was_lost = False
            for listener in tuple(channel.listeners):
                _call(listener.doubt)

    def _lose(self, line: _Line, error: Lost) -> None:
        log.warning("a line for bells was lost: %s", error)
        line.connection = None
        del self._lines[line.address]
        channels = list(line.channels)
        line.channels.clear()
        for channel in channels:
            channel.line = None
            channel.was_lost = True
            channel.is_confirmed.clear()
        self._wait_longer()
        self._place(channels)

    def _cut(self, line: _Line, reason: str) -> None:
        if line.connection is not None:
            line.connection.close()
            self._lose(line, Lost(reason))

    # Whether bells come at all.

    async def _probe_all(self) -> None:
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            await asyncio.gather(*(self._probe(line) for line in tuple(self._lines.values())))

    async def _probe(self, line: _Line) -> None:
        line.heard.clear()
        try:
            await self._command(self._topology.publish, line.probe, b"")
        except StoreUnavailable:
            return  # Redis is away, not the line: all will doubt when it is back
        try:
            async with asyncio.timeout(HEARD_SECONDS):
                await line.heard.wait()
        except TimeoutError:
            self._cut(line, "a probe was not heard")


def _call(callback: Callable[..., None], *args: Any) -> None:
    """Call a listener; a fault of one must not deafen the others."""
    try:
        callback(*args)
    except Exception:
        log.exception("a listener of a bell failed")
