"""Every message of a client, as one struct each; `Request` is any of them."""

from __future__ import annotations

from typing import Final, get_args

from wsserver_protocol.requests.base import (
    MAX_MESSAGES,
    ChatMessage,
    ClientMessage,
    LogPosition,
    Messages,
    RoomPosition,
)
from wsserver_protocol.requests.connection import MAX_RESUMED, Authenticate, GetStatus, Ping, Resume
from wsserver_protocol.requests.generation import (
    MAX_BATCH,
    Batch,
    Continue,
    CountTokens,
    Generate,
    Interrupt,
    StopBatch,
    StopStream,
    Stream,
    UnwatchStream,
    WatchStream,
)
from wsserver_protocol.requests.models import (
    MAX_SETTINGS,
    LoadModel,
    Metrics,
    Models,
    Source,
    UnloadModel,
)
from wsserver_protocol.requests.rooms import (
    Ban,
    CreateInvite,
    JoinRoom,
    Kick,
    LeaveRoom,
    ListRooms,
    RoomHistory,
    RoomMessage,
    RoomSettings,
    SetRole,
    Unban,
    UpdatePresence,
    UpdateRoom,
)
from wsserver_protocol.requests.sessions import (
    ClearHistory,
    DeleteSession,
    ExportSession,
    ForkSession,
    GetHistory,
    ImportedMessage,
    ImportSession,
    ListSessions,
    OpenSession,
    SessionDocument,
    UpdateSession,
)

Request = (
    Authenticate
    | Resume
    | Ping
    | GetStatus
    | Generate
    | Stream
    | StopStream
    | Interrupt
    | Continue
    | WatchStream
    | UnwatchStream
    | Batch
    | StopBatch
    | CountTokens
    | Models
    | LoadModel
    | UnloadModel
    | Metrics
    | OpenSession
    | ListSessions
    | GetHistory
    | UpdateSession
    | ClearHistory
    | ForkSession
    | DeleteSession
    | ExportSession
    | ImportSession
    | JoinRoom
    | LeaveRoom
    | RoomMessage
    | UpdatePresence
    | UpdateRoom
    | SetRole
    | Kick
    | Ban
    | Unban
    | CreateInvite
    | ListRooms
    | RoomHistory
)
"""Any of them."""

REQUEST_TYPES: Final[dict[str, type[Request]]] = {
    str(struct.__struct_config__.tag): struct for struct in get_args(Request)
}
"""Wire type to struct."""

__all__ = [
    "Authenticate",
    "Ban",
    "Batch",
    "ChatMessage",
    "ClearHistory",
    "ClientMessage",
    "Continue",
    "CountTokens",
    "CreateInvite",
    "DeleteSession",
    "ExportSession",
    "ForkSession",
    "Generate",
    "GetHistory",
    "GetStatus",
    "ImportSession",
    "ImportedMessage",
    "Interrupt",
    "JoinRoom",
    "Kick",
    "LeaveRoom",
    "ListRooms",
    "ListSessions",
    "LoadModel",
    "LogPosition",
    "MAX_BATCH",
    "MAX_MESSAGES",
    "MAX_RESUMED",
    "MAX_SETTINGS",
    "Messages",
    "Metrics",
    "Models",
    "OpenSession",
    "Ping",
    "REQUEST_TYPES",
    "Request",
    "Resume",
    "RoomHistory",
    "RoomMessage",
    "RoomPosition",
    "RoomSettings",
    "SessionDocument",
    "SetRole",
    "Source",
    "StopBatch",
    "StopStream",
    "Stream",
    "Unban",
    "UnloadModel",
    "UnwatchStream",
    "UpdatePresence",
    "UpdateRoom",
    "UpdateSession",
    "WatchStream",
]
