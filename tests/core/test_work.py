"""Many answers at once: batches, a full queue, and any order of events from hypothesis."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.test_runner import counted, stop
from tests.support.core import Core
from tests.support.virtual_time import pass_time, until, virtual
from wsserver.core.ask import Answer
from wsserver_protocol.errors import ErrorCode, WireError
from wsserver_protocol.lifecycle import StopReason


@virtual
async def test_stopping_a_batch_begins_nothing() -> None:
    """With places for two of six items, a stop ends two and never begins the others."""
    core = Core(places=2)
    await core.ready("synthetic:?tps=10&ttft_ms=0&slots=1")
    batch = core.batches.submit([core.ask(max_tokens=1000) for _ in range(6)])
    await pass_time(1)
    core.batches.stop(batch, StopReason.CLIENT, "cli_ada")
    await until(lambda: batch.is_ended)
    assert batch.summary().cancelled == 6
    assert len(core.engines.last.started) == 1
    await core.close()


@virtual
async def test_a_batch_waits_for_places() -> None:
    """Items begin as places come free, and each ends once."""
    core = Core(places=2)
    await core.ready("synthetic:?tps=10&ttft_ms=0")
    batch = core.batches.submit([core.ask(max_tokens=10) for _ in range(5)])
    seen = 0
    while not batch.is_ended:
        seen = max(seen, core.answers.active)
        await pass_time(0.01)
    assert seen == 2
    assert sorted(outcome.index for outcome in batch.outcomes) == list(range(5))
    assert batch.summary().successful == 5
    await core.close()


@virtual
async def test_a_full_queue_leaves_nothing_behind() -> None:
    """A request that finds the queue full takes no place, no record, no timer."""
    core = Core(queue=1)
    await core.ready("synthetic:?tps=10&slots=1")
    running = core.submit(max_tokens=100)
    await until(lambda: running.record.first_token_at is not None)
    waiting = core.submit(max_tokens=1)
    with pytest.raises(WireError) as refused:
        core.submit(max_tokens=1, timeout=60_000)
    assert refused.value.code is ErrorCode.OVERLOADED
    assert core.answers.active == 2
    assert len(core.log) == 2
    for answer in (running, waiting):
        stop(core, answer)
    await core.ended(running, waiting)
    await core.close()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from([1, 3, 50, 400])),
        st.tuples(st.just("stop"), st.integers(0, 30)),
        st.tuples(st.just("die"), st.just(0)),
        st.tuples(st.just("wait"), st.integers(1, 900)),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(steps=steps, slots=st.integers(1, 3))
def test_whatever_happens_each_answer_ends_once(steps: list[tuple[str, int]], slots: int) -> None:
    """Any order of asks, stops, deaths and pauses: one end each, right text, no slot lost."""

    @virtual
    async def run() -> None:
        core = Core()
        await core.ready(f"synthetic:?tps=10&ttft_ms=0&slots={slots}&load_ms=50")
        answers: list[Answer] = []
        ends: list[str] = []
        deaths = 0
        for what, value in steps:
            if what == "ask":
                answers.append(core.submit("ada" if value % 2 else "bob", max_tokens=value))
                answers[-1].on_end.append(lambda answer: ends.append(answer.stream_id))
            elif what == "stop" and answers:
                stop(core, answers[value % len(answers)])
            elif what == "die" and deaths < 2:
                deaths += 1
                core.engines.last.die()
                await pass_time(1)
            else:
                await pass_time(value / 1000)
        await core.ended(*answers)
        assert sorted(ends) == sorted(answer.stream_id for answer in answers)
        for answer in answers:
            text = answer.record.transcript.text
            assert text == counted(len(text.split()))
        await core.close()

    run()
