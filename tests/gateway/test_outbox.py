"""One connection's frames over a link that a test can stop: pace, order, bounds, deadlines.

The link stands for the network: it takes bytes up to a high-water mark and gives them to a reader
when the test says so. Answers come from the real engine, on virtual time.
"""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any

import pytest

from tests.core.test_runner import counted
from tests.support.core import Core
from tests.support.virtual_time import pass_time, until, virtual
from wsserver.core.ask import Answer
from wsserver.gateway.alarm import Clock
from wsserver.gateway.framing import Shared
from wsserver.gateway.outbox import MAX_CONTROL_FRAMES, Outbox
from wsserver.gateway.views import StreamView, started
from wsserver_protocol.codec import Encoding

HIGH_WATER = 32 * 1024
SEND_TIMEOUT = 15.0


class Network:
    """A socket whose peer reads when the test lets it."""

    def __init__(self) -> None:
        self.is_reading = True
        self.unsent = 0
        self.most_unsent = 0
        self.frames: list[tuple[float, dict[str, Any]]] = []
        self.stalls: list[float] = []
        self.writes = 0
        self.outbox = Outbox(
            self,
            Clock(asyncio.get_running_loop()),
            send_timeout=SEND_TIMEOUT,
            on_stalled=self._stalled,
            on_sent=lambda size: None,
        )

    @property
    def is_writable(self) -> bool:
        return self.unsent < HIGH_WATER

    @property
    def unsent_bytes(self) -> int:
        return self.unsent

    def write_shared(self, frames: Shared) -> None:
        self.write(list(frames.payloads))

    def write(self, payloads: list[bytes]) -> None:
        """Take frames, as far as the sender minds the mark."""
        assert self.is_writable, "a write to a full socket"
        self.writes += 1
        now = asyncio.get_running_loop().time()
        for payload in payloads:
            self.frames.append((now, json.loads(payload)))
        if not self.is_reading:
            self.unsent += sum(map(len, payloads))
            self.most_unsent = max(self.most_unsent, self.unsent)
            if not self.is_writable:
                self.outbox.blocked()

    def stop_reading(self) -> None:
        """From now on nothing is taken."""
        self.is_reading = False

    def read(self, size: int | None = None) -> None:
        """The peer reads so many bytes; None: everything, from now on."""
        was_full = not self.is_writable
        if size is None:
            self.is_reading = True
        self.unsent = 0 if size is None else max(0, self.unsent - size)
        if was_full and self.is_writable:
            self.outbox.unblocked()

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """The frames of a type."""
        return [frame for _, frame in self.frames if frame["type"] == kind]

    def text(self, stream_id: str) -> str:
        """A stream's pieces, joined."""
        pieces = self.of_type("stream_token")
        return "".join(piece["token"] for piece in pieces if piece["streamId"] == stream_id)

    def times(self, kind: str) -> list[float]:
        """When frames of a type were written."""
        return [at for at, frame in self.frames if frame["type"] == kind]

    def _stalled(self) -> None:
        self.stalls.append(asyncio.get_running_loop().time())


def follow(network: Network, answer: Answer, interval: float = 0.025) -> StreamView:
    """Put a view of an answer into the network's outbox."""
    view = StreamView(
        answer,
        network.outbox,
        Encoding.JSON,
        opening=started(answer, "x", "r"),
        request_id="r",
        interval=interval,
        on_done=lambda view: None,
    )
    network.outbox.mark(view)
    return view


def control(number: int) -> bytes:
    """A control frame."""
    return b'{"type":"pong","number":%d}' % number


async def written(network: Network, kind: str) -> None:
    """Wait until a frame of a type was written."""
    await until(lambda: bool(network.of_type(kind)))


@virtual
async def test_the_first_piece_at_once_then_one_each_interval() -> None:
    """At 200 tokens a second and 25 ms a piece has five tokens; the first has one and no delay."""
    core, network = Core(), Network()
    await core.ready("synthetic:?tps=200&ttft_ms=100")
    answer = core.submit(max_tokens=200, progress_every=0)
    follow(network, answer)
    await written(network, "stream_complete")
    times = network.times("stream_token")
    assert times[0] == pytest.approx(0.1, abs=0.002)
    gaps = [b - a for a, b in pairwise(times[:-1])]
    assert min(gaps) >= 0.0249
    assert len(times) == pytest.approx(200 / 5, abs=3)
    assert network.of_type("stream_token")[0]["count"] == 1
    assert network.text(answer.stream_id) == counted(200)
    await core.close()


@virtual
async def test_a_frame_a_token_at_interval_zero() -> None:
    """While the reader keeps up each token is a frame, at the time it came."""
    core, network = Core(), Network()
    await core.ready("synthetic:?tps=100&ttft_ms=0")
    answer = core.submit(max_tokens=50, progress_every=0)
    follow(network, answer, interval=0)
    await written(network, "stream_complete")
    assert [piece["count"] for piece in network.of_type("stream_token")] == [1] * 50
    times = network.times("stream_token")
    assert times[-1] - times[0] == pytest.approx(0.49, abs=0.01)
    await core.close()


@virtual
async def test_the_end_does_not_wait_for_the_interval() -> None:
    """What is left at the end goes out with it, at once."""
    core, network = Core(), Network()
    await core.ready("synthetic:?tps=1000&ttft_ms=0")
    answer = core.submit(max_tokens=5)
    follow(network, answer, interval=1.0)
    await written(network, "stream_complete")
    assert answer.record.ended_at is not None
    assert network.times("stream_complete")[0] == pytest.approx(answer.record.ended_at, abs=0.001)
    assert network.text(answer.stream_id) == counted(5)
    await core.close()


@virtual
async def test_a_reader_that_stops_costs_a_bounded_buffer() -> None:
    """However much is made meanwhile, little waits; afterwards every byte comes, in long pieces."""
    core, network = Core(), Network()
    await core.ready("synthetic:?tps=50000&ttft_ms=0")
    answers = [core.submit(max_tokens=100_000, progress_every=0) for _ in range(4)]
    for answer in answers:
        follow(network, answer, interval=0)
    await until(lambda: answers[0].record.transcript.tokens > 1000)
    network.stop_reading()
    await core.ended(*answers)
    assert network.most_unsent <= HIGH_WATER + 64 * 1024
    frames = len(network.frames)
    network.read()
    await until(lambda: len(network.of_type("stream_complete")) == 4)
    for answer in answers:
        assert network.text(answer.stream_id) == counted(100_000)
    assert network.stalls == []
    # Half a megabyte each, at most 16 KiB a piece, and the ends.
    assert len(network.frames) - frames < 4 * (600_000 / 16_384 + 2)
    await core.close()


@virtual
async def test_the_engine_never_waits_for_a_reader() -> None:
    """An answer is done at its own pace, whoever does not read it."""
    core, network = Core(), Network()
    await core.ready("synthetic:?tps=100&ttft_ms=0")
    network.stop_reading()
    answer = core.submit(max_tokens=1001)
    follow(network, answer, interval=0)
    await core.ended(answer)
    assert asyncio.get_running_loop().time() == pytest.approx(10, abs=0.01)
    await core.close()


@virtual
async def test_a_socket_that_takes_nothing_is_given_up() -> None:
    """After the send deadline without a byte the connection is stalled, once."""
    core, network = Core(), Network()
    await core.ready("synthetic:?tps=0&ttft_ms=0")
    network.stop_reading()
    answer = core.submit(max_tokens=50_000)
    follow(network, answer)
    await until(lambda: not network.is_writable)
    begin = asyncio.get_running_loop().time()
    await pass_time(60)
    assert network.stalls == [pytest.approx(begin + SEND_TIMEOUT, abs=0.1)]
    await core.close()


@virtual
async def test_a_slow_reader_that_still_reads_is_kept() -> None:
    """As long as something is taken within each deadline, nobody is given up."""
    core, network = Core(), Network()
    await core.ready("synthetic:?tps=0&ttft_ms=0")
    network.stop_reading()
    answer = core.submit(max_tokens=50_000)
    follow(network, answer)
    for _ in range(20):
        await pass_time(SEND_TIMEOUT * 0.9)
        network.read(100)
    assert network.stalls == []
    begin = asyncio.get_running_loop().time()
    await pass_time(60)
    assert len(network.stalls) == 1
    assert network.stalls[0] - begin <= 2 * SEND_TIMEOUT
    await core.close()


@pytest.mark.parametrize(("frames", "is_stalled"), [(256, False), (257, True)])
@virtual
async def test_control_frames_that_nobody_reads(frames: int, is_stalled: bool) -> None:
    """So many control frames may wait; one more gives the connection up at once."""
    assert MAX_CONTROL_FRAMES == 256
    network = Network()
    network.stop_reading()
    network.outbox.send(b'{"type":"pong","padding":"%s"}' % (b"x" * HIGH_WATER))
    await asyncio.sleep(0)
    assert not network.is_writable
    for number in range(frames):
        network.outbox.send(control(number))
    assert bool(network.stalls) is is_stalled
    if not is_stalled:
        network.read()
        await pass_time(0.01)
        assert len(network.frames) == frames + 1


@virtual
async def test_a_burst_of_control_frames_reaches_a_reader() -> None:
    """A thousand replies within one turn of the loop: all are written, in order, none is lost."""
    network = Network()
    for number in range(1000):
        network.outbox.send(control(number))
    await pass_time(0.01)
    assert [frame["number"] for _, frame in network.frames] == list(range(1000))
    assert network.stalls == []
    assert network.writes < 100


@virtual
async def test_control_goes_before_text() -> None:
    """A reply does not wait behind what a slow reader has left of its streams."""
    core, network = Core(), Network()
    await core.ready("synthetic:?tps=0&ttft_ms=0")
    network.stop_reading()
    answer = core.submit(max_tokens=50_000, progress_every=0)
    follow(network, answer)
    await core.ended(answer)
    sent = len(network.frames)
    network.outbox.send(control(1))
    network.read()
    await written(network, "stream_complete")
    assert network.frames[sent][1]["type"] == "pong"
    await core.close()


@virtual
async def test_streams_of_one_connection_share_it() -> None:
    """With a reader that takes little at a time no stream gets all of it."""
    core, network = Core(), Network()
    await core.ready("synthetic:?tps=0&ttft_ms=0")
    network.stop_reading()
    answers = [core.submit(max_tokens=30_000, progress_every=0) for _ in range(3)]
    for answer in answers:
        follow(network, answer)
    await core.ended(*answers)
    have: list[int] = []
    for _ in range(8):
        network.read(HIGH_WATER)
        await pass_time(0.1)
        have = [len(network.text(answer.stream_id)) for answer in answers]
    assert max(have) - min(have) <= 2 * HIGH_WATER, have
    network.read()
    await until(lambda: len(network.of_type("stream_complete")) == 3)
    await core.close()


@virtual
async def test_a_closed_outbox_is_silent() -> None:
    """After `close` nothing is sent and nothing is left to happen."""
    core, network = Core(), Network()
    await core.ready("synthetic:?tps=100&ttft_ms=0")
    answer = core.submit(max_tokens=20)
    view = follow(network, answer)
    await written(network, "stream_token")
    network.outbox.close()
    view.close()
    frames = len(network.frames)
    network.outbox.send(control(1))
    network.outbox.mark(view)
    await core.ended(answer)
    await pass_time(60)
    assert len(network.frames) == frames
    assert network.stalls == []
    await core.close()


@virtual
async def test_progress_is_told_where_it_was_asked_for() -> None:
    """Each fifth token brings a progress frame, with the speed since the first token."""
    core, network = Core(), Network()
    await core.ready("synthetic:?tps=10&ttft_ms=2000")
    answer = core.submit(max_tokens=20, progress_every=5)
    follow(network, answer)
    await written(network, "stream_complete")
    progress = network.of_type("stream_progress")
    assert [frame["tokenCount"] for frame in progress] == [5, 10, 15, 20]
    assert progress[-1]["tokensPerSecond"] == pytest.approx(10, abs=0.5)
    assert progress[-1]["elapsedTime"] == pytest.approx(3900, abs=30)
    await core.close()
