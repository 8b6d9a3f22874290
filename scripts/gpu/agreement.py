"""Whether two greedy runs of the same prompts say the same, as far as half precision can tell.

Kernels add in different orders at different batch sizes, so that logits differ in their last bits.
Where the two best tokens are nearer to each other than that, runs may part, and after it all is
different. So tokens must be equal up to the first such near tie, and logits close up to there; a
parting where the tie was not near is a fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 0.05
"""Of logits, in units of the spread (standard deviation) of a step's logits."""


@dataclass(frozen=True)
class Greedy:
    """One answer: its tokens, and the logits that each was taken from (tokens, vocabulary)."""

    tokens: tuple[int, ...]
    logits: NDArray[np.float32]


@dataclass(frozen=True)
class Verdict:
    """How two answers compare.

    Attributes:
        same: Tokens before they part, or all.
        difference: Largest difference of logits in those steps, in spreads.
        gap: Between the two tokens where they part, in spreads; None if they don't.
    """

    same: int
    difference: float
    gap: float | None

    @property
    def agrees(self) -> bool:
        is_tie = self.gap is None or self.gap <= 2 * TOLERANCE
        return is_tie and self.difference <= TOLERANCE


def compare(one: Greedy, other: Greedy) -> Verdict:
    """Compare two answers to the same prompt, of the same length unless they part."""
    pairs = zip(one.tokens, other.tokens, strict=False)
    same = next((place for place, (a, b) in enumerate(pairs) if a != b), None)
    steps = min(len(one.tokens), len(other.tokens)) if same is None else same + 1
    difference = 0.0
    for step in range(steps):
        a, b = one.logits[step], other.logits[step]
        difference = max(difference, float(np.abs(a - b).max() / _spread(a)))
    if same is None:
        return Verdict(steps, difference, None)
    logits = one.logits[same]
    gap = abs(logits[one.tokens[same]] - logits[other.tokens[same]]) / _spread(logits)
    return Verdict(same, difference, float(gap))


def summary(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Of several answers: for a report."""
    gaps = [verdict.gap for verdict in verdicts if verdict.gap is not None]
    return {
        "answers": len(verdicts),
        "parted_at_near_ties": len(gaps),
        "fewest_same_tokens": min(verdict.same for verdict in verdicts),
        "largest_difference": round(max(verdict.difference for verdict in verdicts), 5),
        "largest_gap_at_a_parting": round(max(gaps, default=0.0), 5),
    }


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Likeness of two rows of logits: 1 for the same direction."""
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def _spread(logits: NDArray[np.float32]) -> float:
    return max(float(logits.std()), 1e-6)
