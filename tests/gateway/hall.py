"""Members of a process who watch one answer, each with a socket that a test can stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.support.core import Core
from tests.support.virtual_time import until
from wsserver.core.ask import Answer
from wsserver.core.telemetry import FrameKind, NullTelemetry
from wsserver.gateway.alarm import Clock
from wsserver.gateway.framing import Shared
from wsserver.gateway.outbox import Outbox
from wsserver.gateway.views import Audience, Audiences, Opening, StreamView, started
from wsserver_protocol.codec import Encoding, decode_frame

HIGH_WATER = 32 * 1024


class Traffic(NullTelemetry):
    """Counts what is reported as sent to all."""

    def __init__(self) -> None:
        self.sent: dict[FrameKind, tuple[int, int]] = {"text": (0, 0), "binary": (0, 0)}

    def frame_sent(self, kind: FrameKind, size: int, count: int = 1) -> None:
        frames, octets = self.sent[kind]
        self.sent[kind] = frames + count, octets + size


class Hall:
    """Members of one process who watch one answer."""

    def __init__(self, answer: Answer, *, at_once: int = 128, interval: float = 0.025) -> None:
        self.answer = answer
        self.interval = interval
        self.traffic = Traffic()
        self.clock = Clock(asyncio.get_running_loop())
        self.audiences = Audiences(self.clock, self.traffic, at_once=at_once)

    def enter(self, encoding: Encoding = Encoding.JSON, opening: Opening | None = None) -> Member:
        """Someone watches from now on."""
        return Member(self, encoding, opening or started(self.answer, None, None))

    def audience(self, encoding: Encoding = Encoding.JSON) -> Audience:
        """Those who are fed as one."""
        return self.audiences.of(self.answer, encoding, self.interval)


class Member:
    """A watcher's socket, which takes what comes until the test has it take nothing."""

    def __init__(self, hall: Hall, encoding: Encoding, opening: Opening) -> None:
        self.frames: list[bytes] = []
        self.shared: list[Shared] = []  # what came framed already
        self.unsent = 0
        self.is_reading = True
        self.on_shared: Callable[[], None] = lambda: None
        self.outbox = Outbox(
            self, hall.clock, send_timeout=15.0, on_stalled=lambda: None, on_sent=lambda size: None
        )
        self.view = StreamView(
            hall.answer,
            self.outbox,
            encoding,
            opening=opening,
            request_id=None,
            interval=hall.interval,
            company=hall.audience(encoding),
            on_done=lambda view: None,
        )
        self.outbox.mark(self.view)

    @property
    def is_writable(self) -> bool:
        return self.unsent < HIGH_WATER

    @property
    def unsent_bytes(self) -> int:
        return self.unsent

    def write(self, payloads: list[bytes]) -> None:
        assert self.is_writable, "a write to a full socket"
        self.frames += payloads
        if not self.is_reading:
            self.unsent += sum(map(len, payloads))
            if not self.is_writable:
                self.outbox.blocked()

    def write_shared(self, frames: Shared) -> None:
        self.shared.append(frames)
        self.write(list(frames.payloads))
        self.on_shared()

    def read(self) -> None:
        """Take everything from now on."""
        self.is_reading = True
        self.unsent = 0
        self.outbox.unblocked()

    @property
    def events(self) -> list[dict[str, Any]]:
        """What came, decoded."""
        return [decode_frame(frame) for frame in self.frames]

    @property
    def kinds(self) -> list[str]:
        """The types of what came."""
        return [event["type"] for event in self.events]

    @property
    def text(self) -> str:
        """The text as a client has it: each piece must join to what came before."""
        text = b""
        for event in self.events:
            if event["type"] == "stream_snapshot":
                assert event["fromOffset"] <= len(text)
                text = text[: event["fromOffset"]] + event["text"].encode()
            elif event["type"] == "stream_rewind":
                text = text[: event["offset"]]
            elif event["type"] == "stream_token":
                piece = event["token"].encode()
                assert event["offset"] - len(piece) == len(text)
                text += piece
        return text.decode()

    @property
    def is_done(self) -> bool:
        """Whether the terminal event came, which must then be the last."""
        ends = [at for at, kind in enumerate(self.kinds) if kind in ENDS]
        assert ends in ([], [len(self.frames) - 1]), self.kinds
        return bool(ends)


ENDS = ("stream_complete", "stream_stopped", "stream_error")


async def all_done(*members: Member) -> None:
    """Wait until each has its terminal event."""
    await until(lambda: all(member.is_done for member in members))


async def begun(core: Core, source: str = "synthetic:?tps=47&ttft_ms=20", **options: Any) -> Answer:
    """An answer that will come."""
    await core.ready(source)
    return core.submit(**options)
