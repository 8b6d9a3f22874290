"""Whatever fails, every viewer's text is the answer's; and broken rules do not go unnoticed.

``SIMULATED_SEEDS=1000`` makes more runs of each scenario; `scripts/simulate_streams` prints them.
"""

from __future__ import annotations

import os

import pytest

from tests.core.streams.sabotage import Sabotage
from tests.core.streams.scenarios import (
    SCENARIOS,
    WORST,
    first_caught,
    simulate_many,
)
from tests.core.streams.simulator import simulate

SEEDS = int(os.environ.get("SIMULATED_SEEDS", "20"))
SEEDS_PER_SABOTAGE = 150


@pytest.mark.timeout(60 + SEEDS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_viewer_ends_with_the_bytes_of_the_answer(name: str) -> None:
    """Nobody is stuck, nobody's text differs, each gets one terminal event behind all text."""
    total = simulate_many(SCENARIOS[name], range(SEEDS))
    assert total.unsound == []
    assert (total.viewers, total.mismatches, total.stuck) == (16 * SEEDS, 0, 0)


@pytest.mark.parametrize("name", [n for n in SCENARIOS if not SCENARIOS[n].are_of_workers_or_store])
def test_without_faults_of_workers_or_store_no_byte_is_taken_back(name: str) -> None:
    """Lost doorbells, cuts and dead gateways alone never rewind anybody."""
    total = simulate_many(SCENARIOS[name], range(100_000, 100_000 + SEEDS // 4))
    assert (total.surplus, total.rewinds) == (0, 0)


def test_deaths_alone_take_nothing_back_from_viewers_who_know_their_fence() -> None:
    """A takeover goes on from exactly what the log has: who says its fence loses no byte."""
    faults = SCENARIOS["workers die"]
    known = type(faults)(**{**vars(faults), "knows_fence": 1.0})
    total = simulate_many(known, range(SEEDS // 2))
    assert total.takeovers > SEEDS // 2
    assert (total.unsound, total.surplus) == ([], 0)


@pytest.mark.parametrize("sabotage", Sabotage, ids=lambda s: s.name.lower())
def test_a_rule_broken_on_purpose_is_noticed(sabotage: Sabotage) -> None:
    """Each rule is there for a fault that happens: without it some run goes wrong."""
    outcome = first_caught(sabotage, range(SEEDS_PER_SABOTAGE))
    assert outcome is not None, f"nobody notices that {sabotage.value[1]}"


def test_each_of_the_eight_rules_is_broken_somewhere() -> None:
    """No rule is left out of the test above."""
    assert {sabotage.rule for sabotage in Sabotage} == set(range(1, 9))


def test_the_worst_scenario_is_as_bad_as_it_says() -> None:
    """The runs have what they are about: takeovers, lost tails, rewinds, many reconnects."""
    total = simulate_many(WORST, range(20))
    assert total.takeovers > 20
    assert total.losses > 20
    assert total.rewinds > 20
    assert total.connections > 2 * total.viewers


def test_a_seed_gives_the_same_run_again() -> None:
    """A failure can be looked into: everything in a run comes from its seed."""
    assert simulate(7, WORST) == simulate(7, WORST)
