"""Fixtures of the tests with whole processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redis import RedisProcess, redis_is_installed, running_redis


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisProcess]:
    """A Redis of the test's own, which it may kill."""
    if not redis_is_installed():
        pytest.skip("redis-server is not installed (package redis-server)")
    with running_redis(tmp_path) as running:
        yield running
