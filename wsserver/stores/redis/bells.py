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
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from wsserver.core.ids import new_id
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.stores.redis.bell_line import BellLine
from wsserver.stores.redis.hosts import Hosts
from wsserver.stores.redis.lane import Lost

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
    line: BellLine | None = None
    is_confirmed: asyncio.Event = field(default_factory=asyncio.Event)
    was_lost: bool = False  # a subscription broke since it was last confirmed


class Bells:
    """All subscriptions of one process.

    Args:
        hosts: Which host a channel is at.
        command: Runs a command there.
        learn: Has the hosts learnt anew.
    """

    def __init__(
        self,
        hosts: Hosts,
        command: Callable[..., Awaitable[Any]],
        learn: Callable[[], Awaitable[None]],
    ) -> None:
        self._hosts = hosts
        self._command = command
        self._learn = learn
        self._own = new_id("bel")
        self._channels: dict[bytes, _Channel] = {}
        self._lines: dict[str, BellLine] = {}
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
            if not self._place_at_once(found):
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
            line.close()

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
            line.leave(channel.name)

    # Where channels are subscribed.

    def _place_at_once(self, channel: _Channel) -> bool:
        """Subscribe on a line that stands, in this tick. False if there is none, or it is not known
        where it would be."""
        if self._placing is not None or not self._hosts.is_known:
            return False
        try:
            line = self._lines.get(self._hosts.bell_host(channel.name))
        except Lost:
            return False
        if line is None:
            return False
        channel.line = line
        line.subscribe(channel.name)
        return True

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
                    if self._pause or not self._hosts.is_known:
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
        by_host: dict[str, list[_Channel]] = {}
        for channel in self._homeless:
            by_host.setdefault(self._hosts.bell_host(channel.name), []).append(channel)
        for host, channels in by_host.items():
            line = self._lines.get(host) or await self._open_line(host)
            for channel in channels:
                if channel in self._homeless:  # it may have been left meanwhile
                    self._homeless.discard(channel)
                    channel.line = line
                    line.subscribe(channel.name)

    async def _open_line(self, host: str) -> BellLine:
        probe, connection = self._probe_channel(host), self._hosts.connection(host)
        line = BellLine(connection, host, probe, self, is_sharded=self._hosts.is_sharded)
        await line.open()
        self._lines[host] = line
        return line

    def _probe_channel(self, host: str) -> str:
        """A name that lies at a host. A few tries find one where a host has its share of slots."""
        for number in range(_PROBE_NAMES):
            name = f"{PREFIX}:{{{self._own}.{number}}}:probe"
            if self._hosts.bell_host(name) == host:
                return name
        raise Lost(f"{host} keeps next to nothing (any more)")

    # What a line tells.

    def heard(self, channel: bytes, data: bytes) -> None:
        """A bell rang."""
        found = self._channels.get(channel)
        if found is not None:
            for listener in tuple(found.listeners):
                _call(listener.ring, data)

    def confirmed(self, line: BellLine, channel: bytes) -> None:
        """Every later bell of the channel will be heard."""
        found = self._channels.get(channel)
        if found is None or found.line is not line:
            return
        self._pause = 0.0
        found.is_confirmed.set()
        if found.was_lost:
            found.was_lost = False
            for listener in tuple(found.listeners):
                _call(listener.doubt)

    def lost(self, line: BellLine, reason: str) -> None:
        """A line has ended: all its channels must be placed anew, and are doubted then."""
        log.warning("a line for bells was lost: %s", reason)
        del self._lines[line.host]
        channels = [channel for channel in self._channels.values() if channel.line is line]
        for channel in channels:
            channel.line = None
            channel.was_lost = True
            channel.is_confirmed.clear()
        self._wait_longer()
        self._place(channels)

    # Whether bells come at all.

    async def _probe_all(self) -> None:
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            await asyncio.gather(*(self._probe(line) for line in tuple(self._lines.values())))

    async def _probe(self, line: BellLine) -> None:
        line.probed.clear()
        try:
            await self._command(self._hosts.publish, line.probe, b"")
        except StoreUnavailable:
            return  # Redis is away, not the line: all will doubt when it is back
        try:
            async with asyncio.timeout(HEARD_SECONDS):
                await line.probed.wait()
        except TimeoutError:
            if self._lines.get(line.host) is line:  # it has not ended by itself meanwhile
                line.close()
                self.lost(line, "a probe was not heard")


def _call(callback: Callable[..., None], *args: Any) -> None:
    """Call a listener; a fault of one must not deafen the others."""
    try:
        callback(*args)
    except Exception:
        log.exception("a listener of a bell failed")
