"""Every message of the server, as one struct each; `Event` is any of them."""

from __future__ import annotations

from typing import Final, get_args

from wsserver_protocol.events.base import Failure, Part, ServerMessage
from wsserver_protocol.events.connection import (
    Authenticated,
    Capabilities,
    Connected,
    ErrorEvent,
    Limits,
    LimitsStatus,
    Pong,
    Resumed,
    ResumedStream,
    ServerDraining,
    Status,
    StreamStatus,
)
from wsserver_protocol.events.generation import (
    BatchComplete,
    BatchError,
    BatchItem,
    BatchStart,
    BatchSummary,
    GenerationComplete,
    GenerationError,
    GenerationResult,
    Interrupted,
    TokenCount,
    TokenLogprob,
    TopLogprob,
    Usage,
)
from wsserver_protocol.events.models import (
    MetricsData,
    MetricsReport,
    ModelDescription,
    ModelLoaded,
    ModelLoadFailed,
    ModelLoadProgress,
    ModelsList,
    ModelSummary,
    ModelUnloaded,
    SystemFigures,
)
from wsserver_protocol.events.rooms import (
    ActiveStream,
    Member,
    RoomEntry,
    RoomEntryEvent,
    RoomHistoryPage,
    RoomInvite,
    RoomJoined,
    RoomLeft,
    RoomPresence,
    RoomRole,
    RoomsList,
    RoomSummary,
    RoomUpdated,
    RoomUserJoined,
    RoomUserLeft,
)
from wsserver_protocol.events.sessions import (
    ExportedSession,
    History,
    HistoryCleared,
    HistoryMessage,
    SessionDeleted,
    SessionExport,
    SessionImported,
    SessionInfo,
    SessionOpened,
    SessionsList,
    SessionUpdated,
)
from wsserver_protocol.events.streams import (
    QueuePosition,
    StreamComplete,
    StreamError,
    StreamProgress,
    StreamRewind,
    StreamSnapshot,
    StreamStart,
    StreamStopped,
    StreamToken,
    StreamUnwatched,
)

Event = (
    Connected
    | Authenticated
    | Resumed
    | Pong
    | Status
    | ErrorEvent
    | ServerDraining
    | GenerationComplete
    | GenerationError
    | Interrupted
    | BatchStart
    | BatchItem
    | BatchComplete
    | BatchError
    | TokenCount
    | StreamStart
    | StreamToken
    | StreamProgress
    | StreamComplete
    | StreamStopped
    | StreamError
    | StreamSnapshot
    | StreamUnwatched
    | StreamRewind
    | QueuePosition
    | ModelsList
    | ModelLoadProgress
    | ModelLoaded
    | ModelLoadFailed
    | ModelUnloaded
    | MetricsReport
    | SessionOpened
    | SessionsList
    | History
    | SessionUpdated
    | HistoryCleared
    | SessionDeleted
    | SessionExport
    | SessionImported
    | RoomJoined
    | RoomUserJoined
    | RoomUserLeft
    | RoomLeft
    | RoomEntryEvent
    | RoomPresence
    | RoomUpdated
    | RoomRole
    | RoomInvite
    | RoomsList
    | RoomHistoryPage
)
"""Any of them."""

EVENT_TYPES: Final[dict[str, type[Event]]] = {
    str(struct.__struct_config__.tag): struct for struct in get_args(Event)
}
"""Wire type to struct."""

__all__ = [
    "ActiveStream",
    "Authenticated",
    "BatchComplete",
    "BatchError",
    "BatchItem",
    "BatchStart",
    "BatchSummary",
    "Capabilities",
    "Connected",
    "EVENT_TYPES",
    "ErrorEvent",
    "Event",
    "ExportedSession",
    "Failure",
    "GenerationComplete",
    "GenerationError",
    "GenerationResult",
    "History",
    "HistoryCleared",
    "HistoryMessage",
    "Interrupted",
    "Limits",
    "LimitsStatus",
    "Member",
    "MetricsData",
    "MetricsReport",
    "ModelDescription",
    "ModelLoadFailed",
    "ModelLoadProgress",
    "ModelLoaded",
    "ModelSummary",
    "ModelUnloaded",
    "ModelsList",
    "Part",
    "Pong",
    "QueuePosition",
    "Resumed",
    "ResumedStream",
    "RoomEntry",
    "RoomEntryEvent",
    "RoomHistoryPage",
    "RoomInvite",
    "RoomJoined",
    "RoomLeft",
    "RoomPresence",
    "RoomRole",
    "RoomSummary",
    "RoomUpdated",
    "RoomUserJoined",
    "RoomUserLeft",
    "RoomsList",
    "ServerDraining",
    "ServerMessage",
    "SessionDeleted",
    "SessionExport",
    "SessionImported",
    "SessionInfo",
    "SessionOpened",
    "SessionUpdated",
    "SessionsList",
    "Status",
    "StreamComplete",
    "StreamError",
    "StreamProgress",
    "StreamRewind",
    "StreamSnapshot",
    "StreamStart",
    "StreamStatus",
    "StreamStopped",
    "StreamToken",
    "StreamUnwatched",
    "SystemFigures",
    "TokenCount",
    "TokenLogprob",
    "TopLogprob",
    "Usage",
]
