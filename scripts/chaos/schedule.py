"""When what breaks: the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

WEIGHTS = {"storm": 1, "worker_frozen": 2}
"""Of kinds that are rarer than the others, which have 4."""

LONGEST = ("worker_frozen", "storm", "gateway_killed", "worker_killed")
"""A dead node is missed when its lease has run out, and its clients when their window has."""


class Blow(NamedTuple):
    """A fault that is to come, ``at`` seconds after the first client."""

    at: float
    kind: str


def plan(seed: int, seconds: float, kinds: Sequence[str], every: float) -> list[Blow]:
    """Faults over a time: each kind once in the first part, in some order, and then at random.

    Args:
        seed: Decides all of it.
        seconds: How long there may be blows.
        kinds: Which.
        every: Seconds from one to the next, on average.
    """
    if not kinds:
        return []
    rng = random.Random(seed)
    first = list(kinds)
    rng.shuffle(first)
    # What takes longest to be over comes first: a short run is to see its end.
    first.sort(key=lambda kind: kind not in LONGEST)
    gap = min(every, seconds / (len(first) + 1))
    blows, at = [], gap
    for kind in first:
        blows.append(Blow(round(at, 2), kind))
        at += gap
    weights = [WEIGHTS.get(kind, 4) for kind in kinds]
    while (at := at + rng.expovariate(1 / every)) < seconds:
        blows.append(Blow(round(at, 2), rng.choices(kinds, weights)[0]))
    return blows
