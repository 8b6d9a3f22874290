"""The follower under any history of claims, appends, losses, bells and readings."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.streams.sabotage import FencesGoUnnoticed, GapsGoUnnoticed, OnlyTheLastBase
from tests.core.streams.store import SimulatedStore
from wsserver.core.streams.doorbells import Doorbell, Reading
from wsserver.core.streams.follower import Follower, Read, Rewind, Step, Take
from wsserver.core.streams.writer import Append


class History:
    """A log with its writers, the bells and readings that are still under way, and a mirror."""

    def __init__(self, follower: Follower) -> None:
        self.bells: list[Doorbell] = []
        self.readings: list[tuple[int, Reading | None]] = []
        self.store = SimulatedStore(lambda _, bell: self.bells.append(bell))
        self.store.create("s")
        self.texts: dict[int, bytes] = {0: b""}  # by fence, all that its writer said
        self.follower = follower
        self.mirror = b""
        self.do(self.follower.begin(0))

    @property
    def log(self) -> bytes:
        return bytes(self.store.answers["s"].text)

    def do(self, steps: list[Step]) -> None:
        for step in steps:
            match step:
                case Read(number, offset):
                    self.readings.append((number, self.store.read("s", offset)))
                case Take(data):
                    self.mirror += data
                case Rewind(offset):
                    assert offset < len(self.mirror)
                    self.mirror = self.mirror[:offset]
        assert len(self.mirror) == self.follower.have
        assert self.texts[self.follower.fence].startswith(self.mirror)

    def take(self, action: str, number: int) -> None:
        """One thing happens; the mirror must stay a beginning of its fence's text."""
        fence = self.store.answers["s"].fence
        match action:
            case "claim":
                held = self.store.claim("s")
                assert held is not None
                self.texts[held.fence] = held.text
            case "append" if fence:
                self.texts[fence] += f"{fence}:{number} ".encode()
                at = len(self.log)
                self.store.append("s", Append(fence, at, self.texts[fence][at:], 1))
            case "lose":
                self.store.lose_tail("s", 1 + number % 3)
            case "ring" if self.bells:
                bell = self.bells[number % len(self.bells)]  # stays: it may come again
                self.do(self.follower.ring(bell, 0))
            case "reply" if self.readings:
                self.do(self.follower.read(*self.readings.pop(number % len(self.readings)), 0))
            case "doubt":
                self.do(self.follower.doubt(0))

    def settle(self) -> None:
        """All readings come, and one that was begun after everything else."""
        self.do(self.follower.doubt(0))
        while self.readings:
            self.do(self.follower.read(*self.readings.pop(0), 0))


NAMES = ["claim", "append", "append", "lose", "ring", "ring", "ring", "reply", "doubt"]
ACTIONS = st.tuples(st.sampled_from(NAMES), st.integers(0, 60))


@settings(max_examples=200, deadline=None)
@given(st.lists(ACTIONS, min_size=40, max_size=60))
def test_under_any_history_the_mirror_is_a_beginning_of_its_writer_s_text(
    actions: list[tuple[str, int]],
) -> None:
    """Bells lost, doubled, in any order, readings overtaken: never a byte of another text, and
    with a last reading all that the log has."""
    run_history(Follower(), actions)


def run_history(follower: Follower, actions: list[tuple[str, int]]) -> None:
    history = History(follower)
    for action, number in actions:
        history.take(action, number)
    history.settle()
    assert history.follower.fence == history.store.answers["s"].fence
    assert history.mirror.startswith(history.log)


@pytest.mark.parametrize("broken", [OnlyTheLastBase, FencesGoUnnoticed, GapsGoUnnoticed])
def test_a_follower_that_breaks_a_rule_fails_that(broken: type[Follower]) -> None:
    """The property above is one that can be missed."""
    rng = random.Random(1)
    with pytest.raises(AssertionError):
        for _ in range(500):
            actions = [(rng.choice(NAMES), rng.randint(0, 60)) for _ in range(60)]
            run_history(broken(), actions)
