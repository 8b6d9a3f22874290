"""What passes between llama.cpp's threads and the loop."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Iterator

import pytest

from wsserver.core.engine import Delta
from wsserver.engines.llamacpp.threads import Outbox, Pulse


@pytest.fixture
def outbox() -> Iterator[Outbox]:
    """An empty one."""
    outbox = Outbox()
    yield outbox
    outbox.close()


def is_readable(outbox: Outbox) -> bool:
    """Whether the outbox would wake a loop now."""
    return bool(select.select([outbox.fileno()], [], [], 0)[0])


def test_outbox_wakes_the_loop_until_it_is_empty(outbox: Outbox) -> None:
    """Something put makes the file readable, taking it all makes it quiet."""
    assert not is_readable(outbox)
    assert outbox.take() == []
    outbox.put(Delta("a", "x", 1))
    outbox.put(Delta("a", "y", 1))
    assert is_readable(outbox)
    assert outbox.take() == [Delta("a", "x", 1), Delta("a", "y", 1)]
    assert not is_readable(outbox)


def test_outbox_loses_nothing_between_threads(outbox: Outbox) -> None:
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


def test_call_is_a_sign_of_life_once() -> None:
    """A callback counts until the next look."""
    pulse = Pulse()
    pulse.was_felt()
    pulse.beat()
    assert pulse.was_felt()


def test_computing_is_a_sign_of_life() -> None:
    """A process that computes without a callback is alive: a long prompt batch."""
    pulse = Pulse()
    pulse.was_felt()
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    assert pulse.was_felt()


def test_silence_is_none() -> None:
    """Waiting without computing is what a hang looks like."""
    pulse = Pulse()
    pulse.was_felt()
    time.sleep(0.2)  # what is tested is time passing without work
    assert not pulse.was_felt()
