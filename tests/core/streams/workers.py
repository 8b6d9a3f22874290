"""The writing side of the simulated system: workers that die, come back too late, and differ.

Every worker makes a text of its own. So text of one that was taken over, wherever it ends up, is
a difference that some check sees.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.core.streams.network import Faults, Network
from tests.core.streams.sabotage import Sabotage
from tests.core.streams.store import Held, SimulatedStore
from tests.core.streams.virtual_loop import VirtualLoop
from wsserver.core.streams.record import Ending
from wsserver.core.streams.writer import Append, Finish, LogWriter, Refusal, Reply, Seal
from wsserver_protocol.errors import ErrorCode
from wsserver_protocol.lifecycle import FinishReason, StopReason

ALPHABETS = ("abcdefg ", "äöüß ", "你好世界", "🙂🚀é ", "0123456789", "кот ")
ALIGNED = 12
"""Bytes of an aligned token: a multiple of all lengths of a character."""

CANCELLED = Ending.stopped(StopReason.CLIENT, "someone")
GIVEN_UP = Ending.error(ErrorCode.GENERATION_FAILED, "the worker is gone", retryable=True)
COMPLETE = Ending.complete(FinishReason.STOP)


class Supervisor:
    """Sees to it that one answer has a worker until it ends."""

    def __init__(
        self,
        stream_id: str,
        *,
        loop: VirtualLoop,
        network: Network,
        store: SimulatedStore,
        faults: Faults,
        sabotage: Sabotage | None,
        rng: random.Random,
        violate: Callable[[str], None],
    ) -> None:
        self.stream_id = stream_id
        self.loop = loop
        self.network = network
        self.store = store
        self.faults = faults
        self.sabotage = sabotage
        self.rng = rng
        self.violate = violate
        self.goal = rng.randint(20, 250)  # tokens
        # All flushes have one length, whoever makes them: texts that differ and yet fit together
        # at every seam hide mistakes best.
        self.is_aligned = rng.random() < 0.5
        self.workers = 0
        self.writers: list[LogWriter] = []
        # Deaths come in storms: claims that follow each other closely are what fences are for.
        self.deaths = faults.deaths * rng.choice((0.2, 0.5, 1.0, 4.0))
        loop.call_later(rng.uniform(0, 0.2), self.hire)
        if rng.random() < faults.cancelled:
            loop.call_later(rng.uniform(0, 1.5), store.cancel, stream_id, CANCELLED)

    def is_one_text(self, text: bytes) -> bool:
        """Whether some writer said that, as the beginning of its whole answer."""
        return not text or any(writer.text.startswith(text) for writer in self.writers)

    @property
    def is_over(self) -> bool:
        return self.store.answers[self.stream_id].ending is not None

    def hire(self) -> None:
        if not self.is_over:
            self.workers += 1
            Worker(self, self.workers).claim()

    def lost(self, worker: Worker) -> None:
        """A worker does not renew its lease: what becomes of its answer."""
        if self.is_over:
            return
        wait = self.rng.uniform(0.02, 0.15)
        if self.rng.random() < self.faults.given_up:
            self.loop.call_later(wait, self.end, GIVEN_UP)
        elif self.rng.random() < 0.2:
            self.loop.call_later(wait, self.release, worker)
        else:
            self.loop.call_later(wait, self.hire)

    def release(self, worker: Worker) -> None:
        """Give its claim back in its name, and have the answer taken up."""
        fence = worker.writer.fence if worker.writer is not None else 0
        self.network.call(
            lambda: self.store.release(self.stream_id, fence),
            lambda _: self.hire(),
            self.hire,
        )

    def end(self, ending: Ending) -> None:
        """End the answer with the text that it has, under its newest fence."""
        if self.is_over:
            return

        def seen(at: tuple[int, int]) -> None:
            finish = Finish(at[0], at[1], ending)
            self.network.call(lambda: self.store.finish(self.stream_id, finish), again, retry)

        def again(reply: Reply) -> None:
            if reply.refusal is not None:
                retry()

        def retry() -> None:
            self.loop.call_later(0.005, self.end, ending)

        def look() -> tuple[int, int]:
            answer = self.store.answers[self.stream_id]
            return answer.fence, len(answer.text)

        self.network.call(look, seen, retry)


class Worker:
    """Makes the answer from the text that its claim gave."""

    def __init__(self, supervisor: Supervisor, number: int) -> None:
        self.boss = supervisor
        self.writer: LogWriter | None = None
        self._rng = random.Random(supervisor.rng.random())
        self._alphabet = ALPHABETS[number % len(ALPHABETS)]
        self._interval = self._rng.uniform(0.005, 0.04)
        self._is_sending = False
        self._has_all = False
        self._is_dead = False
        self._tokens = 0

    def claim(self) -> None:
        boss, store = self.boss, self.boss.store
        self._lose_tail(boss.faults.lost_tails * 5)
        match boss.sabotage:
            case Sabotage.CLAIM_READS_TEXT_SEPARATELY:
                answer = store.answers[boss.stream_id]
                text, tokens = bytes(answer.text), answer.tokens
                boss.loop.call_later(0.01, self._claim_with, text, tokens)
            case Sabotage.CLAIM_READS_TEXT_AFTERWARDS:
                boss.network.call(
                    lambda: store.claim(boss.stream_id), self._read_afterwards, self.claim
                )
            case _:
                boss.network.call(lambda: store.claim(boss.stream_id), self._claimed, self.claim)

    def _claim_with(self, text: bytes, tokens: int) -> None:
        held = self.boss.store.claim(self.boss.stream_id)
        self._claimed(None if held is None else Held(held.fence, text, tokens))

    def _read_afterwards(self, held: Held | None) -> None:
        def read() -> None:
            answer = self.boss.store.answers[self.boss.stream_id]
            self._claimed(held and Held(held.fence, bytes(answer.text), answer.tokens))

        self.boss.loop.call_later(0.03, read)

    def _claimed(self, held: Held | None) -> None:
        boss = self.boss
        if held is None:  # it has ended, or is to end and nobody is at it
            boss.end(CANCELLED)
            return
        self.writer = LogWriter(held.fence, held.text, held.tokens)
        boss.writers.append(self.writer)
        self._tokens = held.tokens
        boss.loop.call_later(self._interval, self._flush)

    def _flush(self) -> None:
        """Make some tokens and send what is due; now and then, fail."""
        boss, writer, rng = self.boss, self.writer, self._rng
        assert writer is not None
        if writer.is_over or self._is_dead:
            return
        if not self._has_all:
            self._make(writer)
        self._lose_tail(boss.faults.lost_tails)
        if rng.random() < boss.deaths:
            self._lose_tail(boss.faults.lost_tails * 10)
            self._fail()
        else:
            boss.loop.call_later(self._interval, self._flush)
        self._send()

    def _make(self, writer: LogWriter) -> None:
        for _ in range(2 if self.boss.is_aligned else self._rng.randint(1, 4)):
            if self._tokens < self.boss.goal:
                writer.write(self._token(), 1)
                self._tokens += 1
        if writer.is_cancelled or self._tokens >= self.boss.goal:
            self._has_all = True
            writer.finish(CANCELLED if writer.is_cancelled else COMPLETE)

    def _token(self) -> bytes:
        chosen = self._rng.choices(self._alphabet, k=self._rng.randint(1, 6))
        if not self.boss.is_aligned:
            return "".join(chosen).encode()
        character = chosen[0].encode()
        return character * (ALIGNED // len(character))

    def _lose_tail(self, probability: float) -> None:
        """The store may fail over, at about this moment: before or after the next operations."""
        boss, rng = self.boss, self._rng
        if rng.random() < probability:
            boss.loop.call_later(
                rng.uniform(0, 0.05), boss.store.lose_tail, boss.stream_id, rng.randint(1, 6)
            )

    def _fail(self) -> None:
        """Die, or seem to: pause, and come back as if nothing had been; or only lose the lease."""
        chance = self._rng.random()
        if chance < 0.4:
            self._is_dead = True
        elif chance < 0.8:
            self.boss.loop.call_later(self._rng.uniform(0.01, 0.4), self._flush)
        else:
            self.boss.loop.call_later(self._interval, self._flush)
        self.boss.lost(self)

    def _send(self) -> None:
        writer = self.writer
        assert writer is not None
        operation = writer.next_operation()
        if operation is None or self._is_sending:
            return
        assert not isinstance(operation, Seal), "no session or room has these answers"
        self._is_sending = True
        self.boss.network.call(
            lambda: self._do(operation),
            lambda reply: self._replied(operation, reply),
            self._not_replied,
        )

    def _do(self, operation: Append | Finish) -> Reply:
        """At the store."""
        store, stream_id = self.boss.store, self.boss.stream_id
        if isinstance(operation, Append):
            return store.append(stream_id, operation)
        reply = store.finish(stream_id, operation)
        assert self.writer is not None
        if reply.refusal is None and store.answers[stream_id].text != self.writer.text:
            self.boss.violate(f"{stream_id}: the log's text is not its last writer's")
        return reply

    def _replied(self, operation: Append | Finish, reply: Reply) -> None:
        self._is_sending = False
        assert self.writer is not None
        self.writer.replied(operation, reply)
        is_urgent = isinstance(self.writer.next_operation(), Finish)
        if (is_urgent or reply.refusal is Refusal.SHORT) and not self._is_dead:
            self._send()

    def _not_replied(self) -> None:
        self._is_sending = False
        if not self._is_dead:
            self._send()
