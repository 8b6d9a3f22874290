"""Estimates of a load's progress."""

from __future__ import annotations

import os

from wsserver.engines.loading import LoadEstimate, resident_bytes


def test_share_of_the_file_in_memory_is_the_progress() -> None:
    """What the process gained since the load began, of the file's size; never down, never 1."""
    readings = iter([50, 50, 250, 150, 5000])
    estimate = LoadEstimate(400, lambda: next(readings), clock=lambda: 0.0)
    told = [estimate.now() for _ in range(4)]
    assert [progress.progress for progress in told] == [0.0, 0.5, 0.5, 0.99]
    assert all(progress.estimated and progress.stage == "loading" for progress in told)
    assert [progress.bytes_done for progress in told] == [0, 200, 200, 396]
    assert {progress.bytes_total for progress in told} == {400}


def test_time_stands_in_for_what_cannot_be_seen() -> None:
    """Where memory can't be read, the progress rises with time and never arrives."""
    now = iter(range(0, 1000, 10))
    estimate = LoadEstimate(5_000_000_000, lambda: None, clock=lambda: float(next(now)))
    told = [estimate.now().progress for _ in range(20)]
    assert told == sorted(told)
    assert 0.4 < told[0] < 0.8
    assert told[-1] == 0.99


def test_memory_of_a_process_is_read() -> None:
    """Of this process there is some, of none there is none."""
    resident = resident_bytes(os.getpid())
    assert resident is None or resident > 1_000_000
    assert resident_bytes(2**22 + 1) is None


def test_file_that_is_missing_is_the_engines_to_tell() -> None:
    """An estimate of a file that is not there does not fail."""
    estimate = LoadEstimate.of_process(os.getpid(), "/nowhere/x.gguf")
    assert 0 <= estimate.now().progress < 1
