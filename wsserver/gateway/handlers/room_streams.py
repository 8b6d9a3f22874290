"""`stream` with a `roomId`: an ask in a room, and an answer that every member sees."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from functools import partial

from wsserver.core.ask import Answer, Ask, merged_options
from wsserver.core.clients import Client
from wsserver.core.rooms import Draft, Room, refusals
from wsserver.core.rooms.asks import RoomAsk
from wsserver.core.rooms.rights import require_asker
from wsserver.core.sessions.turns import CUT_SHORT, cannot_continue
from wsserver.gateway.dispatch import Call, Reply
from wsserver.gateway.handlers.generation import admit, make_ask, stream
from wsserver.gateway.handlers.rooms import in_lane, origin
from wsserver.gateway.repeats import claim_of, once
from wsserver.gateway.views import started
from wsserver_protocol import requests
from wsserver_protocol.errors import ErrorCode, FieldError, WireError
from wsserver_protocol.fields import WhenBusy

Opening = Callable[[], Awaitable[None]]


def stream_anywhere(call: Call) -> Reply | Coroutine[None, None, Reply]:
    """A streamed answer, in a room or not."""
    request: requests.Stream = call.request
    if request.room_id is None:
        return stream(call)
    room_id = request.room_id
    return _in_turn(call, request.prompt, lambda: _accept(call, room_id))


def continue_in_room(call: Call, former: Answer, ask: Ask) -> Reply | Coroutine[None, None, Reply]:
    """Go on with an answer of a room, as any member who may ask there."""
    return _in_turn(call, None, lambda: _accept_further(call, former, ask))


def _in_turn(
    call: Call, prompt: str | None, accept: Callable[[], RoomAsk]
) -> Reply | Coroutine[None, None, Reply]:
    """Begin at once, or after what the client asked of its rooms before: to be in one, say."""
    client = call.connection.client
    if not client.lane.is_idle:
        return in_lane(client, lambda: _begin_and_open(call, prompt, accept))
    try:
        opening = _begin(call, prompt, accept)
    except WireError as error:
        if not _may_be_repeated(call):
            raise
        return in_lane(client, partial(_show_earlier, call, error))
    if opening is not None:
        client.lane.begin(opening)
    return None


async def _begin_and_open(call: Call, prompt: str | None, accept: Callable[[], RoomAsk]) -> Reply:
    try:
        opening = _begin(call, prompt, accept)
    except WireError as error:
        if not _may_be_repeated(call):
            raise
        return await _show_earlier(call, error)
    if opening is not None:
        await opening()
    return None


def _may_be_repeated(call: Call) -> bool:
    """Whether what is refused here may have been asked before, of another process."""
    is_named = call.request.request_id is not None
    return is_named and call.connection.services.clients.is_shared


async def _show_earlier(call: Call, error: WireError) -> Reply:
    """Show what the same request has become on another process, where it would be refused by now:
    its asker has left the room since, or the room answers one question at a time, this one.

    Raises:
        WireError: The refusal, if there is nothing to show; ``duplicate_request``.
    """
    connection = call.connection
    claim = claim_of(call)
    earlier = await connection.services.answers.made_before(*claim) if claim is not None else None
    if earlier is None:
        raise error
    client = connection.client
    if not earlier.record.is_ended and earlier.ask.client_id == client.client_id:
        client.begin(earlier)
    if connection.view_of(earlier.stream_id) is None:
        opening = started(earlier, None, call.request_id)
        connection.open_view(earlier, opening, request_id=call.request_id)
    return None


def _begin(call: Call, prompt: str | None, accept: Callable[[], RoomAsk]) -> Opening | None:
    """Accept an ask and follow it. Returns what puts it into the log; None for a repeated one.

    Raises:
        WireError: ``not_in_room``, or as for any ask; the log has no entry then.
    """
    connection = call.connection
    begun: list[RoomAsk] = []

    def begin() -> Answer:
        ask = accept()
        begun.append(ask)
        connection.services.room_asks.begin(ask)
        connection.client.begin(ask.answer)
        return ask.answer

    answer = once(call, Answer, begin)
    if connection.view_of(answer.stream_id) is None:
        opening = started(answer, prompt, call.request_id)
        connection.open_view(answer, opening, request_id=call.request_id)
    if not begun:
        return None
    return lambda: connection.services.room_asks.open(begun[0])


def _accept(call: Call, room_id: str) -> RoomAsk:
    request: requests.Stream = call.request
    connection = call.connection
    services, client = connection.services, connection.client
    room = services.rooms.of_member(client, room_id)
    settings = room.settings
    _require_turn(room, client)
    spoken = _last_words(request)
    ask = make_ask(connection, request, None, room_id=room_id)
    if settings.options is not None:
        ask = replace(ask, options=merged_options(settings.options, ask.options))
    if ask.model is None:
        ask = replace(ask, model=settings.model)
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
    return RoomAsk(
        answer=answer,
        room_id=room.room_id,
        draft=draft,
        origin=origin(call),
        when_busy=settings.when_busy or WhenBusy.QUEUE,
        system=settings.system_prompt if request.system is None else request.system,
        raw=request.prompt if request.raw else None,
    )


def _accept_further(call: Call, former: Answer, ask: Ask) -> RoomAsk:
    """An ask that goes on with an answer, given what that one was given."""
    connection = call.connection
    services, client = connection.services, connection.client
    room = services.rooms.of_member(client, former.ask.room_id or "")
    _require_turn(room, client)
    record = former.record
    if record.ending is None or record.ending.finish_reason not in CUT_SHORT:
        raise cannot_continue("streamId", is_running=record.ending is None)
    if not former.knows_its_input:
        raise _never_began()
    ask = replace(ask, room_id=room.room_id)
    admit(connection, ask, 1)
    answer = services.answers.accept(ask, request_id=call.request_id)
    answer.prior = former.prior + record.transcript.text
    answer.continues = former.stream_id
    return RoomAsk(
        answer=answer,
        room_id=room.room_id,
        draft=None,
        origin=origin(call),
        when_busy=room.settings.when_busy or WhenBusy.QUEUE,
        raw=ask.raw,
    )


def _never_began() -> WireError:
    """An answer that ended before its turn came, so that it was given nothing."""
    what = "had not begun when it ended"
    return WireError(
        ErrorCode.INVALID_PARAMETERS,
        f"This answer {what}; ask again instead.",
        details=(FieldError(field="streamId", message=f"names an answer that {what}"),),
    )


def _require_turn(room: Room, client: Client) -> None:
    """Refuse who may not ask here, and an ask that would have to wait where none may.

    Raises:
        WireError: ``forbidden``; ``overloaded``. The broker looks again; what is seen here is not
            charged.
    """
    require_asker(room.role_of(client), room.settings.ask)
    if room.settings.when_busy is WhenBusy.REJECT and room.asks:
        raise refusals.busy()


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
