"""Signs of life of llama.cpp's threads."""

from __future__ import annotations

import time

from wsserver.engines.llamacpp.threads import Pulse


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
