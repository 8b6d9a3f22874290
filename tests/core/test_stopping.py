"""The wish that a process ends, and who is in a hurry."""

from __future__ import annotations

import signal

import pytest

from wsserver.core.stopping import Stopping

TERM, INT = signal.SIGTERM, signal.SIGINT


@pytest.mark.parametrize(
    ("signals", "is_hurried"),
    [
        ([TERM], False),
        ([INT], False),
        ([TERM, TERM, TERM], False),
        ([INT, INT], True),
        ([TERM, INT], True),
        ([INT, TERM], True),
    ],
)
async def test_only_an_interrupt_hurries(signals: list[signal.Signals], is_hurried: bool) -> None:
    """One signal ends; SIGTERM may come more than once of one wish; Ctrl-C comes from a person."""
    stopping = Stopping()
    for number in signals:
        stopping.take(number)
    assert stopping.begun.is_set()
    assert stopping.hurried.is_set() == is_hurried
