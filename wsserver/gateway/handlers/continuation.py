"""`continue`: going on with an answer that was stopped, has failed or ran into its length."""

from __future__ import annotations

from collections.abc import Callable, Coroutine

from wsserver.core.ask import Answer, Ask, merged_options
from wsserver.core.sessions.turns import CUT_SHORT, Wish, cannot_continue
from wsserver.gateway.connection import Connection
from wsserver.gateway.dispatch import Call, Reply
from wsserver.gateway.handlers.generation import admit
from wsserver.gateway.handlers.room_streams import continue_in_room
from wsserver.gateway.handlers.streams import may_watch, stream_not_found
from wsserver.gateway.repeats import once
from wsserver.gateway.views import started
from wsserver_protocol import requests
from wsserver_protocol.options import GenerationOptions


def continue_answer(call: Call) -> Reply | Coroutine[None, None, Reply]:
    """Go on with a stream, or with the last answer of a session, as a new stream."""
    request: requests.Continue = call.request
    services = call.connection.services
    if request.session_id is not None:
        wish = Wish(session_id=request.session_id, is_continuation=True)
        return _begin(call, lambda: _in_session(call, wish, None))
    stream_id = request.stream_id or ""
    former = services.answers.retained(stream_id)
    if former is None or former.record.ending is None or _lacks_input(former):
        return _of_elsewhere(call, stream_id)
    return _of(call, former)


def _of(call: Call, former: Answer) -> Reply | Coroutine[None, None, Reply]:
    """Go on with an answer that is known here."""
    if former.ask.room_id is not None:
        if not may_watch(call.connection, former):
            raise stream_not_found()
        return continue_in_room(call, former, _ask(call, former))
    if not call.connection.client.asked_for(former.ask) or not former.is_stream:
        raise stream_not_found()
    if former.place is None:
        return _begin(call, lambda: _alone(call, former))
    wish = Wish(
        session_id=former.place.session_id,
        is_continuation=True,
        message_id=former.place.message_id,
    )
    return _begin(call, lambda: _in_session(call, wish, former, former.stream_id))


async def _of_elsewhere(call: Call, stream_id: str) -> Reply:
    """Go on with another process's stream, or with a gone one where a session keeps its text."""
    connection = call.connection
    answers = connection.services.answers
    former = await answers.find(stream_id)
    if former is not None:
        if former.record.ending is None:
            await answers.look_again(former)
        if _lacks_input(former):
            await answers.learn_input(former)
        reply = _of(call, former)
        return await reply if isinstance(reply, Coroutine) else reply
    owner = connection.client.identity.key
    kept = await connection.services.sessions.library.find_stream(owner, stream_id)
    if kept is None:
        raise stream_not_found()
    session_id, message_id = kept
    wish = Wish(session_id=session_id, is_continuation=True, message_id=message_id)
    return _begin(call, lambda: _in_session(call, wish, None, stream_id))


def _lacks_input(former: Answer) -> bool:
    """Whether a room's answer was made for another process: its context is kept with it."""
    return former.ask.room_id is not None and not former.knows_its_input


def _begin(call: Call, begin: Callable[[], Answer]) -> Reply:
    answer = once(call, Answer, begin)
    if call.connection.view_of(answer.stream_id) is None:
        opening = started(answer, None, call.request_id)
        call.connection.open_view(answer, opening, request_id=call.request_id)
    return None


def _alone(call: Call, former: Answer) -> Answer:
    """Go on with a stream that is in no session."""
    connection = call.connection
    record = former.record
    if record.ending is None or record.ending.finish_reason not in CUT_SHORT:
        raise cannot_continue("streamId", is_running=record.ending is None)
    ask = _ask(call, former)
    admit(connection, ask, 1)
    answer = connection.services.answers.submit(
        ask, request_id=call.request_id, prior=former.prior + record.transcript.text
    )
    answer.continues = former.stream_id
    connection.client.begin(answer)
    return answer


def _in_session(
    call: Call, wish: Wish, former: Answer | None, stream_id: str | None = None
) -> Answer:
    """Go on with an answer of a session."""
    connection = call.connection
    services = connection.services
    ask = _ask(call, former)
    admit(connection, ask, 1, checks_options=former is not None)
    answer = services.answers.accept(ask, request_id=call.request_id, is_provisional=former is None)
    answer.continues = stream_id
    services.sessions.conversations.begin(answer, wish)
    connection.client.begin(answer)
    return answer


def _ask(call: Call, former: Answer | None) -> Ask:
    request: requests.Continue = call.request
    connection: Connection = call.connection
    options = request.options or GenerationOptions()
    return Ask(
        owner=connection.client.identity,
        client_id=connection.client.client_id,
        name=connection.client.display_name,
        options=options if former is None else merged_options(former.ask.options, options),
        messages=former.ask.messages if former is not None else None,  # also a session's context
        raw=former.ask.raw if former is not None else None,
        model=former.record.model_id if former is not None else None,
        is_stream=True,
    )
