"""`stream` with a `roomId`: an ask in a room, and an answer that every member sees."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine

from wsserver.core.ask import Answer
from wsserver.core.rooms import Draft
from wsserver.core.rooms.asks import RoomAsk
from wsserver.gateway.dispatch import Call, Reply
from wsserver.gateway.handlers.generation import admit, make_ask, stream
from wsserver.gateway.handlers.rooms import in_lane, origin
from wsserver.gateway.repeats import once
from wsserver.gateway.views import started
from wsserver_protocol import requests
from wsserver_protocol.errors import ErrorCode, FieldError, WireError

Opening = Callable[[], Awaitable[None]]


def stream_anywhere(call: Call) -> Reply | Coroutine[None, None, Reply]:
    """A streamed answer, in a room or not."""
    request: requests.Stream = call.request
    if request.room_id is None:
        return stream(call)
    client = call.connection.client
    if not client.lane.is_idle:  # it may be on its way into the room
        return in_lane(client, lambda: _ask_and_open(call))
    opening = _ask(call)
    if opening is not None:
        client.lane.begin(opening)
    return None


async def _ask_and_open(call: Call) -> Reply:
    opening = _ask(call)
    if opening is not None:
        await opening()
    return None


def _ask(call: Call) -> Opening | None:
    """Accept an ask and follow it. Returns what puts it into the log; None for a repeated one.

    Raises:
        WireError: ``not_in_room``, or as for any ask; the log has no entry then.
    """
    request: requests.Stream = call.request
    connection = call.connection
    begun: list[RoomAsk] = []

    def begin() -> Answer:
        ask = _accept(call, request.room_id or "")
        begun.append(ask)
        connection.client.begin(ask.answer)
        return ask.answer

    answer = once(call, Answer, begin)
    if connection.view_of(answer.stream_id) is None:
        opening = started(answer, request.prompt, call.request_id)
        connection.open_view(answer, opening, request_id=call.request_id)
    if not begun:
        return None
    return lambda: connection.services.room_asks.open(begun[0])


def _accept(call: Call, room_id: str) -> RoomAsk:
    request: requests.Stream = call.request
    connection = call.connection
    services, client = connection.services, connection.client
    room = services.rooms.of_member(client, room_id)
    spoken = _last_words(request)
    ask = make_ask(connection, request, None, room_id=room_id)
    admit(connection, ask, 1)
    answer = services.answers.accept(ask, request_id=call.request_id)
    draft = Draft(
        role="user",
        client_id=client.client_id,
        user_id=client.identity.user_id,
        name=client.display_name,
        text=spoken,
        stream_id=answer.stream_id,
    )
    room_ask = RoomAsk(
        answer=answer,
        room_id=room.room_id,
        draft=draft,
        origin=origin(call),
        system=request.system,
        raw=request.prompt if request.raw else None,
    )
    services.room_asks.begin(room_ask)
    return room_ask


def _last_words(request: requests.Stream) -> str:
    """What is said in the room by an ask: the prompt, or the last user turn."""
    if request.prompt is not None:
        return request.prompt
    for message in reversed(request.messages or ()):
        if message.role.value == "user":
            return message.content
    raise WireError(
        ErrorCode.INVALID_PARAMETERS,
        "messages must hold a turn of the user.",
        details=(FieldError(field="messages", message="must hold a turn of the user"),),
    )
