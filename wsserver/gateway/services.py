"""What the handlers work with: core's services, handed in once by the composition root."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from wsserver.core.answers import Answers
from wsserver.core.batches import Batches
from wsserver.core.clients import Clients
from wsserver.core.departures import Departures
from wsserver.core.idempotency import Idempotency
from wsserver.core.limits import LimitPolicy, Limits
from wsserver.core.models import ModelDirectory
from wsserver.core.rooms import Rooms
from wsserver.core.rooms.asks import RoomAsks
from wsserver.core.sessions.services import SessionServices
from wsserver.core.telemetry import Telemetry
from wsserver.gateway.alarm import Clock
from wsserver.gateway.views import Audiences
from wsserver_protocol.errors import ErrorCode, WireError


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgePolicy:
    """How the gateway treats connections. Seconds, unless the name says otherwise."""

    max_message_bytes: int = 1024 * 1024
    max_connections: int = 10_000
    connections_per_second: int = 0
    max_batch: int = 20
    max_rooms_per_client: int = 100
    max_invite_seconds: float = 604_800.0
    frames_per_second: int = 50
    frames_burst: int = 200
    token_interval_ms: int = 25
    ping_interval: float = 20.0
    ping_timeout: float = 10.0
    send_timeout: float = 15.0
    auth_deadline: float = 10.0
    origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    backlog: int = 2048
    shares_port: bool = False  # with other processes of this server
    page: Path | None = None  # folder of the built chat page


@dataclass(slots=True)
class Drain:
    """Whether the server is going away, and until when (loop seconds)."""

    deadline: float | None = None

    @property
    def is_on(self) -> bool:
        return self.deadline is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything that a handler may call."""

    answers: Answers
    batches: Batches
    departures: Departures
    models: ModelDirectory
    rooms: Rooms
    room_asks: RoomAsks
    clients: Clients
    limits: Limits
    limit_policy: LimitPolicy
    idempotency: Idempotency
    sessions: SessionServices
    audiences: Audiences
    clock: Clock
    telemetry: Telemetry
    policy: EdgePolicy
    started_at: float  # loop seconds
    is_up: Callable[[], bool] = lambda: True  # what other processes share can be reached
    drain: Drain = field(default_factory=Drain)

    def require_open(self) -> None:
        """Refuse new work while draining.

        Raises:
            WireError: ``draining``.
        """
        if self.drain.is_on:
            raise WireError(
                ErrorCode.DRAINING, "This server is going away; connect again.", retry_after=1000
            )
