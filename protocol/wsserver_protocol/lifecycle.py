"""How a connection and a stream live: states, the events that change them, and nothing else.

The two tables are all there is: what is not in them cannot happen, and an attempt raises. The
module does not know who drives a lifecycle (the gateway, the runner, a client's own copy), only
which step may follow which. State names of streams, and the reasons why answers end, are those
of the wire.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Final


class FinishReason(StrEnum):
    """Why an answer ended, as results, ``stream_complete`` and the history say it.

    ``stopped`` and ``error`` do not occur in ``stream_complete``: there, a stop and a failure
    have terminal events of their own.
    """

    STOP = "stop"
    LENGTH = "length"
    STOP_STRING = "stop_string"
    TOOL_CALLS = "tool_calls"
    TIMEOUT = "timeout"
    STOPPED = "stopped"
    ERROR = "error"


class StopReason(StrEnum):
    """Why a stream was stopped (``stream_stopped.reason``)."""

    CLIENT = "client"
    INTERRUPT = "interrupt"
    MODERATOR = "moderator"
    DISCONNECT = "disconnect"
    UNLOADED = "unloaded"
    SHUTDOWN = "shutdown"


class ConnectionState(Enum):
    """Where a connection stands, seen from the server."""

    AWAITING_AUTH = "awaiting_auth"
    OPEN = "open"
    DRAINING = "draining"
    CLOSING = "closing"
    CLOSED = "closed"


class ConnectionStep(Enum):
    """What can happen to a connection."""

    AUTHENTICATE = "authenticate"  # a proof was accepted, also a renewed one
    DRAIN = "drain"  # the server is going away; running answers may still end
    CLOSE = "close"  # a close frame was sent or received
    LOSE = "lose"  # the transport is gone, with or without a handshake


class StreamState(StrEnum):
    """Where a stream stands; the wire's ``state``.

    ``gone``: it ended so long ago that its text is no longer kept as a stream.
    """

    QUEUED = "queued"
    LOADING = "loading"
    RUNNING = "running"
    ENDED = "ended"
    GONE = "gone"


class StreamStep(Enum):
    """What can happen to a stream."""

    WAIT_FOR_MODEL = "wait_for_model"  # its model is still loading
    QUEUE = "queue"  # the model is there (again), all slots are taken
    RUN = "run"  # it was given a slot
    END = "end"  # its one terminal event
    FORGET = "forget"  # the retention is over


class IllegalStep(Exception):
    """A step that the state does not allow: an error of the caller, never of the peer."""

    def __init__(self, state: Enum, step: Enum) -> None:
        super().__init__(f"{step} is not possible in state {state}")
        self.state = state
        self.step = step


CONNECTION_STEPS: Final[dict[ConnectionState, dict[ConnectionStep, ConnectionState]]] = {
    ConnectionState.AWAITING_AUTH: {
        ConnectionStep.AUTHENTICATE: ConnectionState.OPEN,
        ConnectionStep.DRAIN: ConnectionState.DRAINING,
        ConnectionStep.CLOSE: ConnectionState.CLOSING,
        ConnectionStep.LOSE: ConnectionState.CLOSED,
    },
    ConnectionState.OPEN: {
        ConnectionStep.AUTHENTICATE: ConnectionState.OPEN,
        ConnectionStep.DRAIN: ConnectionState.DRAINING,
        ConnectionStep.CLOSE: ConnectionState.CLOSING,
        ConnectionStep.LOSE: ConnectionState.CLOSED,
    },
    ConnectionState.DRAINING: {
        # A renewed proof keeps an answer that is about to end from being cut off.
        ConnectionStep.AUTHENTICATE: ConnectionState.DRAINING,
        ConnectionStep.CLOSE: ConnectionState.CLOSING,
        ConnectionStep.LOSE: ConnectionState.CLOSED,
    },
    ConnectionState.CLOSING: {
        ConnectionStep.LOSE: ConnectionState.CLOSED,
    },
    ConnectionState.CLOSED: {},
}

STREAM_STEPS: Final[dict[StreamState, dict[StreamStep, StreamState]]] = {
    StreamState.QUEUED: {
        StreamStep.WAIT_FOR_MODEL: StreamState.LOADING,
        StreamStep.RUN: StreamState.RUNNING,
        StreamStep.END: StreamState.ENDED,
    },
    StreamState.LOADING: {
        StreamStep.QUEUE: StreamState.QUEUED,
        StreamStep.RUN: StreamState.RUNNING,
        StreamStep.END: StreamState.ENDED,
    },
    StreamState.RUNNING: {
        # Its engine died: the answer waits for another slot, or for the model to come back.
        StreamStep.QUEUE: StreamState.QUEUED,
        StreamStep.WAIT_FOR_MODEL: StreamState.LOADING,
        StreamStep.END: StreamState.ENDED,
    },
    StreamState.ENDED: {
        StreamStep.FORGET: StreamState.GONE,
    },
    StreamState.GONE: {},
}


def next_connection_state(state: ConnectionState, step: ConnectionStep) -> ConnectionState:
    """The state after ``step``.

    Raises:
        IllegalStep: If the table does not have it; nothing has changed then.
    """
    following = CONNECTION_STEPS[state].get(step)
    if following is None:
        raise IllegalStep(state, step)
    return following


def next_stream_state(state: StreamState, step: StreamStep) -> StreamState:
    """The state after ``step``.

    Raises:
        IllegalStep: If the table does not have it; nothing has changed then.
    """
    following = STREAM_STEPS[state].get(step)
    if following is None:
        raise IllegalStep(state, step)
    return following
