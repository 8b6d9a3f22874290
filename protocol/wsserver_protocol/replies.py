"""Which events answer which request, and which of them end it.

Every request ends in exactly one of its terminal events, on each connection attached to it. This
table is what clients wait by, and what the published documents show; who sends when is decided
elsewhere.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from wsserver_protocol.errors import ERROR_EVENT_BY_REQUEST


class Replies(NamedTuple):
    """Types of the events that carry the requestId of one kind of request.

    ``before``: any number of them, in the order of the contract. ``terminal``: exactly one.
    """

    before: tuple[str, ...]
    terminal: tuple[str, ...]


_STREAM: Final = Replies(
    (
        "stream_start",
        "queue_position",
        "stream_token",
        "stream_progress",
        "stream_snapshot",
        "stream_rewind",
    ),
    ("stream_complete", "stream_stopped", "stream_error"),
)

_ONE_REPLY: Final[dict[str, str]] = {
    "authenticate": "authenticated",
    "resume": "resumed",
    "ping": "pong",
    "get_status": "status",
    "interrupt": "interrupted",
    "unwatch_stream": "stream_unwatched",
    "count_tokens": "token_count",
    "models": "models_list",
    "unload_model": "model_unloaded",
    "metrics": "metrics",
    "open_session": "session_opened",
    "list_sessions": "sessions_list",
    "get_history": "history",
    "update_session": "session_updated",
    "clear_history": "history_cleared",
    "fork_session": "session_opened",
    "delete_session": "session_deleted",
    "export_session": "session_export",
    "import_session": "session_imported",
    "join_room": "room_joined",
    "leave_room": "room_left",
    "room_message": "room_message",
    "update_presence": "room_presence",
    "update_room": "room_updated",
    "set_role": "room_role",
    "kick": "room_user_left",
    "ban": "room_role",
    "unban": "room_role",
    "create_invite": "room_invite",
    "list_rooms": "rooms_list",
    "room_history": "room_history",
}

REPLIES: Final[dict[str, Replies]] = {
    **{
        request: Replies((), (reply, ERROR_EVENT_BY_REQUEST[request]))
        for request, reply in _ONE_REPLY.items()
    },
    "generate": Replies(("queue_position",), ("generation_complete", "generation_error")),
    "stream": _STREAM,
    "continue": _STREAM,
    # The events of the stream that it stops, under that stream's requestId.
    "stop_stream": Replies(
        (),
        ("stream_stopped", "generation_complete", "stream_complete", "stream_error", "error"),
    ),
    # What follows a snapshot are the stream's own events.
    "watch_stream": Replies((), ("stream_snapshot", "error")),
    "batch": Replies(
        ("batch_start", "queue_position", "batch_item"), ("batch_complete", "batch_error")
    ),
    "stop_batch": Replies((), ("batch_complete", "error")),
    "load_model": Replies(("model_load_progress",), ("model_loaded", "model_load_error")),
}
"""Request type to what answers it."""

TERMINAL_EVENTS: Final = frozenset(
    {
        "generation_complete",
        "generation_error",
        "stream_complete",
        "stream_stopped",
        "stream_error",
        "batch_complete",
        "batch_error",
        "model_loaded",
        "model_load_error",
    }
)
"""Events that end a request that has more than one reply."""
