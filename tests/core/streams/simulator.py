"""One run of the whole simulated system, from a seed; what it found.

Virtual time, one thread, every choice from the seed: the same seed gives the same run.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from tests.core.streams.gateways import Gateway, SocketLine
from tests.core.streams.network import Faults, Network
from tests.core.streams.sabotage import Sabotage
from tests.core.streams.store import SimulatedStore
from tests.core.streams.viewers import Viewer
from tests.core.streams.virtual_loop import VirtualLoop
from tests.core.streams.workers import Supervisor
from wsserver.core.streams.doorbells import Doorbell, Ended
from wsserver.core.streams.follower import Cursor

ANSWERS = 4
GATEWAYS = 3
VIEWERS = 4  # an answer; the last comes late
PATIENCE = 60.0
"""Virtual seconds in which every answer must end, and then every viewer be done."""


@dataclass
class Outcome:
    """What one run showed."""

    seed: int
    viewers: int = 0
    mismatches: int = 0
    stuck: int = 0
    surplus: int = 0  # bytes delivered and rolled back
    rewinds: int = 0
    text: int = 0  # bytes, of all viewers' final texts
    received: int = 0  # bytes of text in frames
    connections: int = 0
    asks: int = 0  # of viewers who found a gap on a connection
    takeovers: int = 0
    losses: int = 0  # tails that the store lost
    seconds: float = 0.0  # virtual
    violations: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        return not (self.mismatches or self.stuck or self.violations)


class World:
    """All parts of one run."""

    def __init__(self, seed: int, faults: Faults, sabotage: Sabotage | None = None) -> None:
        self.faults = faults
        self.outcome = Outcome(seed)
        self.loop = VirtualLoop()
        self._rng = random.Random(seed)
        self._sabotage = sabotage
        self._network = Network(self.loop, faults, self._fork())
        self.store = SimulatedStore(self._publish, sabotage)
        self._gateways = [self._new_gateway() for _ in range(GATEWAYS)]
        self._viewers: list[Viewer] = []
        self._supervisors: list[Supervisor] = []
        for number in range(ANSWERS):
            self._begin(f"answer-{number}")
        if faults.gateway_dies:
            self.loop.call_later(self._rng.uniform(0.2, 0.8), self._replace_gateway)

    def run(self) -> Outcome:
        """Until everybody is done, or should be."""
        try:
            if not self._wait_for(lambda: all(boss.is_over for boss in self._supervisors)):
                self.outcome.violations.append("an answer never ends")
            self._wait_for(lambda: all(viewer.is_done for viewer in self._viewers))
            self.loop.run_to(self.loop.time() + 0.5)  # nothing may come after the end
            self._judge()
        finally:
            self._viewers.clear()  # they and their lines hold each other
            self.loop.close()
        return self.outcome

    def _wait_for(self, condition: Callable[[], bool]) -> bool:
        loop, outcome = self.loop, self.outcome
        end = loop.time() + PATIENCE
        while not condition() and loop.time() < end:
            if loop.failures or outcome.violations:
                break
            loop.run_to(loop.time() + 0.5)
        return condition()

    def _fork(self) -> random.Random:
        return random.Random(self._rng.random())

    def _begin(self, stream_id: str) -> None:
        self.store.create(stream_id)
        boss = Supervisor(
            stream_id,
            loop=self.loop,
            network=self._network,
            store=self.store,
            faults=self.faults,
            sabotage=self._sabotage,
            rng=self._fork(),
            violate=self.outcome.violations.append,
        )
        self._supervisors.append(boss)
        for number in range(VIEWERS):
            is_late = number == VIEWERS - 1
            viewer = Viewer(
                stream_id,
                loop=self.loop,
                connect=self._connect,
                rng=self._fork(),
                is_restless=number != 0 and not (is_late and self._rng.random() < 0.5),
                knows_fence=self._rng.random() < self.faults.knows_fence,
                is_one_text=boss.is_one_text,
                violate=self.outcome.violations.append,
            )
            self._viewers.append(viewer)
            begins = self._rng.uniform(0.1, 2.0) if is_late else self._rng.uniform(0, 0.1)
            self.loop.call_later(begins, viewer.come)

    def _new_gateway(self) -> Gateway:
        return Gateway(self.loop, self._network, self.store, self._fork(), self._sabotage)

    def _replace_gateway(self) -> None:
        self._gateways.pop(0).die()
        self.loop.call_later(0.1, lambda: self._gateways.append(self._new_gateway()))

    def _connect(self, viewer: Viewer, cursor: Cursor) -> SocketLine:
        return self._rng.choice(self._gateways).connect(viewer, cursor)

    def _publish(self, stream_id: str, bell: Doorbell) -> None:
        if isinstance(bell, Ended) and bell.total != len(self.store.answers[stream_id].text):
            self.outcome.violations.append(f"{stream_id}: ended at a length that it does not have")
        for gateway in self._gateways:
            self._network.ring(partial(gateway.ring, stream_id, bell))

    def _judge(self) -> None:
        outcome, answers = self.outcome, self.store.answers
        outcome.seconds = self.loop.time()
        outcome.violations += [f"raised {failure!r}" for failure in self.loop.failures]
        outcome.takeovers = sum(boss.workers - 1 for boss in self._supervisors)
        for stream_id, answer in answers.items():
            outcome.losses += answer.losses
            if answer.final is not None and answer.final != answer.text:
                outcome.violations.append(f"{stream_id}: the log changed after its end")
        for viewer in self._viewers:
            final = bytes(answers[viewer.stream_id].final or b"")
            outcome.viewers += 1
            outcome.stuck += not viewer.is_done
            outcome.mismatches += viewer.is_done and viewer.final != final
            outcome.surplus += viewer.surplus
            outcome.rewinds += viewer.rewinds
            outcome.text += len(final)
            outcome.received += viewer.received
            outcome.connections += viewer.connections
            outcome.asks += viewer.asks
        if outcome.asks:
            # A connection keeps the order, so whoever is let in where it stands sees no gap.
            outcome.violations.append(f"{outcome.asks} times a viewer found a gap")
        if outcome.surplus and not self.faults.are_of_workers_or_store:
            outcome.violations.append(f"{outcome.surplus} bytes delivered and rolled back")


def simulate(seed: int, faults: Faults, sabotage: Sabotage | None = None) -> Outcome:
    """Run one system to its end."""
    return World(seed, faults, sabotage).run()
