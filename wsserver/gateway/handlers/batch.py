"""`batch` and `stop_batch`."""

from __future__ import annotations

from wsserver.core.batches import Batch
from wsserver.core.engine import ChatMessage
from wsserver.core.shared.batches import batch_name
from wsserver.gateway.dispatch import Call, Reply
from wsserver.gateway.handlers.generation import admit, make_ask
from wsserver.gateway.handlers.streams import batch_asked_as
from wsserver.gateway.repeats import once
from wsserver_protocol import requests
from wsserver_protocol.errors import ErrorCode, FieldError, WireError
from wsserver_protocol.lifecycle import StopReason


def batch(call: Call) -> Reply:
    """Accept a batch; its items begin as their asker has free places."""
    request: requests.Batch = call.request
    connection = call.connection
    services = connection.services

    def begin() -> Batch:
        bound = services.policy.max_batch
        if len(request.prompts) > bound:
            raise WireError(
                ErrorCode.BATCH_TOO_LARGE,
                f"A batch may hold at most {bound} prompts.",
                details=(FieldError(field="prompts", message=f"at most {bound} items"),),
            )
        asks = [
            make_ask(connection, request, (ChatMessage(role="user", content=prompt),))
            for prompt in request.prompts
        ]
        admit(connection, asks[0], len(asks))
        admission = services.limits.admission(asks[0].owner.limit_key, len(asks))
        # Known to be the same on any gateway, if it is sent again.
        is_named = request.request_id is not None and services.batches.is_shared
        name = batch_name(asks[0].owner.key, call.request_id) if is_named else ""
        accepted = services.batches.submit(asks, admission, batch_id=name)
        services.clients.begin_batch(connection.client, accepted)
        return accepted

    connection.follow_batch(once(call, Batch, begin), request_id=call.request_id)
    return None


def stop_batch(call: Call) -> Reply:
    """Stop a batch by its id, or by its requestId."""
    request: requests.StopBatch = call.request
    connection = call.connection
    services, client = connection.services, connection.client
    if request.batch_id is not None:
        found = services.batches.get(request.batch_id)
    else:
        found = batch_asked_as(connection, call.request_id)
    if found is None or found.is_ended or not client.asked_for(found.asks[0]):
        raise WireError(
            ErrorCode.BATCH_NOT_FOUND,
            "There is no such batch, or it has ended, or it is not yours.",
        )
    if not connection.follows_batch(found):
        # Its batch_complete is the reply, also on a connection that did not follow it.
        connection.follow_batch(found, request_id=call.request_id)
    services.batches.stop(found, StopReason.CLIENT, client.client_id)
    return None
