"""The synthetic engine's timing and fairness, on a clock of the test's own."""

from __future__ import annotations

from typing import Any

import pytest

from wsserver.core.engine import (
    ChatMessage,
    Delta,
    EngineJob,
    Failed,
    Finished,
    LoadProgress,
    ModelLoadError,
    ModelSpec,
    Output,
    Prefilled,
)
from wsserver.engines.contract import EngineOutput
from wsserver.engines.synthetic import SyntheticEngine, SyntheticSettings, read_settings


class Bench:
    """An engine and its clock."""

    def __init__(self, source: str) -> None:
        self.now = 100.0
        self.slept = 0.0
        self.progress: list[LoadProgress] = []
        self.engine = SyntheticEngine(clock=lambda: self.now, sleep=self._sleep)
        self.info = self.engine.load(spec(source), self.progress.append)

    def _sleep(self, seconds: float) -> None:
        self.slept += seconds

    def start(self, job_id: str = "a", **fields: Any) -> None:
        """Begin a job of two prompt tokens."""
        fields.setdefault("raw", "two words")
        self.engine.start(EngineJob(job_id=job_id, **fields))

    def advance(self, seconds: float) -> list[tuple[float, EngineOutput]]:
        """Let time pass, stepping whenever something is due; outputs with their ms from 100 s."""
        end = self.now + seconds
        outputs: list[tuple[float, EngineOutput]] = []
        while (due := self.engine.next_due()) is not None and self.now + due <= end + 1e-9:
            self.now += due
            outputs += [(round((self.now - 100) * 1000, 3), o) for o in self.engine.step()]
        self.now = end
        return outputs


def spec(source: str, **settings: Any) -> ModelSpec:
    """The spec of a source."""
    return ModelSpec(id="s", engine="synthetic", source=source, settings=settings)


def times_of_deltas(outputs: list[tuple[float, EngineOutput]]) -> list[float]:
    """When text came."""
    return [at for at, output in outputs if isinstance(output, Delta)]


def text_of(outputs: list[tuple[float, EngineOutput]], job_id: str = "a") -> str:
    """A job's text."""
    deltas = (o for _, o in outputs if isinstance(o, Delta) and o.job_id == job_id)
    return "".join(delta.text for delta in deltas)


def test_tokens_come_when_they_are_due() -> None:
    """The k-th token comes ttft + 1000·(k−1)/tps ms after the start, and never drifts."""
    bench = Bench("synthetic:?tps=40&ttft_ms=30")
    bench.start(max_tokens=4)
    outputs = bench.advance(1)
    assert outputs[0] == (0.0, Prefilled("a", 2, 2))
    assert times_of_deltas(outputs) == [30.0, 55.0, 80.0, 105.0]
    assert text_of(outputs) == "1 2 3 4 "
    assert isinstance(outputs[-1][1], Finished)


def test_late_step_gives_all_that_is_due_and_keeps_the_pace() -> None:
    """After a delay the tokens in arrears come at once and the next one at its own time."""
    bench = Bench("synthetic:?tps=100&ttft_ms=0")
    bench.start()
    bench.advance(0)
    bench.now += 0.0501
    assert text_of([(0, output) for output in bench.engine.step()]) == "2 3 4 5 6 "
    due = bench.engine.next_due()
    assert due is not None
    assert due == pytest.approx(0.0099, abs=1e-6)


def test_flat_out_steps_are_bounded_and_fair() -> None:
    """With no pace, a step gives each of many jobs its share, and a late one is not starved."""
    bench = Bench("synthetic:?tps=0&ttft_ms=0&slots=600")
    for number in range(400):
        bench.start(f"job {number}", max_tokens=10**6)
    given: dict[str, int] = {}
    for _ in range(20):
        outputs = bench.engine.step()
        assert len(outputs) <= 256
        for output in outputs:
            if isinstance(output, Delta):
                given[output.job_id] = given.get(output.job_id, 0) + output.tokens
        bench.now += 0.001
    assert len(given) == 400
    assert max(given.values()) - min(given.values()) <= 1


def test_single_flat_out_job_is_bounded_per_step() -> None:
    """One job alone gives a few tokens a step, so that its cancel waits for no more."""
    bench = Bench("synthetic:?tps=0&ttft_ms=0")
    bench.start(max_tokens=10**6)
    bench.engine.step()
    tokens = [o.tokens for o in bench.engine.step() if isinstance(o, Delta)]
    assert sum(tokens) == 8


def test_cancelled_jobs_leave_nothing_behind() -> None:
    """Thousands of jobs cancelled long before they are due take no memory."""
    bench = Bench("synthetic:?ttft_ms=1000000")
    for number in range(5000):
        bench.start(f"job {number}")
        bench.engine.step()
        bench.engine.cancel(f"job {number}")
        bench.engine.step()
    assert bench.engine.next_due() is None
    assert len(bench.engine._agenda) < 100


def test_many_paced_jobs_are_gathered_into_frames() -> None:
    """Above some number of jobs a step comes at most each millisecond."""
    bench = Bench("synthetic:?tps=1000&ttft_ms=0")
    for number in range(50):
        bench.start(f"job {number}", max_tokens=50)
        bench.now += 0.00001
    outputs = bench.advance(0.2)
    steps = {at for at, _ in outputs}
    assert len(steps) <= 60
    assert sum(isinstance(output, Delta) for _, output in outputs) == 50 * 50


def test_prompt_takes_its_time_in_chunks() -> None:
    """With prefill_tps a prompt is processed in steps of 50 ms, before the first token's wait."""
    bench = Bench("synthetic:?prefill_tps=100&ttft_ms=10&tps=50")
    bench.start(raw="word " * 12, max_tokens=1)
    outputs = bench.advance(1)
    prefills = [(at, o.done) for at, o in outputs if isinstance(o, Prefilled)]
    assert prefills == [(50.0, 5), (100.0, 10), (120.0, 12)]
    assert times_of_deltas(outputs) == [130.0]


def test_count_goes_on_after_its_prior() -> None:
    """Fed an answer begun before, it counts on from the number that ended it."""
    bench = Bench("synthetic:?ttft_ms=0&tps=0")
    bench.start(prior="1 2 3 ", prior_tokens=3, max_tokens=2)
    assert text_of(bench.advance(1)) == "4 5 "
    bench.start(prior="said by another model ", prior_tokens=7, max_tokens=1)
    assert text_of(bench.advance(1)) == "8 "


def test_fail_at_fails_after_so_many_tokens() -> None:
    """Each job gives n tokens and fails with the code of a failed generation."""
    bench = Bench("synthetic:?fail_at=3&ttft_ms=0")
    bench.start()
    outputs: list[EngineOutput] = [output for _, output in bench.advance(5)]
    assert text_of([(0, o) for o in outputs]) == "1 2 3 "
    assert isinstance(outputs[-1], Failed)
    assert outputs[-1].code == "generation_failed"
    bench.start("b", max_tokens=2)
    last: Output | Any = bench.advance(5)[-1][1]
    assert isinstance(last, Finished)


def test_words_of_all_messages_are_the_prompt() -> None:
    """A token is a whitespace-separated word of any message."""
    bench = Bench("synthetic:?ctx=5")
    messages = (
        ChatMessage(role="system", content="a\tb"),
        ChatMessage(role="user", content=" c\n d "),
    )
    bench.engine.start(EngineJob(job_id="a", messages=messages))
    last = bench.advance(1)[-1][1]
    assert isinstance(last, Finished)
    assert last.prompt_tokens == 4


def test_load_takes_its_time_with_progress() -> None:
    """load_ms makes the load last so long, and its progress rises."""
    bench = Bench("synthetic:?load_ms=3000")
    assert bench.slept == pytest.approx(3.0)
    shares = [progress.progress for progress in bench.progress]
    assert shares == sorted(shares)
    assert len(shares) > 10


def test_settings_have_their_documented_defaults() -> None:
    """A bare source is 50 tokens a second, 20 ms to the first, 1,024 slots, a million tokens."""
    assert read_settings(spec("synthetic:")) == SyntheticSettings(
        tps=50, ttft_ms=20, slots=1024, ctx=1_048_576, fail_at=0, load_ms=0, prefill_tps=0
    )


def test_source_goes_before_the_settings() -> None:
    """What the source says holds, the settings fill in what it leaves out."""
    chosen = read_settings(spec("synthetic:?tps=7", slots=2, tps=9))
    assert (chosen.tps, chosen.slots) == (7, 2)
    with pytest.raises(ModelLoadError, match="speed"):
        read_settings(spec("synthetic:", speed=2))


@pytest.mark.parametrize(
    ("source", "key"),
    [
        ("synthetic:?tps=x", "tps"),
        ("synthetic:?tps=", "tps"),
        ("synthetic:?tps=-1", "tps"),
        ("synthetic:?tps=nan", "tps"),
        ("synthetic:?tps=inf", "tps"),
        ("synthetic:?slots=0", "slots"),
        ("synthetic:?slots=1.5", "slots"),
        ("synthetic:?ctx=1e99", "ctx"),
        ("synthetic:?speed=1", "speed"),
        ("synthetic:?tps=1&tps=2", "tps"),
        ("synthetic:fast", "fast"),
    ],
)
def test_bad_parameter_is_named(source: str, key: str) -> None:
    """A bad, unknown or repeated key fails the load and is named."""
    with pytest.raises(ModelLoadError, match=key):
        read_settings(spec(source))
