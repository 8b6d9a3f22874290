"""Run a request once, however often it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TypeVar

import msgspec

from wsserver.core.ask import Answer, Claim
from wsserver.core.batches import Batch
from wsserver.core.idempotency import Remembered, fingerprint
from wsserver.gateway.dispatch import Call

Outcome = TypeVar("Outcome")


def once(call: Call, kind: type[Outcome], begin: Callable[[], Outcome]) -> Outcome:
    """What the request becomes: ``begin``'s outcome, or that of the same request before it.

    Without a requestId of the client's own there is nothing to compare, and nothing is remembered
    beyond the request's own life (so that it can be stopped by the id that it was given).

    Raises:
        WireError: ``duplicate_request`` if the id was used for another request; whatever
            ``begin`` raises, and then nothing is remembered.
    """
    connection = call.connection
    idempotency = connection.services.idempotency
    identity = connection.client.identity
    now = asyncio.get_running_loop().time()
    # The request as it was understood, not as it came: either spelling is the same request, and
    # what was ignored in it (bytes, a nesting without end) need not be comparable.
    body = msgspec.to_builtins(call.request)
    known = idempotency.find(identity, call.request_id, body, now)
    if known is not None and isinstance(known.outcome, kind):
        return known.outcome
    outcome = begin()
    entry = idempotency.remember(identity, call.request_id, body, outcome)
    loop = asyncio.get_running_loop()
    is_named = call.request.request_id is not None
    if isinstance(outcome, Answer) and is_named:
        claim = Claim(identity.key, call.request_id, entry.fingerprint)
        connection.services.answers.claim_id(outcome, claim)
        outcome.on_replaced = partial(_replace, call, entry, outcome)
    elif isinstance(outcome, Batch) and is_named:
        claim = Claim(identity.key, call.request_id, entry.fingerprint)
        connection.services.batches.claim_id(outcome, claim)

    def ended(what: object) -> None:
        # Under an id that the server made nobody can ask again.
        is_refused = (isinstance(what, Answer) and what.is_refused) or (
            isinstance(what, Batch) and (what.refusal is not None or what.is_elsewhere)
        )
        if not is_named or is_refused:
            idempotency.forget(entry)
        else:
            idempotency.end(entry, loop.time())

    is_running = (isinstance(outcome, Answer) and not outcome.record.is_ended) or (
        isinstance(outcome, Batch) and not outcome.is_ended
    )
    if isinstance(outcome, Answer | Batch) and is_running:
        outcome.on_end.append(ended)
    else:
        ended(outcome)
    return outcome


def _replace(call: Call, entry: Remembered, answer: Answer, earlier: Answer) -> None:
    """The same request was accepted before, elsewhere: it is shown instead."""
    entry.outcome = earlier
    client = call.connection.client
    client.answers.pop(answer.stream_id, None)
    if not earlier.record.is_ended and earlier.ask.client_id == client.client_id:
        client.begin(earlier)
    call.connection.follow_instead(answer, earlier, request_id=call.request_id)


async def once_done(
    call: Call,
    work: Callable[[], Coroutine[None, None, Outcome]],
    *,
    store_remembers: bool = False,
) -> Outcome:
    """The reply that ``work`` makes, or that of the same request before it, with this requestId.

    The work is done to its end, also where its asker goes away meanwhile: what he sends again
    then finds it. What fails is not remembered.

    Args:
        call: The request.
        work: Does it.
        store_remembers: Done again, it finds in the store what it became. Only that is asked then,
            once it is done: the store may have lost it since, and is to be given it again.

    Raises:
        WireError: ``duplicate_request``, or whatever ``work`` raises.
    """
    idempotency = call.connection.services.idempotency
    identity = call.connection.client.identity
    loop = asyncio.get_running_loop()
    body = msgspec.to_builtins(call.request)
    known = idempotency.find(identity, call.request_id, body, loop.time())
    if known is not None and isinstance(known.outcome, asyncio.Task):
        earlier: asyncio.Task[Outcome] = known.outcome
        return _named(await asyncio.shield(earlier), call.request_id)
    task = loop.create_task(work())
    entry = idempotency.remember(identity, call.request_id, body, task)

    def done(ended: asyncio.Task[Outcome]) -> None:
        if ended.cancelled() or ended.exception() is not None or store_remembers:
            idempotency.forget(entry)
        else:
            idempotency.end(entry, loop.time())

    task.add_done_callback(done)
    return _named(await asyncio.shield(task), call.request_id)


def claim_of(call: Call) -> Claim | None:
    """The id that a request was given by its sender, and what it asks for; None if it has none."""
    if call.request.request_id is None:
        return None
    body = msgspec.to_builtins(call.request)
    return Claim(call.connection.client.identity.key, call.request_id, fingerprint(body))


def _named(reply: Outcome, request_id: str) -> Outcome:
    renamed: Outcome = msgspec.structs.replace(reply, request_id=request_id)  # type: ignore[type-var]  # every reply is a struct
    return renamed
