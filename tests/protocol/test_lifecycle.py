"""The tables: every pair of state and step is either in them or raises."""

from __future__ import annotations

from itertools import product

import pytest

from wsserver_protocol.lifecycle import (
    CONNECTION_STEPS,
    STREAM_STEPS,
    ConnectionState,
    ConnectionStep,
    IllegalStep,
    StreamState,
    StreamStep,
    next_connection_state,
    next_stream_state,
)

LEGAL_CONNECTION_STEPS = {
    ("awaiting_auth", "authenticate"): "open",
    ("awaiting_auth", "drain"): "draining",
    ("awaiting_auth", "close"): "closing",
    ("awaiting_auth", "lose"): "closed",
    ("open", "authenticate"): "open",
    ("open", "drain"): "draining",
    ("open", "close"): "closing",
    ("open", "lose"): "closed",
    ("draining", "authenticate"): "draining",
    ("draining", "close"): "closing",
    ("draining", "lose"): "closed",
    ("closing", "lose"): "closed",
}

LEGAL_STREAM_STEPS = {
    ("queued", "wait_for_model"): "loading",
    ("queued", "run"): "running",
    ("queued", "end"): "ended",
    ("loading", "queue"): "queued",
    ("loading", "run"): "running",
    ("loading", "end"): "ended",
    ("running", "queue"): "queued",
    ("running", "wait_for_model"): "loading",
    ("running", "end"): "ended",
    ("ended", "forget"): "gone",
}


@pytest.mark.parametrize(("state", "step"), list(product(ConnectionState, ConnectionStep)))
def test_connection_step(state: ConnectionState, step: ConnectionStep) -> None:
    """A step leads where this list says, or raises naming state and step."""
    following = LEGAL_CONNECTION_STEPS.get((state.value, step.value))
    if following is None:
        with pytest.raises(IllegalStep) as caught:
            next_connection_state(state, step)
        assert (caught.value.state, caught.value.step) == (state, step)
    else:
        assert next_connection_state(state, step).value == following


@pytest.mark.parametrize(("state", "step"), list(product(StreamState, StreamStep)))
def test_stream_step(state: StreamState, step: StreamStep) -> None:
    """A step leads where this list says, or raises naming state and step."""
    following = LEGAL_STREAM_STEPS.get((state.value, step.value))
    if following is None:
        with pytest.raises(IllegalStep) as caught:
            next_stream_state(state, step)
        assert (caught.value.state, caught.value.step) == (state, step)
    else:
        assert next_stream_state(state, step).value == following


def test_a_stream_ends_once() -> None:
    """No state after the end allows another end: exactly one terminal event."""
    assert StreamStep.END not in STREAM_STEPS[StreamState.ENDED]
    assert StreamStep.END not in STREAM_STEPS[StreamState.GONE]


def test_every_connection_can_be_lost() -> None:
    """A transport may break in every state but the last."""
    losing = {s for s, steps in CONNECTION_STEPS.items() if ConnectionStep.LOSE in steps}
    assert losing == set(ConnectionState) - {ConnectionState.CLOSED}
