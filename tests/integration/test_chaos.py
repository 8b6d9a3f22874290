"""The short run of chaos: a fleet of real processes is broken in every way, and nobody notices."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from scripts.chaos.faults import possible
from scripts.chaos.run import Plan, Run
from tests.support.redis import redis_is_installed

pytestmark = pytest.mark.skipif(
    not redis_is_installed(), reason="redis-server is not installed (package redis-server)"
)

USUAL = possible(is_cluster=False, is_apart=False)

LOSING = ["redis_emptied", "redis_lost_tail", "gateway_killed", "worker_killed"]


def storm(plan: Plan, folder: Path) -> dict[str, Any]:
    """A run that nobody may notice. Returns its result."""
    chaos = Run(plan, folder)
    asyncio.run(chaos.go())
    assert chaos.book.violations == []
    assert set(chaos.faults) == set(plan.faults)
    result = chaos.result()
    assert result["outcomes"]["stream_complete"] > 0
    assert result["bytes_compared"] > 0
    return result


@pytest.mark.timeout(300)  # a minute where nothing else runs
def test_a_storm_is_not_noticed(tmp_path: Path) -> None:
    """Every kind of fault once, under forty clients that stream, stop, drop, resume and ask again,
    and talk and ask in rooms: no wrong byte, one end for each request, one log for all of a room,
    and nothing left behind."""
    plan = Plan(7, 24, 40, USUAL, every=1.5, window=6)
    assert storm(plan, tmp_path)["rooms"]["entries_compared"] > 0


@pytest.mark.timeout(300)  # likewise
def test_a_redis_that_loses_data_is_made_good(tmp_path: Path) -> None:
    """Redis comes back empty, or without what it was told last, while processes die: each request
    has one end, each room one log for all who are there, and nothing and nobody is left behind."""
    storm(Plan(204, 16, 30, LOSING, every=2.0, window=6), tmp_path)
