"""What one connection still has to be sent, and when.

Two kinds of things wait here. Control frames (replies, room events) are encoded when they happen
and wait in a bounded queue. Streams do not queue at all: a view holds an integer cursor, and its
next frame is made at the moment it is sent. A slow reader therefore costs no more memory than the
socket's buffer and simply gets longer pieces; it never slows an engine or anyone else.

There is no writer task: writing is a plain callback, run when something is due and the socket
takes it. An idle connection then costs no coroutine, and no send can wait in a library's `drain`,
which does not end when a peer stops reading.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from wsserver.gateway.alarm import Alarm, Clock
from wsserver.gateway.framing import Shared

MAX_CONTROL_FRAMES = 256
"""Control frames that may wait for a slow reader; one more closes the connection (4001)."""


class Link(Protocol):
    """The socket as the outbox sees it."""

    @property
    def is_writable(self) -> bool:
        """Whether the transport's buffer is below its high-water mark, and open."""

    @property
    def unsent_bytes(self) -> int:
        """Bytes in the transport's buffer."""

    def write(self, payloads: list[bytes]) -> None:
        """Send messages, each as one frame. Never blocks; the caller minds `is_writable`."""

    def write_shared(self, frames: Shared) -> None:
        """As for `write`: messages that are framed already."""


class View(Protocol):
    """Something that makes its frames when they are wanted."""

    is_behind: bool
    """Set when frames waited for the reader; the view catches up in fewer ones, and clears it."""

    @property
    def due(self) -> float | None:
        """Loop time from which `next_frame` has something; None: not before a wake."""

    @property
    def is_done(self) -> bool:
        """No frame will follow."""

    def next_frame(self, now: float) -> bytes | None:
        """The next message, None if none is due at ``now``."""


# Frames handed to the transport in one write. Each write is a system call of several
# microseconds; what one flush has for one socket goes in one.
WRITE_BATCH_BYTES = 16 * 1024


class Outbox:
    """Sends one connection's frames.

    Args:
        link: The socket.
        clock: Wakes it.
        send_timeout: Seconds for which the socket may take nothing.
        on_stalled: Called once when it did, or when control frames overflow.
        on_sent: Told the size of each payload.
    """

    __slots__ = (
        "_alarm",
        "_closed",
        "_control",
        "_link",
        "_loop",
        "_on_sent",
        "_on_stalled",
        "_ready",
        "_send_timeout",
        "_stall_timer",
        "_stalled_bytes",
    )

    def __init__(
        self,
        link: Link,
        clock: Clock,
        *,
        send_timeout: float,
        on_stalled: Callable[[], None],
        on_sent: Callable[[int], None],
    ) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._send_timeout = send_timeout
        self._on_stalled = on_stalled
        self._on_sent = on_sent
        self._control: deque[bytes] = deque()
        self._ready: dict[View, None] = {}  # ordered: the first has waited longest
        self._alarm = Alarm(clock, self.flush)
        self._stall_timer: asyncio.TimerHandle | None = None
        self._stalled_bytes = 0
        self._closed = False

    def send(self, payload: bytes) -> None:
        """Queue a control frame behind those before it and before all views."""
        if self._closed:
            return
        self._control.append(payload)
        if len(self._control) > MAX_CONTROL_FRAMES:
            # A burst within one turn of the loop is no slow reader: the socket may well take it.
            self._flush_control()
            if len(self._control) > MAX_CONTROL_FRAMES:
                self._stop_for_good()
        elif self._link.is_writable:
            self._alarm.set(0.0)

    def send_now(self, payload: bytes) -> None:
        """As for `send`, without waiting for more where nothing waits: for what goes to many, of
        whom each would have a turn of the loop to itself."""
        if self._closed or self._control or not self._link.is_writable:
            self.send(payload)
            return
        self._on_sent(len(payload))
        self._link.write([payload])

    def push(self, frames: Shared) -> bool:
        """Send at once what others get, too, behind the control frames. False if the socket is
        full, or closed."""
        if self._closed or (self._control and not self._flush_control()):
            return False
        if not self._link.is_writable:
            return False
        self._link.write_shared(frames)
        return True

    def mark(self, view: View) -> None:
        """A view may have something to send."""
        if view not in self._ready and not self._closed:
            self._ready[view] = None
            if self._link.is_writable:
                self._alarm.set(view.due or 0.0)
        elif self._alarm.is_later and (due := view.due) is not None:
            self._alarm.set(due)

    def drop(self, view: View) -> None:
        """The view is gone; nothing more of it is sent."""
        self._ready.pop(view, None)

    def blocked(self) -> None:
        """The socket takes no more: start the clock."""
        if self._stall_timer is None and not self._closed:
            self._stalled_bytes = self._link.unsent_bytes
            self._stall_timer = self._loop.call_later(self._send_timeout, self._check_stall)

    def unblocked(self) -> None:
        """The socket takes frames again. Whatever waited for that has fallen behind."""
        for view in self._ready:
            view.is_behind = True
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        if self._control or self._ready:
            self._alarm.set(0.0)

    def close(self) -> None:
        """Send nothing more. Idempotent."""
        self._closed = True
        self._control.clear()
        self._ready.clear()
        self._alarm.cancel()
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def flush(self) -> None:
        """Send what is due, as far as the socket takes it."""
        if self._closed or not self._flush_control():
            return
        now = self._loop.time()
        next_due = float("inf")
        for view in tuple(self._ready):
            if not self._flush_view(view, now):
                return
            due = None if view.is_done else view.due
            if due is None:
                self._ready.pop(view, None)
            else:
                next_due = min(next_due, due)
        if self._ready:
            self._alarm.set(next_due)

    def _flush_control(self) -> bool:
        """Send control frames. False if the socket is full."""
        while self._control:
            if not self._link.is_writable:
                return False
            batch, size = [], 0
            while self._control and size < WRITE_BATCH_BYTES:
                payload = self._control.popleft()
                batch.append(payload)
                size += len(payload)
                self._on_sent(len(payload))
            self._link.write(batch)
        return True

    def _flush_view(self, view: View, now: float) -> bool:
        """Send what a view has. False if the socket is full; the view then goes to the back."""
        while True:
            if not self._link.is_writable:
                if view in self._ready:
                    del self._ready[view]
                    self._ready[view] = None
                return False
            batch, size = [], 0
            while size < WRITE_BATCH_BYTES:
                payload = view.next_frame(now)
                if payload is None:
                    break
                batch.append(payload)
                size += len(payload)
                self._on_sent(len(payload))
            if batch:
                self._link.write(batch)
            if size < WRITE_BATCH_BYTES:
                return True

    def _check_stall(self) -> None:
        """The send deadline is over. A slow reader that still reads gets another one."""
        self._stall_timer = None
        unsent = self._link.unsent_bytes
        if unsent < self._stalled_bytes:
            self.blocked()
        else:
            self._stop_for_good()

    def _stop_for_good(self) -> None:
        self.close()
        self._on_stalled()
