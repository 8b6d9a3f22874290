"""Requests about the connection itself: who is there, does it live, what does it run."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from wsserver_protocol.fields import Count, Credential, Id, Name
from wsserver_protocol.requests.base import ClientMessage, LogPosition

MAX_RESUMED = 1000
"""Most streams, and most rooms, that a ``resume`` lists."""


class Authenticate(ClientMessage, frozen=True, kw_only=True, tag="authenticate"):
    """Prove who is there, or (where no proof is asked for) say so. Answered ``authenticated``.

    Sent again it renews the proof.

    Attributes:
        api_key: A key that the server's configuration knows.
        token: A signed token (JWT).
        user_id: Who it is; counts only where the server asks for no proof.
        name: Name to show to others.
    """

    api_key: Credential | None = None
    token: Credential | None = None
    user_id: Id | None = None
    name: Name | None = None


class Resume(ClientMessage, frozen=True, kw_only=True, tag="resume"):
    """Take up an earlier connection: its clientId, rooms and running work. Answered ``resumed``.

    Attributes:
        resume_token: The token of ``connected`` or of the last ``resumed``.
        streams: streamId to the offset that the client has; each goes on from there. At most 1000.
        rooms: roomId to the last ``seq``, or to ``{epoch, seq}``. At most 1000.
    """

    resume_token: Credential
    streams: Annotated[dict[Id, Count], Meta(max_length=MAX_RESUMED)] | None = None
    rooms: Annotated[dict[Id, LogPosition], Meta(max_length=MAX_RESUMED)] | None = None


class Ping(ClientMessage, frozen=True, kw_only=True, tag="ping"):
    """Ask whether the server is there. Answered ``pong``, also before authentication."""


class GetStatus(ClientMessage, frozen=True, kw_only=True, tag="get_status"):
    """Ask what this client runs, where it is, and what is left of its limits."""
