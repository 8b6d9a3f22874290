"""What a log that lives elsewhere tells of an answer: doorbells, unasked, and readings, asked for.

Doorbells are hints: they may be lost, doubled, late or out of order, so each carries all that is
needed to tell whether it fits. A reading is the truth of one moment.
"""

from __future__ import annotations

from typing import NamedTuple

from wsserver.core.streams.record import Ending
from wsserver_protocol.lifecycle import StreamState


class Appended(NamedTuple):
    """Doorbell: text was added at byte ``offset``, between characters."""

    fence: int
    offset: int
    data: bytes
    tokens: int  # of the whole answer, these included: a lost bell loses no count


class Claimed(NamedTuple):
    """Doorbell: a writer took over at ``base`` bytes (``release``: nobody has, yet)."""

    fence: int
    base: int
    state: StreamState = StreamState.RUNNING


class Ended(NamedTuple):
    """Doorbell: the answer is over, at ``total`` bytes."""

    fence: int
    total: int
    ending: Ending


Doorbell = Appended | Claimed | Ended


class Reading(NamedTuple):
    """The log at one moment: all fields belong together, so they are read in one atomic step."""

    fence: int
    bases: tuple[int, ...]  # the text's length at each claim, of fence 1 first
    state: StreamState
    length: int  # bytes
    tokens: int
    ending: Ending | None
    offset: int  # where ``data`` begins
    data: bytes  # everything from there; empty if the text is shorter
