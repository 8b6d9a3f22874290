"""Which runs are made: how bad each scenario is, and what many runs of it add up to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.core.streams.network import Faults
from tests.core.streams.sabotage import Sabotage
from tests.core.streams.simulator import Outcome, simulate


def _doorbells(lost: float) -> Faults:
    return Faults(lost_bells=lost, disorder=0.1, deafness=0.01, gateway_dies=True, cancelled=0.15)


def _everything(lost: float, knows_fence: float) -> Faults:
    return Faults(
        lost_bells=lost,
        disorder=0.1,
        deafness=0.03,
        gateway_dies=True,
        cancelled=0.15,
        lost_replies=0.02,
        deaths=0.04,
        lost_tails=0.04,
        given_up=0.15,
        knows_fence=knows_fence,
    )


SCENARIOS: dict[str, Faults] = {
    "nothing fails": Faults(),
    "a gateway dies": Faults(gateway_dies=True, cancelled=0.15),
    "10 % of the doorbells are lost": _doorbells(0.1),
    "half of the doorbells are lost": _doorbells(0.5),
    "workers die": Faults(lost_bells=0.1, disorder=0.1, deaths=0.04, gateway_dies=True),
    "the store loses tails and replies": Faults(
        lost_bells=0.1, disorder=0.1, lost_tails=0.04, lost_replies=0.05, gateway_dies=True
    ),
    "everything, fences known": _everything(0.25, 1.0),
    "everything, offsets only": _everything(0.25, 0.0),
    "everything, half of the doorbells": _everything(0.5, 0.5),
}

QUIET = SCENARIOS["10 % of the doorbells are lost"]
WORST = _everything(0.25, 0.5)


@dataclass
class Total:
    """What many runs add up to."""

    runs: int = 0
    viewers: int = 0
    mismatches: int = 0
    stuck: int = 0
    surplus: int = 0
    rewinds: int = 0
    text: int = 0
    connections: int = 0
    asks: int = 0
    takeovers: int = 0
    losses: int = 0
    unsound: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.runs += 1
        self.viewers += outcome.viewers
        self.mismatches += outcome.mismatches
        self.stuck += outcome.stuck
        self.surplus += outcome.surplus
        self.rewinds += outcome.rewinds
        self.text += outcome.text
        self.connections += outcome.connections
        self.asks += outcome.asks
        self.takeovers += outcome.takeovers
        self.losses += outcome.losses
        if not outcome.is_sound:
            self.unsound.append(outcome)

    def __str__(self) -> str:
        each = max(1, self.viewers)
        return (
            f"{self.viewers} viewers, {self.connections} connections, {self.asks} asks, "
            f"{self.takeovers} takeovers, {self.losses} lost tails: "
            f"{self.mismatches} mismatches, {self.stuck} stuck, {len(self.unsound)} unsound runs, "
            f"{self.surplus / each:.1f} of {self.text / each:.0f} bytes a viewer rolled back"
        )


def simulate_many(faults: Faults, seeds: Iterable[int]) -> Total:
    """One run for each seed."""
    total = Total()
    for seed in seeds:
        total.add(simulate(seed, faults))
    return total


def first_caught(sabotage: Sabotage, seeds: Iterable[int]) -> Outcome | None:
    """The first run in which the simulator notices what is broken; None: it never does."""
    for seed in seeds:
        for faults in (QUIET, WORST):
            outcome = simulate(seed, faults, sabotage)
            if not outcome.is_sound:
                return outcome
    return None
