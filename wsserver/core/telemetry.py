"""What the server tells about itself while it works: events out, and a snapshot on demand.

This room knows no metrics library. Core and gateway call the `Telemetry` port when something
happened; `wsserver.observe` turns the calls into Prometheus series, and tests pass `NullTelemetry`
or a recorder. Two rules keep it cheap and true:

* Events are counted, states are read. A gauge that is counted up and down drifts with the first
  forgotten path; so connections, streams, queues and slots are never reported as events, but asked
  for through a `SnapshotSource` when somebody looks.
* Labels come from closed lists. A name that a client chose freely (an unknown message type, a
  room) never becomes a label: each new value would be a series for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

FrameKind = Literal["text", "binary"]
ResumeResult = Literal["resumed", "expired", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSnapshot:
    """One model, as it stands now. ``state`` is the wire's ``status`` word."""

    id: str
    state: str  # unloaded | loading | ready | failed
    streams: int  # answers running: admitted and not ended
    queued: int  # requests that wait for a slot or for the load
    slots: int  # jobs at once; 0 while nothing is loaded
    slots_busy: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSnapshot:
    """What a process of a fleet knows of the others."""

    store_up: bool  # whether what they share answered when last asked
    workers: int  # that announce themselves


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The whole server, as it stands now."""

    connections: int
    rooms: int
    models: tuple[ModelSnapshot, ...] = ()
    fleet: FleetSnapshot | None = None  # None: a server alone


SnapshotSource = Callable[[], Snapshot]
"""Asked at each look at the metrics, on the event loop. Must be quick and must not raise."""


class Telemetry(Protocol):
    """Events worth counting. Event loop only; no method raises or blocks; all are cheap."""

    def connection_opened(self) -> None:
        """A WebSocket handshake has succeeded."""

    def connection_closed(self, code: int) -> None:
        """A connection is gone. ``code`` is the close code that we sent, else the one that came,
        else 1006."""

    def connection_refused(self, reason: str) -> None:
        """An upgrade was answered by HTTP. ``reason``: "full", "draining", "rate", "protocol"."""

    def request_ended(self, type: str, outcome: str) -> None:
        """A request has had its terminal event.

        Args:
            type: The message type if the catalogue has it, else "unknown".
            outcome: "ok", or the error's code.
        """

    def stream_ended(self, model: str, reason: str) -> None:
        """An answer has ended, once per answer however many watch it.

        Args:
            model: The model's id.
            reason: The ``finishReason``, the ``reason`` of a stop, or the error's code.
        """

    def prompt_tokens(self, model: str, count: int) -> None:
        """Prompt tokens that an engine has read, those from its prefix cache not included."""

    def completion_tokens(self, model: str, count: int) -> None:
        """Tokens that an engine has made; may be called once per step and stream."""

    def first_token(self, model: str, seconds: float) -> None:
        """Time from the request's acceptance to its first text."""

    def queue_waited(self, model: str, seconds: float) -> None:
        """Time from the request's acceptance to its slot."""

    def token_lagged(self, seconds: float) -> None:
        """Time from an engine's frame in the gateway to the piece's hand-over to the socket.

        The server's own share, pacing (``token_interval_ms``) included. Sampling is fine.
        """

    def frame_sent(self, kind: FrameKind, size: int, count: int = 1) -> None:
        """Messages of together ``size`` payload bytes were handed to sockets. The hottest call."""

    def slow_reader_closed(self) -> None:
        """A connection was closed with 4001."""

    def resume_answered(self, result: ResumeResult) -> None:
        """A ``resume`` was answered."""

    def stream_rewound(self) -> None:
        """A ``stream_rewind`` was sent; anything above zero on one host is a fault of ours."""

    def rate_limited(self, limit: str) -> None:
        """A limit has refused something. ``limit`` is the key: "requests_per_minute", …"""

    def model_loaded(self, model: str, seconds: float) -> None:
        """A model became ready ``seconds`` after the load began."""

    def model_load_failed(self, model: str) -> None:
        """A load has ended without a model; a cancelled one is not counted."""

    def engine_restarted(self, model: str) -> None:
        """A child process has died and its replacement is being started."""

    def totals(self) -> Mapping[str, int]:
        """Whole counts since the start for the wire's ``metrics``; keys are camelCase names."""
        ...


class NullTelemetry:
    """Hears everything, keeps nothing: for tests and for tools that embed the core."""

    def connection_opened(self) -> None: ...

    def connection_closed(self, code: int) -> None: ...

    def connection_refused(self, reason: str) -> None: ...

    def request_ended(self, type: str, outcome: str) -> None: ...

    def stream_ended(self, model: str, reason: str) -> None: ...

    def prompt_tokens(self, model: str, count: int) -> None: ...

    def completion_tokens(self, model: str, count: int) -> None: ...

    def first_token(self, model: str, seconds: float) -> None: ...

    def queue_waited(self, model: str, seconds: float) -> None: ...

    def token_lagged(self, seconds: float) -> None: ...

    def frame_sent(self, kind: FrameKind, size: int, count: int = 1) -> None: ...

    def slow_reader_closed(self) -> None: ...

    def resume_answered(self, result: ResumeResult) -> None: ...

    def stream_rewound(self) -> None: ...

    def rate_limited(self, limit: str) -> None: ...

    def model_loaded(self, model: str, seconds: float) -> None: ...

    def model_load_failed(self, model: str) -> None: ...

    def engine_restarted(self, model: str) -> None: ...

    def totals(self) -> Mapping[str, int]:
        return {}
