"""The reading side of the simulated system: production's mirror, view and outbox on a fake wire.

What is simulated here is the socket and the way to the store. What makes the frames is the real
thing: follower, mirror, `StreamView` with its openings, `Audience`, outbox, codec.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque

from tests.core.streams.following_view import FollowingView, Frame, LateCutView
from tests.core.streams.network import Network
from tests.core.streams.sabotage import FOLLOWERS, Sabotage
from tests.core.streams.store import SimulatedStore
from tests.core.streams.viewers import Viewer
from tests.core.streams.virtual_loop import VirtualLoop
from wsserver.core.ask import Answer, Ask
from wsserver.core.identity import Identity
from wsserver.core.streams.doorbells import Doorbell, Reading
from wsserver.core.streams.follower import Cursor, Follower, Step
from wsserver.core.streams.mirror import Mirror
from wsserver.core.streams.record import StreamRecord
from wsserver.core.telemetry import NullTelemetry
from wsserver.gateway.alarm import Clock
from wsserver.gateway.framing import Shared
from wsserver.gateway.outbox import Outbox
from wsserver.gateway.views import Audience, Audiences
from wsserver_protocol.codec import Encoding
from wsserver_protocol.options import GenerationOptions

SOCKET_BUFFER = 4096
WAIT_FOR_READER_AHEAD = 3.0


class SocketLine:
    """One connection: the link that the outbox writes to, and the line that the viewer has."""

    def __init__(self, gateway: Gateway, viewer: Viewer, rng: random.Random) -> None:
        self.gateway = gateway
        self.viewer = viewer
        self.is_open = True
        self.waits: Cursor | None = None
        self.waits_since = (0.0, 0)  # when it came, and the first reading that speaks for it
        self.view: FollowingView | None = None
        self.interval = rng.choice((0.0, 0.01, 0.025))
        self._delay = rng.uniform(0.0005, 0.006)
        self._slowness = rng.choice((0.0, 0.0, 2e-6, 1e-4))  # seconds a byte
        self._free_at = 0.0
        self._unsent = 0
        self._under_way: deque[bytes] = deque()
        self._is_blocked = False
        self.outbox = Outbox(
            self, gateway.clock, send_timeout=15, on_stalled=self.cut, on_sent=lambda _: None
        )

    @property
    def is_writable(self) -> bool:
        return self.is_open and self._unsent < SOCKET_BUFFER

    @property
    def unsent_bytes(self) -> int:
        return self._unsent

    def write_shared(self, frames: Shared) -> None:
        # Made when its round began. Whatever was cut since then, it was not cut.
        assert self.view is not None
        payloads: list[bytes] = [Frame(payload) for payload in frames.payloads]
        for frame in payloads:
            assert isinstance(frame, Frame)
            frame.fence = self.view.answer.record.fence
        self.write(payloads)

    def write(self, payloads: list[bytes]) -> None:
        loop = self.gateway.loop
        for payload in payloads:
            self._unsent += len(payload)
            begins = max(loop.time(), self._free_at)
            self._free_at = begins + len(payload) * self._slowness
            self._under_way.append(payload)
            loop.call_at(self._free_at + self._delay, self._arrive)
        if self._unsent >= SOCKET_BUFFER and not self._is_blocked:
            self._is_blocked = True
            self.outbox.blocked()

    def ask(self, cursor: Cursor) -> None:
        self.gateway.loop.call_later(self._delay, self.gateway.watch, self, cursor)

    def cut(self) -> None:
        self.gateway.loop.call_later(self._delay * 4, self.close)  # the server hears of it later
        self.is_open = False

    def close(self) -> None:
        self.is_open = False
        if self.view is not None:
            self.view.close()
        self.outbox.close()
        self.gateway.forget(self)

    def _arrive(self) -> None:
        payload = self._under_way.popleft()  # timers of one moment come in any order
        self._unsent -= len(payload)
        if not self.is_open:
            return
        if self._is_blocked and self.is_writable:
            self._is_blocked = False
            self.outbox.unblocked()
        assert isinstance(payload, Frame)
        self.viewer.receive(self, payload)


class Followed:
    """One answer that someone at a gateway watches: its mirror, and who waits for it."""

    def __init__(self, gateway: Gateway, stream_id: str) -> None:
        self.gateway = gateway
        self.stream_id = stream_id
        self.lines: dict[SocketLine, None] = {}
        self.is_open = True
        self.is_subscribed = False
        loop = gateway.loop
        record = StreamRecord(stream_id, "model", loop.time())
        self.answer = Answer(
            record,
            Ask(owner=Identity.named("u", None, "::1"), client_id="c", options=GenerationOptions()),
        )
        make = Follower if gateway.sabotage is None else FOLLOWERS.get(gateway.sabotage, Follower)
        self.mirror = Mirror(record, make(), self._on_rewind)
        self._timer: asyncio.TimerHandle | None = None
        loop.call_later(gateway.rng.uniform(0.0005, 0.01), self._subscribed)

    def ring(self, bell: Doorbell) -> None:
        if self.is_subscribed and self.is_open:
            self.do(self.mirror.follower.ring(bell, self.gateway.loop.time()))

    def do(self, steps: list[Step]) -> None:
        """Take in what the follower says, then let in who has waited for it."""
        now = self.gateway.loop.time()
        wanted = self.mirror.apply(steps, now)
        if wanted is not None:
            number, offset = wanted
            self.gateway.network.call(
                lambda: self.gateway.store.read(self.stream_id, offset),
                lambda reading: self._on_reading(number, reading),
                self._on_no_reading,
            )
        for line in [line for line in self.lines if line.waits is not None]:
            self.admit(line)
        self._watch_the_clock()

    def admit(self, line: SocketLine) -> bool:
        """Let a reader in, if the mirror is where it is: found and entered in one step."""
        now = self.gateway.loop.time()
        cursor = line.waits
        if cursor is None or not line.is_open:
            return True
        came, since = line.waits_since
        is_patient = now - came < WAIT_FOR_READER_AHEAD
        stands = self.mirror.follower.place(cursor, since, is_patient=is_patient)
        if stands is None:
            return False
        line.waits = None
        self._enter(line, cursor.offset, stands)
        if self.gateway.sabotage is Sabotage.ENTRY_WITH_A_GAP and line.view is not None:
            # It has read its text (its snapshot is made), and becomes a watcher a little later.
            self.answer.record.watchers.discard(line.view)
            line.view.is_overlooked = True
            self.gateway.loop.call_later(0.05, self._notice, line)
        return True

    def close(self) -> None:
        self.is_open = False
        if self._timer is not None:
            self._timer.cancel()

    def _enter(self, line: SocketLine, has: int, stands: int) -> None:
        if not line.is_open:
            return
        if line.view is None or line.view.is_done:
            is_broken = self.gateway.sabotage is Sabotage.OPENING_BEFORE_THE_CUT
            line.view = (LateCutView if is_broken else FollowingView)(
                self.answer,
                line.outbox,
                interval=line.interval,
                company=self.gateway.audiences.of(self.answer, Encoding.JSON, line.interval),
                has=has,
                stands=stands,
            )
            line.view.wake()
        else:
            line.view.stand(has, stands)

    def _notice(self, line: SocketLine) -> None:
        if line.view is not None and not line.view.is_done:
            line.view.is_overlooked = False
            self.answer.record.watchers.add(line.view)

    def _subscribed(self) -> None:
        if not self.is_open:
            return
        self.is_subscribed = True
        self.do(self.mirror.follower.begin(self.gateway.loop.time()))

    def _on_reading(self, number: int, reading: Reading | None) -> None:
        if self.is_open:
            self.do(self.mirror.follower.read(number, reading, self.gateway.loop.time()))

    def _on_no_reading(self) -> None:
        self.mirror.follower.read_failed(self.gateway.loop.time())
        if self.is_open:
            self._watch_the_clock()

    def _on_rewind(self, offset: int) -> None:
        if self.gateway.sabotage is not Sabotage.FRAMES_OUTLIVE_A_CUT:
            self.answer.shared_frames.clear()  # made of text that is no more
        if self.gateway.sabotage is Sabotage.REWIND_UNTOLD:
            return
        for watcher in tuple(self.answer.record.watchers):
            is_many = isinstance(watcher, Audience)
            if not (is_many and self.gateway.sabotage is Sabotage.AUDIENCE_UNTOLD):
                watcher.rewound(offset)

    def _watch_the_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due = self.mirror.follower.due
        if due is not None:
            self._timer = self.gateway.loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self.do(self.mirror.follower.tick(self.gateway.loop.time()))


class Gateway:
    """A gateway: the answers that someone here watches."""

    def __init__(
        self,
        loop: VirtualLoop,
        network: Network,
        store: SimulatedStore,
        rng: random.Random,
        sabotage: Sabotage | None,
    ) -> None:
        self.loop = loop
        self.network = network
        self.store = store
        self.rng = rng
        self.sabotage = sabotage
        self.followed: dict[str, Followed] = {}
        self.clock = Clock(loop)
        self.audiences = Audiences(self.clock, NullTelemetry(), at_once=2)
        self._deaf_until = 0.0

    def connect(self, viewer: Viewer, cursor: Cursor) -> SocketLine:
        line = SocketLine(self, viewer, random.Random(self.rng.random()))
        line.ask(cursor)
        return line

    def watch(self, line: SocketLine, cursor: Cursor) -> None:
        """A `watch_stream` has come in."""
        if not line.is_open:
            return
        stream_id = line.viewer.stream_id
        followed = self.followed.get(stream_id)
        if followed is None:
            followed = self.followed[stream_id] = Followed(self, stream_id)
        followed.lines[line] = None
        follower = followed.mirror.follower
        line.waits, line.waits_since = cursor, (self.loop.time(), follower.next_reading)
        if not followed.admit(line):
            followed.do(follower.doubt(self.loop.time()))

    def forget(self, line: SocketLine) -> None:
        followed = self.followed.get(line.viewer.stream_id)
        if followed is not None and followed.lines.pop(line, 0) is None and not followed.lines:
            self.loop.call_later(self.rng.uniform(0, 0.3), self._let_go, followed)

    def ring(self, stream_id: str, bell: Doorbell) -> None:
        now = self.loop.time()
        if now < self._deaf_until:
            return
        if self.rng.random() < self.network.faults.deafness:
            self._deaf_until = now + self.rng.uniform(0.05, 0.6)
        followed = self.followed.get(stream_id)
        if followed is not None:
            followed.ring(bell)

    def die(self) -> None:
        """Everything here is gone at once; the viewers notice."""
        for followed in self.followed.values():
            followed.close()
            for line in list(followed.lines):
                line.viewer.leave(line)
        self.followed.clear()

    def _let_go(self, followed: Followed) -> None:
        if not followed.lines and followed.is_open:
            followed.close()
            del self.followed[followed.stream_id]
