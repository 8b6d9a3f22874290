"""Events about the connection itself, and the error that answers what has no answer of its own."""

from __future__ import annotations

from wsserver_protocol.events.base import Failure, Part, ServerMessage
from wsserver_protocol.events.rooms import RoomJoined
from wsserver_protocol.lifecycle import StreamState


class Capabilities(Part, frozen=True, kw_only=True):
    """What this server can do.

    Attributes:
        streaming: It answers ``stream``.
        batch: It answers ``batch``.
        models: It lists, loads and unloads models.
        rooms: It has rooms.
        sessions: It keeps histories.
        resume: A dropped connection can be taken up.
        binary: It speaks the MessagePack subprotocol.
    """

    streaming: bool
    batch: bool
    models: bool
    rooms: bool
    sessions: bool
    resume: bool
    binary: bool


class Limits(Part, frozen=True, kw_only=True):
    """What this caller may do; 0 means no limit.

    Attributes:
        max_message_bytes: Largest frame that the server takes.
        max_batch: Most prompts of a batch.
        requests_per_minute: Requests for work a minute.
        tokens_per_minute: Tokens, of input and answers, a minute.
        max_concurrent_streams: Requests for work in flight at a time.
    """

    max_message_bytes: int
    max_batch: int
    requests_per_minute: int
    tokens_per_minute: int
    max_concurrent_streams: int


class LimitsStatus(Part, frozen=True, kw_only=True):
    """What is left of the limits. A limit of 0 means none, and it has no ``Remaining``.

    Attributes:
        requests_limit: Requests for work a minute.
        requests_remaining: Requests left now.
        tokens_limit: Tokens a minute.
        tokens_remaining: Tokens left now.
        streams_limit: Requests for work in flight at a time.
        streams_remaining: Further ones that would be taken now.
        reset_in: Milliseconds until the caller has its full allowance again.
    """

    requests_limit: int
    requests_remaining: int | None = None
    tokens_limit: int
    tokens_remaining: int | None = None
    streams_limit: int
    streams_remaining: int | None = None
    reset_in: int


class Connected(ServerMessage, frozen=True, kw_only=True, tag="connected"):
    """The first frame of every connection. A client need not wait for it before it sends.

    Attributes:
        client_id: Id of this client; kept over ``resume``.
        resume_token: Token with which a later connection takes this one up.
        protocol_version: 1.
        server_time: ISO 8601, in UTC.
        auth_required: Whether ``authenticate`` (or a proof in the handshake) must come first.
        heartbeat_interval: Milliseconds. A client that cannot see WebSocket pings sends ``ping``
            this often, and reconnects after 1.5 times that without a frame.
        capabilities: What this server can do.
        limits: What this caller may do.
    """

    client_id: str
    resume_token: str
    protocol_version: int
    server_time: str
    auth_required: bool
    heartbeat_interval: int
    capabilities: Capabilities
    limits: Limits


class Authenticated(ServerMessage, frozen=True, kw_only=True, tag="authenticated"):
    """The proof was accepted. Comes unasked after ``connected`` where the handshake had it.

    Attributes:
        user_id: Who it is.
        client_id: Id of this client.
        scopes: What the caller may do.
        tier: Name of the caller's limits in the server's configuration.
        limits: What this caller may do a minute and at a time.
    """

    user_id: str
    client_id: str
    scopes: tuple[str, ...]
    tier: str
    limits: Limits


class ResumedStream(Part, frozen=True, kw_only=True):
    """A stream of the resumed client.

    Attributes:
        stream_id: The stream.
        request_id: Its requestId, null if the client gave none.
        state: Where it stands; ``gone``: its text is no longer kept as a stream.
        offset: Length of the answer so far, in UTF-8 bytes.
        session_id: The session that has (or gets) the text.
        message_id: The message that has (or gets) the text.
    """

    stream_id: str
    request_id: str | None
    state: StreamState
    offset: int
    session_id: str | None = None
    message_id: str | None = None


class Resumed(ServerMessage, frozen=True, kw_only=True, tag="resumed"):
    """The earlier connection is taken up; what was missed follows.

    Attributes:
        client_id: The earlier clientId; it replaces that of ``connected``.
        resume_token: The token for the next time. The one before stays good until this is used.
        streams: The streams that were asked for, and others that run.
        rooms: The rooms the client is in, each as ``room_joined`` says it.
    """

    client_id: str
    resume_token: str
    streams: tuple[ResumedStream, ...]
    rooms: tuple[RoomJoined, ...]


class Pong(ServerMessage, frozen=True, kw_only=True, tag="pong"):
    """Answer to ``ping``.

    Attributes:
        timestamp: The server's time, milliseconds since the epoch.
    """

    timestamp: int


class StreamStatus(Part, frozen=True, kw_only=True):
    """A stream that the caller runs.

    Attributes:
        stream_id: The stream.
        request_id: Its requestId, null if the client gave none.
        state: Where it stands.
    """

    stream_id: str
    request_id: str | None
    state: StreamState


class Status(ServerMessage, frozen=True, kw_only=True, tag="status"):
    """Answer to ``get_status``.

    Attributes:
        client_id: Id of this client.
        user_id: Who it is.
        streams: What it runs.
        rooms: Ids of the rooms it is in.
        session_ids: Ids of the sessions that it has opened on this connection.
        limits: What is left of its limits.
    """

    client_id: str
    user_id: str
    streams: tuple[StreamStatus, ...]
    rooms: tuple[str, ...]
    session_ids: tuple[str, ...]
    limits: LimitsStatus


class ErrorEvent(Failure, frozen=True, kw_only=True, tag="error"):
    """Something was refused; no stream ends by it.

    Attributes:
        stream_id: The stream it is about.
        offset: Length of that stream's answer, in UTF-8 bytes.
        session_id: With ``stream_not_found``: the session that keeps the text.
        message_id: With ``stream_not_found``: the message that keeps the text.
    """

    stream_id: str | None = None
    offset: int | None = None
    session_id: str | None = None
    message_id: str | None = None


class ServerDraining(ServerMessage, frozen=True, kw_only=True, tag="server_draining"):
    """The server is going away: no new work here. It closes with 1001.

    Attributes:
        reconnect_after: Milliseconds to wait before coming back.
        spread: Milliseconds; add a random part of it, so that not all come at once.
        deadline: Milliseconds until the server ends what still runs.
    """

    reconnect_after: int
    spread: int
    deadline: int
