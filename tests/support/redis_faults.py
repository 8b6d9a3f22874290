"""The simulator's faults, on a real Redis and in real time.

Gateways whose bells are lost, doubled and late; workers that die, come back too late, and each
write a text of their own; connections that break under way; a Redis that loses tails. Readers go
from gateway to gateway and must end with the log's text.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import cast

from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.streams import Ending, Fenced, StreamRecord
from wsserver.core.streams.writer import LogWriter
from wsserver.stores.redis import RedisLink
from wsserver.stores.redis.bells import Bells
from wsserver.stores.redis.stream_format import stream_keys
from wsserver.stores.redis.stream_log import RedisStreamLog
from wsserver.stores.redis.streams import RedisStreams
from wsserver_protocol.lifecycle import FinishReason

ALPHABETS = ("abcdefg ", "äöüß ", "你好世界", "🙂🚀é ", "0123456789", "кот ")
COMPLETE = Ending.complete(FinishReason.STOP)

LOSE_TAIL = """
if redis.call('HGET', KEYS[1], 'state') ~= 'running' then
    return 0
end
local text = redis.call('GET', KEYS[2]) or ''
local kept = math.max(0, #text - tonumber(ARGV[1]))
while kept > 0 and kept < #text do
    local byte = string.byte(text, kept + 1)
    if byte < 128 or byte > 191 then
        break
    end
    kept = kept - 1
end
redis.call('SET', KEYS[2], string.sub(text, 1, kept), 'KEEPTTL')
return #text - kept
"""
"""Redis fails over: the last bytes of a running answer, whole characters, were never written."""


async def pause(seconds: float) -> None:
    """Let real time pass: of what makes a storm nothing tells when it is to come."""
    # Nothing is waited for: this is the time between two tokens, two faults, two visits.
    await asyncio.sleep(seconds)


class FaultyBells:
    """Bells of which a quarter are lost, an eighth come twice, and a tenth late."""

    def __init__(self, bells: Bells, rng: random.Random) -> None:
        self._bells = bells
        self._rng = rng
        self.lost = 0

    async def subscribe(
        self, channel: str, ring: Callable[[bytes], None], doubt: Callable[[], None]
    ) -> Callable[[], None]:
        """As the real ones, but for the bells."""

        def hear(data: bytes) -> None:
            chance = self._rng.random()
            if chance < 0.25:
                self.lost += 1
            elif chance < 0.35:
                asyncio.get_running_loop().call_later(self._rng.uniform(0, 0.08), ring, data)
            else:
                ring(data)
                if chance > 0.875:
                    ring(data)

        return await self._bells.subscribe(channel, hear, doubt)

    async def close(self) -> None:
        await self._bells.close()


class Reader:
    """Reads one answer to its end, here and there."""

    def __init__(self, stream_id: str, storm: Storm, rng: random.Random) -> None:
        self.stream_id = stream_id
        self.text = b""
        self.is_done = False
        self.rewinds = 0
        self._storm = storm
        self._rng = rng
        self._record: StreamRecord | None = None

    async def read(self) -> None:
        """Until the end is seen."""
        while not self.is_done:
            gateway = self._rng.choice(self._storm.gateways)
            try:
                opened = await gateway.open(self.stream_id)
                assert opened is not None, "an answer is gone"
                self._enter(opened[0], await gateway.place(self.stream_id, len(self.text)))
            except StoreUnavailable:
                await pause(0.02)
                continue
            await pause(self._rng.uniform(0.01, 0.25))
            opened[0].watchers.discard(self)
            self._record = None
            gateway.release(self.stream_id)

    def wake(self) -> None:
        """The mirror has changed."""
        record = self._record
        if record is None:
            return
        have, length = len(self.text), len(record.transcript)
        assert have <= length, "a reader is ahead of its mirror"
        self.text += record.transcript.slice(have, length).encode()
        self.is_done = record.is_ended

    def rewound(self, offset: int) -> None:
        """The mirror was cut."""
        if len(self.text) > offset:
            self.text = self.text[:offset]
            self.rewinds += 1

    def _enter(self, record: StreamRecord, stands: int) -> None:
        assert stands <= len(self.text)
        self.text = self.text[:stands]
        self._record = record
        record.watchers.add(self)
        self.wake()


class Storm:
    """Answers, who writes them, who reads them, and what breaks."""

    def __init__(self, url: str, seed: int, stack: AsyncExitStack) -> None:
        self.url = url
        self.rng = random.Random(seed)
        self.stack = stack
        self.gateways: list[RedisStreams] = []
        self.readers: list[Reader] = []
        self.writers: dict[str, list[LogWriter]] = {}
        self.takeovers = self.tails = self.cuts = self.fenced = 0
        self._bells: list[FaultyBells] = []
        self.link = self._open_link()

    @property
    def lost_bells(self) -> int:
        return sum(bells.lost for bells in self._bells)

    async def run(self, answers: int, readers: int) -> None:
        """All answers, to all readers' ends."""
        for number in range(3):
            self._open_gateway(f"nod_{number}")
        work = []
        for number in range(answers):
            stream_id = f"str_{number}"
            self.writers[stream_id] = []
            await self.gateways[0].create(StreamRecord(stream_id, "model", 0.0), b"")
            work.append(self._write(stream_id))
            for _ in range(readers):
                reader = Reader(stream_id, self, random.Random(self.rng.random()))
                self.readers.append(reader)
                work.append(reader.read())
        await self.link.ping()
        async with asyncio.TaskGroup() as group:
            breaking = [
                group.create_task(self._break_connections()),
                group.create_task(self._lose_tails()),
            ]
            await asyncio.gather(*work)
            for task in breaking:
                task.cancel()

    async def final(self, stream_id: str) -> bytes:
        """An answer's text in Redis."""
        return bytes(await self.link.command("GET", stream_keys(stream_id)[1]))

    def _open_link(self) -> RedisLink:
        link = RedisLink.open(self.url)
        self.stack.push_async_callback(link.close)
        return link

    def _open_gateway(self, node: str) -> None:
        link = self._open_link()
        bells = FaultyBells(link.bells, random.Random(self.rng.random()))
        self._bells.append(bells)
        link.bells = cast(Bells, bells)
        gateway = RedisStreams(link, node, retention=60, patience=0.2)
        gateway.on_rewind = _tell_watchers
        self.stack.push_async_callback(gateway.close)
        self.gateways.append(gateway)

    async def _write(self, stream_id: str) -> None:
        """Have one worker after the other write an answer, until it has ended."""
        goal = self.rng.randint(60, 160)
        zombies = []
        for number in range(100):
            log = RedisStreamLog(self._open_link(), retention=60)
            work = asyncio.ensure_future(self._work(log, stream_id, number, goal))
            verdict = await asyncio.wait_for(asyncio.shield(work), 30)
            if verdict == "ended":
                break
            self.takeovers += 1
            if verdict == "paused":  # it comes back, and finds another at its place
                zombies.append(asyncio.ensure_future(self._come_back(log, stream_id)))
        await asyncio.gather(*zombies)

    async def _work(self, log: RedisStreamLog, stream_id: str, number: int, goal: int) -> str:
        """One claim; how it went."""
        rng = self.rng
        claim = await log.claim(stream_id)
        if claim is None:
            return "ended"
        writing = log._writings[stream_id]
        self.writers[stream_id].append(writing.writer)
        if rng.random() < 0.5:
            writing.leave()  # deaf: Redis itself must refuse it
        finished: list[str] = []
        log.on_finished = finished.append
        offset, tokens = len(claim.text.encode()), claim.tokens
        alphabet = ALPHABETS[number % len(ALPHABETS)]
        while tokens < goal:
            text = "".join(rng.choices(alphabet, k=rng.randint(1, 6)))
            offset = log.append(stream_id, claim.fence, offset, text, 1)
            tokens += 1
            await pause(rng.uniform(0, 0.008))
            chance = rng.random()
            if chance < 0.03 and rng.random() < 0.5:
                await self._lose_tail(stream_id)
            if chance < 0.01:
                log._forget(writing)  # dead, with what it had not written
                return "dead"
            if chance < 0.03:
                return "paused"
            if chance < 0.035:
                log.release(stream_id, claim.fence)
                await log.close()
                return "released"
        log.finish(stream_id, claim.fence, offset, COMPLETE)
        await log.close()
        return "ended" if finished else "fenced"

    async def _come_back(self, log: RedisStreamLog, stream_id: str) -> None:
        """A worker that was only slow goes on writing until it is told not to."""
        await pause(self.rng.uniform(0.0, 0.2))
        record = log.get(stream_id)
        try:
            while record is not None:
                offset = len(record.transcript)
                log.append(stream_id, record.fence, offset, "zombie ", 1)
                await pause(0.01)
        except Fenced:
            self.fenced += 1

    async def _break_connections(self) -> None:
        """Cut all connections of some kind, at each host: replies and bells under way are lost."""
        while True:
            await pause(self.rng.uniform(0.05, 0.4))
            kind = self.rng.choice(("normal", "normal", "pubsub"))
            with suppress(StoreUnavailable):
                await self.link.everywhere("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
            self.cuts += 1

    async def _lose_tails(self) -> None:
        while True:
            await pause(self.rng.uniform(0.01, 0.1))
            await self._lose_tail(self.rng.choice(list(self.writers)))

    async def _lose_tail(self, stream_id: str) -> None:
        keys = stream_keys(stream_id)[:2]
        with suppress(StoreUnavailable):
            lane = self.link._hosts.lane_of(keys[0])
            lost = await lane.ask(("EVAL", LOSE_TAIL, 2, *keys, self.rng.randint(1, 60)))
            self.tails += isinstance(lost, int) and lost > 0


def _tell_watchers(record: StreamRecord, offset: int) -> None:
    for watcher in tuple(record.watchers):
        watcher.rewound(offset)
