"""Run a request once, however often it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from wsserver.core.ask import Answer
from wsserver.core.batches import Batch
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
    known = idempotency.find(identity, call.request_id, call.fields, now)
    if known is not None and isinstance(known.outcome, kind):
        return known.outcome
    outcome = begin()
    entry = idempotency.remember(identity, call.request_id, call.fields, outcome)
    loop = asyncio.get_running_loop()
    if isinstance(outcome, Answer | Batch):
        outcome.on_end.append(lambda _: idempotency.end(entry, loop.time()))
        if (isinstance(outcome, Batch) and outcome.is_ended) or (
            isinstance(outcome, Answer) and outcome.record.is_ended
        ):
            idempotency.end(entry, now)
    else:
        idempotency.end(entry, now)
    return outcome
