"""One encoding per frame for all who watch an answer."""

from __future__ import annotations

import asyncio

from tests.support.core import Core
from tests.support.virtual_time import until, virtual
from wsserver.gateway.alarm import Clock
from wsserver.gateway.framing import Shared
from wsserver.gateway.outbox import Outbox
from wsserver.gateway.views import StreamView, snapshot, started
from wsserver_protocol.codec import Encoding

SOURCE = "synthetic:?tps=47&ttft_ms=20"
"""No token falls on a beat of 25 ms: in virtual time some watchers would be before it."""


class Socket:
    """A socket that takes everything, and keeps the very frames."""

    is_writable = True
    unsent_bytes = 0

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.outbox = Outbox(
            self,
            Clock(asyncio.get_running_loop()),
            send_timeout=15.0,
            on_stalled=lambda: None,
            on_sent=lambda size: None,
        )

    def write_shared(self, frames: Shared) -> None:
        self.write(list(frames.payloads))

    def write(self, payloads: list[bytes]) -> None:
        self.frames += payloads


@virtual
async def test_watchers_keep_one_beat() -> None:
    """Whenever each of them came: what they get from then on is made once."""
    core = Core()
    await core.ready(SOURCE)
    answer = core.submit(max_tokens=40)
    watchers = []
    for number in range(10):
        await asyncio.sleep(0.0073)  # of virtual time
        watchers.append(socket := Socket())
        view = StreamView(
            answer,
            socket.outbox,
            Encoding.JSON,
            opening=snapshot(None, 0) if number else started(answer, None, None),
            request_id=None,
            interval=0.025,
            on_done=lambda view: None,
        )
        socket.outbox.mark(view)
    await core.ended(answer)
    await until(lambda: all(b"stream_complete" in s.frames[-1] for s in watchers))
    first, *others = watchers
    for other in others:
        assert {id(frame) for frame in other.frames[3:]} <= {id(frame) for frame in first.frames}
    await core.close()


@virtual
async def test_watchers_get_the_same_bytes() -> None:
    """Start, pieces and end are made once an encoding, and the asker's are its own."""
    core = Core()
    await core.ready(SOURCE)
    answer = core.submit(max_tokens=8)
    asker, *watchers = [Socket() for _ in range(9)]
    for number, socket in enumerate([asker, *watchers]):
        request_id = "q" if socket is asker else None
        view = StreamView(
            answer,
            socket.outbox,
            (Encoding.JSON, Encoding.MSGPACK)[number % 2],
            opening=started(answer, None, request_id),
            request_id=request_id,
            interval=0.025,
            is_of_all=socket is not asker,
            on_done=lambda view: None,
        )
        socket.outbox.mark(view)
    await core.ended(answer)
    await until(lambda: all(b"stream_complete" in s.frames[-1] for s in watchers))
    for kind in (0, 1):
        first, *others = watchers[kind::2]
        assert len(first.frames) > 3
        assert b"stream_start" in first.frames[0]
        for other in others:
            assert len(other.frames) == len(first.frames)
            same = [a is b for a, b in zip(first.frames, other.frames, strict=True)]
            assert all(same), (same, first.frames, other.frames)
    assert not {id(frame) for frame in asker.frames} & {id(f) for w in watchers for f in w.frames}
    await core.close()
