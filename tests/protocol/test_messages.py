"""The set of messages: names, spelling and documents of every struct."""

from __future__ import annotations

import re

import msgspec
import pytest

from wsserver_protocol.events import EVENT_TYPES
from wsserver_protocol.requests import REQUEST_TYPES

REQUESTS = [
    "authenticate",
    "resume",
    "ping",
    "get_status",
    "generate",
    "stream",
    "stop_stream",
    "interrupt",
    "continue",
    "watch_stream",
    "unwatch_stream",
    "batch",
    "stop_batch",
    "count_tokens",
    "models",
    "load_model",
    "unload_model",
    "metrics",
    "open_session",
    "list_sessions",
    "get_history",
    "update_session",
    "clear_history",
    "fork_session",
    "delete_session",
    "export_session",
    "import_session",
    "join_room",
    "leave_room",
    "room_message",
    "update_presence",
    "update_room",
    "set_role",
    "kick",
    "ban",
    "unban",
    "create_invite",
    "list_rooms",
    "room_history",
]

EVENTS = [
    "connected",
    "authenticated",
    "resumed",
    "pong",
    "status",
    "generation_complete",
    "generation_error",
    "stream_start",
    "stream_token",
    "stream_progress",
    "stream_complete",
    "stream_stopped",
    "stream_error",
    "stream_snapshot",
    "stream_unwatched",
    "stream_rewind",
    "queue_position",
    "interrupted",
    "batch_start",
    "batch_item",
    "batch_complete",
    "batch_error",
    "token_count",
    "models_list",
    "model_load_progress",
    "model_loaded",
    "model_load_error",
    "model_unloaded",
    "metrics",
    "session_opened",
    "sessions_list",
    "history",
    "session_updated",
    "history_cleared",
    "session_deleted",
    "session_export",
    "session_imported",
    "room_joined",
    "room_user_joined",
    "room_user_left",
    "room_left",
    "room_message",
    "room_presence",
    "room_updated",
    "room_role",
    "room_invite",
    "rooms_list",
    "room_history",
    "error",
    "server_draining",
]

ALL = [*REQUEST_TYPES.values(), *EVENT_TYPES.values()]


def test_the_messages_are_those_of_the_contract() -> None:
    """No message is missing, none is there that the contract does not name."""
    assert sorted(REQUEST_TYPES) == sorted(REQUESTS)
    assert sorted(EVENT_TYPES) == sorted(EVENTS)


@pytest.mark.parametrize("request_type", REQUESTS)
def test_a_request_is_named_after_its_type(request_type: str) -> None:
    """PascalCase of the wire's type."""
    assert REQUEST_TYPES[request_type].__name__ == request_type.title().replace("_", "")


@pytest.mark.parametrize("struct", ALL)
def test_fields_are_camel_case_on_the_wire(struct: type[msgspec.Struct]) -> None:
    """Every message, also inside, spells its fields so."""
    names = [field.encode_name for field in msgspec.structs.fields(struct)]
    assert [name for name in names if not re.fullmatch("[a-z][a-zA-Z]*", name)] == []


@pytest.mark.parametrize("struct", ALL)
def test_a_message_is_frozen_and_takes_keywords_only(struct: type[msgspec.Struct]) -> None:
    """Messages are values: nobody changes one that another still sends."""
    assert struct.__struct_config__.frozen
    assert struct.__struct_config__.tag_field == "type"
    with pytest.raises(TypeError):
        struct("positional")


@pytest.mark.parametrize("struct", ALL)
def test_every_message_has_a_request_id_of_its_own(struct: type[msgspec.Struct]) -> None:
    """requestId is the client's and may be left out."""
    (field,) = [f for f in msgspec.structs.fields(struct) if f.name == "request_id"]
    assert field.default is None
