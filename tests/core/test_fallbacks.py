"""Another model in place of the one that was asked: when, which, and never in the middle."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.core.test_runner import counted
from tests.support.core import Core
from tests.support.virtual_time import pass_time, until, virtual
from wsserver.core.ask import Answer
from wsserver.core.engine import Failed, ModelLoadError
from wsserver.core.models import Model
from wsserver.core.models.fallbacks import loaded_model
from wsserver.core.pace import Pace
from wsserver_protocol.errors import ErrorCode, WireError

PACED = "synthetic:?tps=10&ttft_ms=500&slots=1"


async def two(core: Core, first: str = PACED, second: str = PACED) -> tuple[Model, Model]:
    """Model ``a`` with the fallback ``b``, both ready."""
    a, b = await core.ready(first, "a"), await core.ready(second, "b")
    a.fallbacks = ("b",)
    return a, b


def ask(core: Core, **options: Any) -> Answer:
    """Ask model ``a`` for ten tokens."""
    return core.answers.submit(core.ask(model="a", **{"max_tokens": 10, **options}))


def told(answer: Answer) -> tuple[str, str | None, str]:
    """Who answered, who was asked, and what was said."""
    record = answer.record
    return record.model_id, record.requested_model, record.transcript.text


@virtual
async def test_an_unloaded_model_is_answered_for() -> None:
    """A request for a model that is not there goes to its fallback, and says so."""
    core = Core()
    a, _ = await two(core)
    core.models.begin_unload(a, force=False)
    answer = ask(core)
    await core.ended(answer)
    assert told(answer) == ("b", "a", counted(10))
    await core.close()


@virtual
async def test_a_full_queue_is_passed_on() -> None:
    """What the model's queue does not take, its fallback does; then nobody does."""
    core = Core(queue=1)
    await two(core)
    answers = []
    for _ in range(4):
        answers.append(ask(core))
        await pass_time(0.01)
    assert [told(answer)[:2] for answer in answers] == [("a", None)] * 2 + [("b", "a")] * 2
    with pytest.raises(WireError) as refused:
        ask(core)
    assert refused.value.code is ErrorCode.OVERLOADED
    await core.ended(*answers)
    assert {told(answer)[2] for answer in answers} == {counted(10)}
    await core.close()


@virtual
async def test_who_waits_for_a_model_that_goes_is_answered() -> None:
    """What waits in line when the model is unloaded is moved; what runs there ends there."""
    core = Core()
    a, _ = await two(core)
    running, waiting = ask(core, max_tokens=20), ask(core)
    await pass_time(1)
    core.models.begin_unload(a, force=False)
    await core.ended(running, waiting)
    assert told(running) == ("a", None, counted(20))
    assert told(waiting) == ("b", "a", counted(10))
    await core.close()


@virtual
async def test_who_waits_for_a_load_that_fails_is_answered() -> None:
    """A request that waits for a loading model is moved when the load fails."""
    core = Core()
    await core.ready(PACED, "b")
    a = core.load("synthetic:?load_ms=5000&no=1", "a")
    a.fallbacks = ("b",)
    answer = core.answers.submit(core.ask(model="a", max_tokens=10))
    with pytest.raises(ModelLoadError):
        await core.models.loaded(a)
    await core.ended(answer)
    assert told(answer) == ("b", "a", counted(10))
    await core.close()


@virtual
async def test_a_session_whose_model_does_not_load_is_answered() -> None:
    """What prepares an answer while its model loads goes on with the fallback when that fails;
    who was asked is not forgotten when the model is bound once more."""
    core = Core()
    await core.ready(PACED, "b")
    a = core.load("synthetic:?load_ms=5000&no=1", "a")
    a.fallbacks = ("b",)
    answer = core.answers.accept(core.ask(model="a", max_tokens=3))
    model, info = await loaded_model(core.models, answer.record, answer.ask.options)
    assert (model.id, info.slots) == ("b", 1)
    core.answers.rebind(answer, answer.record.model_id)
    core.answers.enqueue(answer, messages=answer.ask.messages)
    await core.ended(answer)
    assert told(answer) == ("b", "a", counted(3))
    await core.close()


def fail(core: Core, answer: Answer, code: str) -> None:
    """Have the engine of the answer fail its job, as one does whose server is away."""
    host = next(h for h in reversed(core.engines.hosts) if answer.stream_id in h.started)
    host.fail(Failed(answer.stream_id, code, "no server answers", retryable=True))


@virtual
async def test_an_overloaded_engine_is_answered_for_before_the_first_token() -> None:
    """An engine that can't begin (its circuit is open) hands on; after a token it does not."""
    core = Core()
    await two(core)
    early = ask(core)
    await pass_time(0.2)
    fail(core, early, "overloaded")
    await core.ended(early)
    assert told(early) == ("b", "a", counted(10))
    late = ask(core)
    await until(lambda: late.record.first_token_at is not None)
    said = late.record.transcript.text
    fail(core, late, "overloaded")
    await core.ended(late)
    assert told(late) == ("a", None, said)
    assert late.record.ending is not None
    assert late.record.ending.code is ErrorCode.OVERLOADED
    await core.close()


@virtual
async def test_a_fault_of_the_request_is_nobody_elses() -> None:
    """What the engine refuses for the request's sake is not tried elsewhere."""
    core = Core()
    await two(core)
    answer = ask(core)
    await pass_time(0.2)
    fail(core, answer, "context_length_exceeded")
    await core.ended(answer)
    assert told(answer) == ("a", None, "")
    await core.close()


def is_with(answer: Answer, name: str) -> bool:
    """Whether this model is to make the answer."""
    return answer.record.model_id == name


@virtual
async def test_each_model_is_tried_once() -> None:
    """Where all fallbacks fail too, the last failure is the answer's end."""
    core = Core()
    await two(core)
    answer = ask(core)
    for name in ("a", "b"):
        await until(partial(is_with, answer, name))
        await pass_time(0.2)
        fail(core, answer, "overloaded")
    await core.ended(answer)
    assert answer.record.ending is not None
    assert answer.record.ending.code is ErrorCode.OVERLOADED
    await core.close()


def test_the_wait_is_told_by_the_pace() -> None:
    """A slot a half second: three of them take 1.5 s; bounded, and longer where nothing ends."""
    pace = Pace()
    assert pace.wait_for(1, 0.0) == 1.0
    for number in range(10):
        pace.note_end(number / 2)
    assert pace.wait_for(3, 4.5) == pytest.approx(1.5)
    assert pace.wait_for(1, 14.5) == pytest.approx(10)
    assert pace.wait_for(1000, 4.5) == 60.0
    for number in range(100):
        pace.note_end(20 + number / 1000)
    assert pace.wait_for(1, 20.1) == 0.1
