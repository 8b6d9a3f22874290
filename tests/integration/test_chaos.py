"""The short run of chaos: a fleet of real processes is broken in every way, and nobody notices."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from scripts.chaos.faults import possible
from scripts.chaos.run import Plan, Run
from tests.support.redis import redis_is_installed

pytestmark = pytest.mark.skipif(
    not redis_is_installed(), reason="redis-server is not installed (package redis-server)"
)

USUAL = possible(is_cluster=False, is_apart=False)


@pytest.mark.timeout(300)  # a minute where nothing else runs
def test_a_storm_is_not_noticed(tmp_path: Path) -> None:
    """Every kind of fault once, under forty clients that stream, stop, drop, resume, and talk and
    ask in rooms: no wrong byte, one end for each request, one log for all of a room, and nothing
    left behind."""
    chaos = Run(Plan(seed=7, seconds=24, clients=40, faults=USUAL, every=1.5, window=6), tmp_path)
    asyncio.run(chaos.go())
    assert chaos.book.violations == []
    assert set(chaos.faults) == set(USUAL)
    result = chaos.result()
    assert result["outcomes"]["stream_complete"] > 0
    assert result["bytes_compared"] > 0
    assert result["rooms"]["entries_compared"] > 0
