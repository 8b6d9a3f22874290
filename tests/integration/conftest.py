"""Fixtures of the tests with whole processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redis import RedisProcess, running_redis


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisProcess]:
    """A Redis of the test's own, which it may kill."""
    with running_redis(tmp_path) as running:
        yield running
