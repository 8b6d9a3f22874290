"""`authenticate`, `ping`, `get_status`: the connection itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine

from wsserver.core.clients import Client
from wsserver.core.identity import Identity
from wsserver.core.wallclock import wall_iso, wall_ms
from wsserver.gateway.connection import Connection
from wsserver.gateway.dispatch import Call, Reply
from wsserver.gateway.services import Services
from wsserver_protocol import events, requests
from wsserver_protocol.errors import ErrorCode, FieldError, WireError

PROTOCOL_VERSION = 1


async def greet(connection: Connection) -> None:
    """Send `connected`, the first frame of every connection, once its token is good anywhere.

    Without the store that all servers share it is sent all the same: a client that has to wait for
    a server learns nothing. Its token is then good here, and elsewhere when the store is back.
    """
    services, client = connection.services, connection.client
    token = services.clients.issue_token(client)
    with contextlib.suppress(WireError):
        await services.clients.known(client, waits=False)
    connection.greet(
        events.Connected(
            client_id=client.client_id,
            resume_token=token,
            protocol_version=PROTOCOL_VERSION,
            server_time=wall_iso(),
            auth_required=False,
            heartbeat_interval=round(services.policy.ping_interval * 1000),
            capabilities=events.Capabilities(
                streaming=True,
                batch=True,
                models=True,
                rooms=True,
                sessions=True,
                resume=True,
                binary=True,
            ),
            limits=_limits(services),
        )
    )


def ping(call: Call) -> Reply:
    """Answer at once."""
    return events.Pong(request_id=call.request_id, timestamp=wall_ms())


def authenticate(call: Call) -> Reply | Coroutine[None, None, Reply]:
    """Take a name: with authentication off, the userId that is given is who someone is."""
    request: requests.Authenticate = call.request
    connection = call.connection
    client, services = connection.client, connection.services
    before = client.identity, client.name
    if request.user_id is not None:
        _rename(connection, Identity.named(request.user_id, request.name, connection.address))
    if request.name is not None:
        client.name = request.name
    if services.clients.is_shared and before != (client.identity, client.name):
        return _authenticate_for_all(call, client, before)
    return _authenticated(call, client.identity)


async def _authenticate_for_all(
    call: Call, client: Client, before: tuple[Identity, str | None]
) -> Reply:
    """Acknowledge a name that is known to all who may take the client up. What is sent behind it
    counts on it at once; if it can't be had, the client is who it was before.

    Raises:
        WireError: ``store_unavailable``.
    """
    now = client.identity, client.name
    try:
        await call.connection.services.clients.known(client)
    except WireError:
        if (client.identity, client.name) == now and not client.room_ids and client.lane.is_idle:
            client.identity, client.name = before
        raise
    return _authenticated(call, now[0])


def _authenticated(call: Call, identity: Identity) -> Reply:
    services, client = call.connection.services, call.connection.client
    return events.Authenticated(
        request_id=call.request_id,
        user_id=identity.user_id,
        client_id=client.client_id,
        scopes=tuple(sorted(identity.scopes)),
        tier=identity.tier,
        limits=_limits(services),
    )


async def get_status(call: Call) -> Reply:
    """What this client runs, where it is, and what it may still ask for."""
    connection = call.connection
    client, services = connection.client, connection.services
    now = asyncio.get_running_loop().time()
    report = await services.limits.report(client.identity.limit_key, now)
    return events.Status(
        request_id=call.request_id,
        client_id=client.client_id,
        user_id=client.identity.user_id,
        streams=tuple(
            events.StreamStatus(
                stream_id=answer.stream_id,
                request_id=answer.request_id,
                state=answer.record.state,
            )
            for answer in client.answers.values()
            if answer.is_stream
        ),
        rooms=tuple(client.room_ids),
        session_ids=_sessions_of(client),
        limits=events.LimitsStatus(
            requests_limit=report.requests_limit,
            requests_remaining=report.requests_remaining if report.requests_limit else None,
            tokens_limit=report.tokens_limit,
            tokens_remaining=report.tokens_remaining if report.tokens_limit else None,
            streams_limit=report.concurrent_limit,
            streams_remaining=report.concurrent_remaining,
            reset_in=round(report.reset_in * 1000),
        ),
    )


def _sessions_of(client: Client) -> tuple[str, ...]:
    """Sessions that a client has opened or read, and those it is being answered in."""
    asked = [answer.place.session_id for answer in client.answers.values() if answer.place]
    return tuple(dict.fromkeys([*client.session_ids, *asked]))


def _rename(connection: Connection, identity: Identity) -> None:
    """Become someone. Rooms know their members by identity, so the client must be in none."""
    client = connection.client
    if identity.key == client.identity.key:
        client.identity = identity
        return
    if client.room_ids or not client.lane.is_idle:
        raise WireError(
            ErrorCode.INVALID_PARAMETERS,
            "Leave your rooms before you take another userId.",
            details=(FieldError(field="userId", message="can't change while in a room"),),
        )
    client.identity = identity


def _limits(services: Services) -> events.Limits:
    policy, limits = services.policy, services.limit_policy
    return events.Limits(
        max_message_bytes=policy.max_message_bytes,
        max_batch=policy.max_batch,
        requests_per_minute=limits.requests_per_minute,
        tokens_per_minute=limits.tokens_per_minute,
        max_concurrent_streams=limits.max_concurrent_streams,
    )
