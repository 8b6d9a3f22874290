"""Python client of wsserver: answers of language models as they come, over one WebSocket.

    async with connect("ws://127.0.0.1:8080") as client:
        async for piece in client.stream("What is a violin?"):
            print(piece, end="", flush=True)

Everything public is here; the modules are how it is built. What the client passes over (frames that
it cannot read, errors that answer nothing) it logs as ``wsserver_client``.
"""

from wsserver_client.backoff import Backoff
from wsserver_client.client import Client
from wsserver_client.connecting import connect
from wsserver_client.errors import (
    ClientError,
    ConnectFailed,
    ConnectionLost,
    FieldFault,
    RequestTimeout,
    UnexpectedReply,
    WireFailure,
)
from wsserver_client.handshake import Session
from wsserver_client.jobs import BatchHandle, LoadHandle
from wsserver_client.options import OPTION_NAMES, ChatMessage, Options
from wsserver_client.reading import StreamPhase, StreamUpdate
from wsserver_client.results import (
    BatchItem,
    BatchResult,
    Generation,
    LoadProgress,
    StreamResult,
    ToolCall,
    Usage,
)
from wsserver_client.room_events import (
    AnswerStarted,
    EventsMissed,
    Joined,
    Left,
    LogReplaced,
    Member,
    PresenceChanged,
    RoleChanged,
    RoomEntry,
    RoomEvent,
    RoomEvents,
    Said,
    SettingsChanged,
)
from wsserver_client.rooms import Room
from wsserver_client.status import LinkState, LinkStatus
from wsserver_client.streams import StreamHandle

__all__ = [
    "OPTION_NAMES",
    "AnswerStarted",
    "Backoff",
    "BatchHandle",
    "BatchItem",
    "BatchResult",
    "ChatMessage",
    "Client",
    "ClientError",
    "ConnectFailed",
    "ConnectionLost",
    "EventsMissed",
    "FieldFault",
    "Generation",
    "Joined",
    "Left",
    "LinkState",
    "LinkStatus",
    "LoadHandle",
    "LoadProgress",
    "LogReplaced",
    "Member",
    "Options",
    "PresenceChanged",
    "RequestTimeout",
    "RoleChanged",
    "Room",
    "RoomEntry",
    "RoomEvent",
    "RoomEvents",
    "Said",
    "Session",
    "SettingsChanged",
    "StreamHandle",
    "StreamPhase",
    "StreamResult",
    "ToolCall",
    "StreamUpdate",
    "UnexpectedReply",
    "Usage",
    "WireFailure",
    "connect",
]
