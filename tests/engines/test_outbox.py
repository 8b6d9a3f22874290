"""What passes between an engine's threads and the child's loop."""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator

import pytest

from wsserver.core.engine import Delta
from wsserver.engines.contract import EngineOutput
from wsserver.engines.outbox import Outbox


@pytest.fixture
def outbox() -> Iterator[Outbox[EngineOutput]]:
    """An empty one."""
    outbox: Outbox[EngineOutput] = Outbox()
    yield outbox
    outbox.close()


def is_readable(outbox: Outbox[EngineOutput]) -> bool:
    """Whether the outbox would wake a loop now."""
    return bool(select.select([outbox.fileno()], [], [], 0)[0])


def test_outbox_wakes_the_loop_until_it_is_empty(outbox: Outbox[EngineOutput]) -> None:
    """Something put makes the file readable, taking it all makes it quiet."""
    assert not is_readable(outbox)
    assert outbox.take() == []
    outbox.put(Delta("a", "x", 1))
    outbox.put(Delta("a", "y", 1))
    assert is_readable(outbox)
    assert outbox.take() == [Delta("a", "x", 1), Delta("a", "y", 1)]
    assert not is_readable(outbox)


def test_outbox_loses_nothing_between_threads(outbox: Outbox[EngineOutput]) -> None:
    """What many threads put while the loop takes comes out once, each thread's in order."""

    def put(name: str) -> None:
        for number in range(500):
            outbox.put(Delta(name, str(number), 1))

    threads = [threading.Thread(target=put, args=(str(name),)) for name in range(4)]
    for thread in threads:
        thread.start()
    taken: dict[str, list[str]] = {}
    while sum(map(len, taken.values())) < 2000:
        assert select.select([outbox.fileno()], [], [], 10)[0]
        for output in outbox.take():
            assert isinstance(output, Delta)
            taken.setdefault(output.job_id, []).append(output.text)
    for thread in threads:
        thread.join()
    assert all(texts == [str(n) for n in range(500)] for texts in taken.values())
