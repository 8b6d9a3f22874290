"""The simulator's store behind the port of stream logs, with a mirror that hears every doorbell.

It shows that store, follower and mirror together keep the same contract as a log in one process.
"""

from __future__ import annotations

import asyncio

from tests.core.streams.store import SimulatedStore
from wsserver.core.engine import TokenLogprob
from wsserver.core.streams import Claim, Ending, Fenced, StreamRecord
from wsserver.core.streams.doorbells import Doorbell
from wsserver.core.streams.follower import Follower, Step
from wsserver.core.streams.mirror import Mirror
from wsserver.core.streams.writer import Append, Finish, Refusal, Reply


class SimulatedLog:
    """A `StreamLog` over a store of its own."""

    def __init__(self) -> None:
        self._store = SimulatedStore(self._ring)
        self._mirrors: dict[str, Mirror] = {}

    def create(self, record: StreamRecord) -> None:
        self._store.create(record.stream_id)
        mirror = self._mirrors[record.stream_id] = Mirror(record, Follower(), lambda _: None)
        self._do(mirror, mirror.follower.begin(self._now()))

    def forget(self, stream_id: str) -> None:
        del self._mirrors[stream_id]
        del self._store.answers[stream_id]

    def get(self, stream_id: str) -> StreamRecord | None:
        mirror = self._mirrors.get(stream_id)
        return None if mirror is None else mirror.record

    async def claim(self, stream_id: str) -> Claim | None:
        held = self._store.claim(stream_id) if stream_id in self._mirrors else None
        return None if held is None else Claim(held.fence, held.text.decode(), held.tokens)

    def append(
        self,
        stream_id: str,
        fence: int,
        offset: int,
        text: str,
        tokens: int,
        logprobs: tuple[TokenLogprob, ...] | None = None,
    ) -> int:
        if stream_id not in self._mirrors:
            raise Fenced(stream_id)
        marks = self._store.answers[stream_id].marks
        before = max((count for length, count in marks if length <= offset), default=0)
        operation = Append(fence, offset, text.encode(), before + tokens)
        return self._checked(self._store.append(stream_id, operation), stream_id)

    def finish(self, stream_id: str, fence: int, total: int, ending: Ending) -> None:
        self._checked(self._store.finish(stream_id, Finish(fence, total, ending)), stream_id)

    def cancel(self, stream_id: str, ending: Ending) -> bool:
        if stream_id not in self._mirrors or not self._store.cancel(stream_id, ending):
            return False
        self._mirrors[stream_id].record.cancel = ending
        return True

    def release(self, stream_id: str, fence: int) -> None:
        if not self._store.release(stream_id, fence):
            raise Fenced(stream_id)
        self._mirrors[stream_id].record.attempts += 1

    @staticmethod
    def _checked(reply: Reply, stream_id: str) -> int:
        if reply.refusal is Refusal.FENCED:
            raise Fenced(stream_id)
        if reply.refusal is Refusal.SHORT:
            raise ValueError(f"the text ends at {reply.length}")
        return reply.length

    def _ring(self, stream_id: str, bell: Doorbell) -> None:
        mirror = self._mirrors[stream_id]
        self._do(mirror, mirror.follower.ring(bell, self._now()))

    def _do(self, mirror: Mirror, steps: list[Step]) -> None:
        wanted = mirror.apply(steps, self._now())
        if wanted is not None:
            reading = self._store.read(mirror.record.stream_id, wanted.offset)
            self._do(mirror, mirror.follower.read(wanted.number, reading, self._now()))

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
