"""What the server does for each message type: one module a topic, one function a type."""

from wsserver.gateway.dispatch import Handler
from wsserver.gateway.handlers import (
    batch,
    connection,
    continuation,
    generation,
    models,
    rooms,
    sessions,
    streams,
)

HANDLERS: dict[str, Handler] = {
    "authenticate": connection.authenticate,
    "resume": connection.resume,
    "ping": connection.ping,
    "get_status": connection.get_status,
    "generate": generation.generate,
    "stream": generation.stream,
    "continue": continuation.continue_answer,
    "count_tokens": generation.count_tokens,
    "stop_stream": streams.stop_stream,
    "interrupt": streams.interrupt,
    "watch_stream": streams.watch_stream,
    "unwatch_stream": streams.unwatch_stream,
    "batch": batch.batch,
    "stop_batch": batch.stop_batch,
    "models": models.models,
    "load_model": models.load_model,
    "unload_model": models.unload_model,
    "metrics": models.metrics,
    "join_room": rooms.join_room,
    "leave_room": rooms.leave_room,
    "room_message": rooms.room_message,
    "list_rooms": rooms.list_rooms,
    "open_session": sessions.open_session,
    "list_sessions": sessions.list_sessions,
    "get_history": sessions.get_history,
    "update_session": sessions.update_session,
    "clear_history": sessions.clear_history,
    "fork_session": sessions.fork_session,
    "delete_session": sessions.delete_session,
    "export_session": sessions.export_session,
    "import_session": sessions.import_session,
}
"""Types that the protocol knows and that are not here are answered ``unknown_type``."""
