"""Answers from acceptance to end, over the real synthetic engine on virtual time."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from tests.support.core import Core
from tests.support.virtual_time import pass_time, until, virtual
from wsserver.core.ask import Answer
from wsserver.core.models.model import ModelStatus
from wsserver.core.streams import EndKind
from wsserver_protocol.errors import ErrorCode, WireError
from wsserver_protocol.lifecycle import FinishReason, StopReason, StreamState


def counted(tokens: int) -> str:
    """What the synthetic engine says in so many tokens."""
    return "".join(f"{number} " for number in range(1, tokens + 1))


def now() -> float:
    """Virtual seconds."""
    return asyncio.get_running_loop().time()


def has_tokens(answer: Answer, tokens: int) -> bool:
    """Whether an answer has exactly so many tokens."""
    return answer.record.transcript.tokens == tokens


def stop(core: Core, answer: Answer) -> bool:
    """Stop an answer as its client."""
    return core.answers.stop(answer, StopReason.CLIENT, "cli_ada")


@virtual
async def test_an_answer_comes_at_its_pace() -> None:
    """Ten tokens at two a second take four and a half seconds after the first."""
    core = Core()
    await core.ready("synthetic:?tps=2&ttft_ms=500")
    begin = now()
    answer = core.submit(max_tokens=10)
    await core.ended(answer)
    record = answer.record
    assert record.transcript.text == counted(10)
    assert record.ending is not None
    assert (record.ending.kind, record.ending.finish_reason) == (
        EndKind.COMPLETE,
        FinishReason.LENGTH,
    )
    assert record.first_token_at == pytest.approx(begin + 0.5, abs=0.01)
    assert now() - begin == pytest.approx(5.0, abs=0.02)
    assert (record.prompt_tokens, record.transcript.generated) == (2, 10)
    await core.close()


@virtual
async def test_no_more_than_the_slots_run() -> None:
    """Of eight requests three run; each end lets the next begin, in order."""
    core = Core()
    model = await core.ready("synthetic:?tps=10&slots=3")
    answers = [core.submit(max_tokens=10) for _ in range(8)]
    busiest = 0
    while not all(answer.record.is_ended for answer in answers):
        assert model.busy <= 3
        busiest = max(busiest, model.busy)
        await pass_time(0.01)
    assert busiest == 3
    assert core.engines.last.started == [answer.stream_id for answer in answers]
    await core.close()


@virtual
async def test_a_stop_in_line_never_begins() -> None:
    """What is stopped while it waits ends at once, and its engine never hears of it."""
    core = Core()
    await core.ready("synthetic:?tps=10&slots=1")
    running, waiting, last = [core.submit(max_tokens=10) for _ in range(3)]
    await until(lambda: running.record.first_token_at is not None)
    assert (waiting.record.queue_position, last.record.queue_position) == (1, 2)
    assert stop(core, waiting)
    assert waiting.record.state is StreamState.ENDED
    assert not stop(core, waiting)
    await until(lambda: last.record.queue_position == 1)
    await core.ended(running, last)
    assert waiting.stream_id not in core.engines.last.started
    await core.close()


@virtual
async def test_a_stop_in_prefill_and_in_decode_frees_the_slot() -> None:
    """A stop ends the work within a step, and the next in line has its slot."""
    core = Core()
    await core.ready("synthetic:?tps=1&ttft_ms=0&slots=1&prefill_tps=10")
    prefilling = core.submit(prompt="word " * 6000, max_tokens=5)
    waiting = core.submit(prompt="x", max_tokens=600)
    await pass_time(5)
    assert prefilling.record.state is StreamState.RUNNING
    begin = now()
    stop(core, prefilling)
    await core.ended(prefilling)
    await until(lambda: waiting.record.state is StreamState.RUNNING)
    assert now() - begin < 0.01
    await pass_time(10)
    begin, text = now(), waiting.record.transcript.text
    stop(core, waiting)
    await core.ended(waiting)
    assert now() - begin < 0.01
    assert waiting.record.transcript.text == text
    assert waiting.record.ending is not None
    assert waiting.record.ending.stop_reason is StopReason.CLIENT
    await core.close()


@virtual
async def test_a_stop_while_the_model_loads() -> None:
    """What waits for a load is stopped at once; the others begin after it."""
    core = Core()
    core.load("synthetic:?tps=0&load_ms=10000")
    stopped, kept = core.submit(max_tokens=3), core.submit(max_tokens=3)
    assert stopped.record.state is StreamState.LOADING
    await pass_time(1)
    stop(core, stopped)
    assert stopped.record.is_ended
    await core.ended(kept)
    assert now() == pytest.approx(10, abs=0.1)
    assert core.engines.last.started == [kept.stream_id]
    await core.close()


@virtual
async def test_time_limits() -> None:
    """In line and in prefill a timeout is an error, in decode it completes with the text."""
    core = Core()
    await core.ready("synthetic:?tps=2&ttft_ms=0&slots=1")
    running = core.submit(max_tokens=1000, timeout=3000)
    waiting = core.submit(max_tokens=10, timeout=2000)
    await core.ended(waiting)
    assert now() == pytest.approx(2.0, abs=0.01)
    assert waiting.record.ending is not None
    assert waiting.record.ending.code is ErrorCode.TIMEOUT
    await core.ended(running)
    assert now() == pytest.approx(3.0, abs=0.02)
    assert running.record.ending is not None
    assert running.record.ending.finish_reason is FinishReason.TIMEOUT
    assert running.record.transcript.text == counted(6)
    await core.close()


@virtual
async def test_a_wait_without_end_is_bounded() -> None:
    """Who finds no slot within the server's patience is told so, not kept."""
    core = Core(max_wait=5.0)
    await core.ready("synthetic:?tps=1&slots=1")
    running, waiting = core.submit(max_tokens=60), core.submit(max_tokens=1)
    await core.ended(waiting)
    assert now() == pytest.approx(5.0, abs=0.1)
    assert waiting.record.ending is not None
    assert waiting.record.ending.kind is EndKind.ERROR
    assert waiting.record.ending.retryable
    await core.ended(running)
    assert running.record.transcript.text == counted(60)
    await core.close()


@virtual
async def test_a_death_loses_nothing() -> None:
    """Answers go on from their text, the waiting ones keep their place, stopped ones stay so."""
    core = Core()
    model = await core.ready("synthetic:?tps=10&ttft_ms=0&slots=2&load_ms=1000")
    running, stopped, waiting = [core.submit(max_tokens=40) for _ in range(3)]
    await until(lambda: running.record.transcript.tokens == 17)
    text = running.record.transcript.text
    core.engines.last.die()
    stop(core, stopped)
    await until(lambda: running.record.state is not StreamState.RUNNING)
    assert running.record.transcript.text == text
    await core.ended(running, stopped, waiting)
    assert running.record.transcript.text == waiting.record.transcript.text == counted(40)
    assert stopped.record.ending is not None
    assert stopped.record.ending.kind is EndKind.STOPPED
    first, second = core.engines.hosts
    assert second.started == [running.stream_id, waiting.stream_id]
    assert first.started == [running.stream_id, stopped.stream_id]
    assert (model.status, model.busy) == (ModelStatus.READY, 0)
    await core.close()


@virtual
async def test_a_death_at_the_last_token() -> None:
    """An answer that had all its tokens when its engine died completes without another one."""
    core = Core()
    await core.ready("synthetic:?tps=10&ttft_ms=0")
    answer = core.submit(max_tokens=5)
    await until(lambda: answer.record.transcript.tokens == 4)
    core.engines.last.die()
    await core.ended(answer)
    assert answer.record.transcript.text == counted(5)
    await core.close()


@virtual
async def test_a_model_that_keeps_dying_fails() -> None:
    """After the last restart everything ends with the reason, and new requests are refused."""
    core = Core()
    model = await core.ready("synthetic:?tps=10&ttft_ms=0&slots=1")
    running, waiting = core.submit(max_tokens=1000), core.submit(max_tokens=1000)
    for deaths in range(1, 7):
        await until(lambda: model.slots == 1)
        core.engines.last.die()
        await until(lambda: model.slots == 0, 1.0)
        if deaths == 3:
            await core.ended(running)
    await core.ended(waiting)
    await until(lambda: model.status is ModelStatus.FAILED)
    assert model.reason is not None
    assert "died 6 times" in model.reason
    for answer in (running, waiting):
        assert answer.record.ending is not None
        assert answer.record.ending.kind is EndKind.ERROR
    with pytest.raises(WireError) as refused:
        core.submit()
    assert refused.value.code is ErrorCode.MODEL_NOT_READY
    await core.close()


@virtual
async def test_a_load_that_dies_after_a_crash_is_tried_again() -> None:
    """A child that is killed while it loads anew counts as one more crash, no more."""
    core = Core()
    model = await core.ready("synthetic:?tps=10&ttft_ms=0&load_ms=1000")
    answer = core.submit(max_tokens=20)
    await until(lambda: answer.record.transcript.tokens == 5)
    core.engines.last.die()
    await until(lambda: len(core.engines.hosts) == 2)
    core.engines.last.die()
    await core.ended(answer)
    assert answer.record.transcript.text == counted(20)
    assert model.status is ModelStatus.READY
    await core.close()


@virtual
async def test_unloading_waits_or_stops() -> None:
    """Without force running answers end; with it they are stopped; waiting ones are refused."""
    core = Core()
    for force in (False, True):
        model_id = f"force-{force}"
        model = await core.ready("synthetic:?tps=10&ttft_ms=0&slots=1", model_id)
        running, waiting = [
            core.answers.submit(core.ask(model=model_id, max_tokens=20)) for _ in range(2)
        ]
        await until(partial(has_tokens, running, 3))
        core.models.begin_unload(model, force=force)
        assert waiting.record.ending is not None
        assert waiting.record.ending.code is ErrorCode.MODEL_NOT_READY
        await core.models.unloaded(model)
        assert running.record.ending is not None
        expected = EndKind.STOPPED if force else EndKind.COMPLETE
        assert running.record.ending.kind is expected
        assert (model.status, model.busy) == (ModelStatus.UNLOADED, 0)
    await core.close()
