"""The configuration in the words of those who use it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from wsserver.config import Config
from wsserver.core.limits import LimitPolicy
from wsserver.gateway.services import EdgePolicy


def limit_policy(config: Config) -> LimitPolicy:
    """Allowances of one identity."""
    limits = config.limits
    return LimitPolicy(
        requests_per_minute=limits.requests_per_minute,
        tokens_per_minute=limits.tokens_per_minute,
        max_concurrent_streams=limits.max_concurrent_streams,
    )


def edge_policy(config: Config) -> EdgePolicy:
    """How connections are treated."""
    server, limits = config.server, config.limits
    page = Path(str(files("wsserver").joinpath("page")))
    return EdgePolicy(
        max_message_bytes=limits.max_message_bytes,
        max_connections=server.max_connections,
        connections_per_second=server.connections_per_second,
        max_batch=limits.max_batch,
        max_rooms_per_client=config.rooms.max_rooms_per_client,
        max_invite_seconds=config.rooms.invite_seconds,
        frames_per_second=limits.frames_per_second,
        frames_burst=limits.frames_burst,
        token_interval_ms=config.streams.token_interval_ms,
        ping_interval=server.ping_interval_seconds,
        ping_timeout=server.ping_timeout_seconds,
        send_timeout=server.send_timeout_seconds,
        origins=server.origins,
        trusted_proxies=server.trusted_proxies,
        backlog=server.backlog,
        shares_port=server.processes > 1,
        page=page if page.is_dir() else None,
    )
