"""Fixtures of the Python client's tests."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Iterator

import pytest

from wsserver_client import Backoff


class NoJitter(random.Random):
    """Draws the beginning of every range: a reconnect comes at once."""

    def uniform(self, a: float, b: float) -> float:
        return a


@pytest.fixture
def at_once() -> Backoff:
    """Reconnects without a delay."""
    return Backoff(NoJitter())


@pytest.fixture(autouse=True)
def nothing_is_passed_over(
    caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> Iterator[None]:
    """The client could read every frame, unless the test is about those that it cannot."""
    yield
    if "unreadable" not in request.node.name:
        records = caplog.get_records("call")
        assert [r.getMessage() for r in records if r.levelno >= logging.WARNING] == []


@pytest.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    """Whatever a test did, the client has ended all its tasks."""
    yield
    left = [task for task in asyncio.all_tasks() if task.get_name() == "wsserver-client"]
    assert left == []
