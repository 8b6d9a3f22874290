"""`generate`, `stream`, `count_tokens`: from a checked request to an accepted answer."""

from __future__ import annotations

import asyncio

from wsserver.core.ask import Answer, Ask
from wsserver.core.engine import ChatMessage
from wsserver.core.identity import PRIORITY_HIGH
from wsserver.core.limits import limit_of
from wsserver.core.models.fallbacks import select
from wsserver.core.sessions.turns import Wish
from wsserver.gateway.connection import Connection
from wsserver.gateway.dispatch import Call, Reply
from wsserver.gateway.handlers.scopes import require_scope
from wsserver.gateway.repeats import once
from wsserver.gateway.views import started
from wsserver_protocol import events, requests
from wsserver_protocol.errors import ErrorCode, FieldError, WireError


def generate(call: Call) -> Reply:
    """Accept a one-shot answer; its one terminal event comes when it ends."""
    request: requests.Generate = call.request
    connection = call.connection

    def begin() -> Answer:
        if request.session_id is not None:
            answer = ask_in_session(call, request, request.session_id)
        else:
            ask = make_ask(connection, request, _messages(request))
            admit(connection, ask, 1)
            answer = connection.services.answers.submit(ask, request_id=call.request_id)
        connection.client.begin(answer)
        return answer

    answer = once(call, Answer, begin)
    connection.await_generation(answer, request_id=call.request_id)
    return None


def stream(call: Call) -> Reply:
    """Accept a streamed answer. A repeated request gets the first one from its beginning."""
    request: requests.Stream = call.request
    connection = call.connection

    def begin() -> Answer:
        if request.session_id is not None:
            answer = ask_in_session(call, request, request.session_id)
        else:
            ask = make_ask(connection, request, _messages(request))
            admit(connection, ask, 1)
            answer = connection.services.answers.submit(ask, request_id=call.request_id)
        connection.client.begin(answer)
        return answer

    answer = once(call, Answer, begin)
    if connection.view_of(answer.stream_id) is None:
        opening = started(answer, request.prompt, call.request_id)
        connection.open_view(answer, opening, request_id=call.request_id)
    return None


def ask_in_session(
    call: Call, request: requests.Generate | requests.Stream, session_id: str
) -> Answer:
    """An ask in a session: its turn is led by the session from here on.

    Raises:
        WireError: As for any ask, or ``invalid_parameters`` for a raw prompt. What the session
            itself refuses comes as the answer's end.
    """
    connection = call.connection
    services = connection.services
    if request.raw:
        raise WireError(
            ErrorCode.INVALID_PARAMETERS,
            "A session is made of turns; a raw prompt is none.",
            details=(FieldError(field="raw", message="cannot be used together with sessionId"),),
        )
    ask = make_ask(connection, request, None)
    may_change = request.model is None  # the session may name another model than the default one
    admit(connection, ask, 1, checks_options=not may_change)
    answer = services.answers.accept(ask, request_id=call.request_id, is_provisional=may_change)
    new: tuple[ChatMessage, ...] = ()
    if request.messages is not None:
        new = _chat(request.messages)
    elif request.prompt is not None:
        new = (ChatMessage(role="user", content=request.prompt),)
    services.sessions.conversations.begin(
        answer,
        Wish(
            session_id=session_id,
            new=new,
            system=request.system,
            parent_id=request.parent_id,
            regenerate=request.regenerate,
            names_model=request.model is not None,
        ),
    )
    return answer


async def count_tokens(call: Call) -> Reply:
    """Count with the model's own tokenizer and template."""
    request: requests.CountTokens = call.request
    messages = None if request.messages is None else _chat(request.messages)
    tokens = await call.connection.services.models.count_tokens(
        request.model, messages=messages, text=request.text
    )
    return events.TokenCount(request_id=call.request_id, tokens=tokens)


def make_ask(
    connection: Connection,
    request: requests.Generate | requests.Stream | requests.Batch,
    messages: tuple[ChatMessage, ...] | None,
    *,
    raw: str | None = None,
    room_id: str | None = None,
) -> Ask:
    """An ask of this connection's client."""
    if not isinstance(request, requests.Batch) and request.raw:
        messages, raw = None, request.prompt
    return Ask(
        owner=connection.client.identity,
        client_id=connection.client.client_id,
        options=request.options,
        messages=messages,
        raw=raw,
        model=request.model,
        room_id=room_id,
        name=connection.client.display_name,
        is_stream=isinstance(request, requests.Stream),
        is_patient=isinstance(request, requests.Batch),
    )


def admit(connection: Connection, ask: Ask, count: int, *, checks_options: bool = True) -> None:
    """Charge ``count`` requests, last of all checks that can be made before acceptance.

    Raises:
        WireError: ``draining``; ``forbidden`` for a priority above 0 without its scope; the
            model's or options' refusal; ``too_many_streams``;
            ``rate_limited``. Only what is accepted is charged.
    """
    services = connection.services
    services.require_open()
    if (ask.options.priority or 0) > 0:
        require_scope(connection, PRIORITY_HIGH)
    select(services.models, ask.model, ask.options if checks_options else None)
    key = ask.owner.limit_key
    try:
        services.limits.require_place(key)
        services.limits.admit(key, count, asyncio.get_running_loop().time())
    except WireError as error:
        services.telemetry.rate_limited(limit_of(error))
        raise


def _messages(request: requests.Generate | requests.Stream) -> tuple[ChatMessage, ...]:
    system = [ChatMessage(role="system", content=request.system)] if request.system else []
    if request.messages is not None:
        return (*system, *_chat(request.messages))
    return (*system, ChatMessage(role="user", content=request.prompt or ""))


def _chat(messages: tuple[requests.ChatMessage, ...]) -> tuple[ChatMessage, ...]:
    return tuple(
        ChatMessage(
            role=m.role.value,
            content=m.content,
            name=m.name,
            tool_calls=m.tool_calls,
            tool_call_id=m.tool_call_id,
        )
        for m in messages
    )
