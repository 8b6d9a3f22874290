"""Requests that are remembered: by whom, under what, for how long."""

from __future__ import annotations

import pytest

from wsserver.core.idempotency import Idempotency
from wsserver.core.identity import Identity
from wsserver_protocol.errors import ErrorCode, WireError

ADA = Identity.named("ada", None, "1.1.1.1")
BOB = Identity.named("bob", None, "1.1.1.1")
BODY = {"type": "stream", "prompt": "x", "options": {"a": 1, "b": [1, 2]}}


def test_the_same_request_is_found_by_its_owner_only() -> None:
    """Under the same id and body the first outcome; for anyone else there is none."""
    memory = Idempotency(600.0)
    outcome = object()
    memory.remember(ADA, "1", BODY, outcome)
    found = memory.find(ADA, "1", BODY, 0.0)
    assert found is not None
    assert found.outcome is outcome
    assert memory.find(BOB, "1", BODY, 0.0) is None
    assert memory.find(ADA, "2", BODY, 0.0) is None
    assert memory.outcome(ADA, "1") is outcome


def test_the_order_of_fields_and_the_id_do_not_count() -> None:
    """A body is compared by what it says."""
    memory = Idempotency(600.0)
    memory.remember(ADA, "1", {**BODY, "requestId": "1"}, "outcome")
    turned = {"options": {"b": [1, 2], "a": 1}, "prompt": "x", "type": "stream"}
    assert memory.find(ADA, "1", turned, 0.0) is not None


@pytest.mark.parametrize(
    "body",
    [
        {**BODY, "prompt": "y"},
        {**BODY, "type": "generate"},
        {**BODY, "options": {"a": 1, "b": [2, 1]}},
        {**BODY, "model": "m"},
    ],
)
def test_another_body_is_a_duplicate(body: dict[str, object]) -> None:
    """The same id for something else is refused."""
    memory = Idempotency(600.0)
    memory.remember(ADA, "1", BODY, "outcome")
    with pytest.raises(WireError) as refused:
        memory.find(ADA, "1", body, 0.0)
    assert refused.value.code is ErrorCode.DUPLICATE_REQUEST


def test_what_runs_is_remembered_and_what_ended_is_forgotten() -> None:
    """The time counts from the end, once; what has not ended stays."""
    memory = Idempotency(600.0)
    running = memory.remember(ADA, "running", BODY, "r")
    ended = memory.remember(ADA, "ended", BODY, "e")
    memory.end(ended, 100.0)
    memory.end(ended, 500.0)
    assert memory.find(ADA, "ended", BODY, 700.0) is ended
    assert memory.find(ADA, "ended", BODY, 700.1) is None
    assert memory.find(ADA, "running", BODY, 10_000.0) is running
    assert len(memory) == 1


def test_an_id_used_again_is_not_forgotten_with_its_first_use() -> None:
    """The old entry's expiry leaves the newer one alone."""
    memory = Idempotency(10.0)
    memory.end(memory.remember(ADA, "1", BODY, "old"), 0.0)
    assert memory.find(ADA, "1", BODY, 11.0) is None
    newer = memory.remember(ADA, "1", BODY, "new")
    assert memory.find(ADA, "1", BODY, 100.0) is newer


def test_a_refusal_after_all_is_forgotten() -> None:
    """What turned out to be refused may be asked again under its id."""
    memory = Idempotency(600.0)
    memory.forget(memory.remember(ADA, "1", BODY, "outcome"))
    assert memory.find(ADA, "1", {"type": "other"}, 0.0) is None
