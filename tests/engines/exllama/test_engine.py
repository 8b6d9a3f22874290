"""The engine of both libraries, over a backend that counts instead of a library.

The backend keeps to the interface that is the project's own; what the libraries themselves do is
tested with them (``tests/engines/exllamav2``, ``tests/gpu``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.engines.exllama.driven import Driven
from tests.tiny_models import SENTENCE, ByteLevelVocabulary, answer
from wsserver.core.engine import (
    ChatMessage,
    Delta,
    Failed,
    Finished,
    FinishReason,
    ModelSpec,
    Prefilled,
    Sampling,
)
from wsserver.engines.contract import JobRefused
from wsserver.engines.exllama.backend import Backend, Order
from wsserver.engines.exllama.engine import ExllamaEngine
from wsserver.engines.exllama.files import ModelFiles
from wsserver.engines.exllama.loading import Loaded, prompt_builder
from wsserver.engines.exllama.results import End, Event, Stage
from wsserver.engines.exllama.settings import ExllamaSettings
from wsserver.engines.exllama.templates import open_template
from wsserver.engines.exllama.tokens import ModelTokenizer
from wsserver.engines.exllamav2.backend import V2Backend
from wsserver.engines.link import Count, Counted, CountRefused

WORDS = ByteLevelVocabulary(SENTENCE)
CYCLE = [token for word in SENTENCE.split() for token in WORDS.of_word(word)]


@dataclass
class Task:
    """A job of the backend."""

    order: Order
    done: int = 0
    said: int = 0
    fault: str | None = None


@dataclass
class Recital(V2Backend):
    """Recites the sentence, a token a step, after its prompt went by in chunks."""

    chunk: int = 256
    tasks: list[Task] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    synchronized: int = 0
    made: list[Order] = field(default_factory=list)
    error: BaseException | None = None
    prefilled: list[int] = field(default_factory=list)  # prompt tokens of each step

    def make_job(self, order: Order) -> Any:
        """Nothing that can fail."""
        self.made.append(order)
        return Task(order)

    def enqueue(self, job: Any) -> None:
        """Take it."""
        if job.order.sampling.seed == 13:
            raise AssertionError("Job requires 9 pages and cannot be enqueued")
        self.tasks.append(job)

    def cancel(self, job: Any) -> None:
        """Drop it."""
        self.cancelled.append(job.order.job_id)
        self.tasks = [task for task in self.tasks if task is not job]

    def iterate(self) -> list[Event]:
        """A chunk or a token of each."""
        if self.error is not None:
            raise self.error
        events: list[Event] = []
        prefilled = 0
        for task in list(self.tasks):
            wanted = len(task.order.tokens) - 1
            if task.done < wanted:
                step = min(self.chunk, wanted - task.done)
                task.done += step
                prefilled += step
                events.append(Event(task.order.job_id, Stage.PREFILL, done=task.done))
            else:
                events.append(self._speak(task))
        self.prefilled.append(prefilled)
        return events

    def _speak(self, task: Task) -> Event:
        token = CYCLE[task.said % len(CYCLE)]
        task.said += 1
        end = End.LIMIT if task.said == task.order.max_tokens else None
        if end is not None:
            self.tasks.remove(task)
        return Event(task.order.job_id, Stage.TOKENS, tokens=(token,), end=end)

    def synchronize(self) -> None:
        """Count."""
        self.synchronized += 1

    def cached_tokens(self, job: Any) -> int:
        """None."""
        return 0

    def fault_of(self, job: Any) -> str | None:
        """As a grammar's."""
        fault: str | None = job.fault
        return fault

    def close(self) -> None:
        """Nothing to unload."""


@pytest.fixture
def backend() -> Recital:
    """What the engine drives."""
    return Recital()


@pytest.fixture
def stage(files: ModelFiles, backend: Recital) -> Iterator[Driven]:
    """A loaded engine."""
    tokenizer = ModelTokenizer(files, open_template(files, None, {}))
    loaded = Loaded(
        files=files,
        settings=ExllamaSettings(slots=4, ctx=1024, cache_tokens=4096, chunk=256),
        tokenizer=tokenizer,
        prompts=prompt_builder(tokenizer, has_template=True),
        end_tokens=frozenset((2, 4)),
        own_stops=(),
        unsupported=frozenset(("typical_p",)),
        warnings=("told",),
    )

    def load(backend: Backend, spec: ModelSpec, report: Callable[[float], None]) -> Loaded:
        report(1.0)
        return loaded

    engine = ExllamaEngine(backend, load)
    info = engine.load(ModelSpec(id="m", engine="x", source="tiny"), lambda progress: None)
    assert (info.slots, info.context_length, info.warnings) == (4, 1024, ("told",))
    yield Driven(engine)
    engine.close()


def test_answer_is_recited(stage: Driven, backend: Recital) -> None:
    """From a conversation to its end, with the text and the usage."""
    messages = (ChatMessage(role="user", content="hello"),)
    stage.start("a", raw=None, messages=messages, max_tokens=12)
    end = stage.end("a")
    assert end == Finished("a", FinishReason.LENGTH, len(backend.made[0].tokens))
    assert "".join(o.text for o in stage.of("a") if isinstance(o, Delta)) == answer(12)
    stage.engine.count(Count(request=1, messages=messages))
    stage.until(lambda: Counted(1, end.prompt_tokens) in stage.outputs)
    assert stage.engine.next_due() is None


def test_prior_and_bounds_reach_the_job(stage: Driven, backend: Recital) -> None:
    """The answer so far ends the prompt, and the length is bounded by the context."""
    stage.start("a", prior=answer(2), max_tokens=1_000_000)
    stage.until(lambda: bool(backend.tasks))
    order = backend.made[0]
    assert order.tokens[-2:] == CYCLE[:2]
    assert order.max_tokens == 1024 - len(order.tokens)
    assert order.end_tokens == {2, 4}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"words": 1100}, "context_length_exceeded"),
        ({"sampling": Sampling(seed=13)}, "generation_failed"),
    ],
)
def test_what_cannot_begin_fails_alone(stage: Driven, fields: dict[str, Any], code: str) -> None:
    """Too long a prompt, a job that the library refuses: the engine goes on."""
    stage.start("a", **fields)
    end = stage.end("a")
    assert isinstance(end, Failed)
    assert end.code == code
    stage.start("b", max_tokens=2)
    assert isinstance(stage.end("b"), Finished)


def test_missing_option_is_refused_at_once(stage: Driven) -> None:
    """What the model lacks never reaches the thread."""
    with pytest.raises(JobRefused, match="typical_p") as caught:
        stage.start("a", sampling=Sampling(typical_p=0.5))
    assert caught.value.code == "unsupported_option"


def test_step_takes_no_more_than_one_chunk_of_prompts(stage: Driven, backend: Recital) -> None:
    """Three long prompts come one after another; short ones share a step."""
    for job_id in ("a", "b", "c"):
        stage.start(job_id, words=600, max_tokens=1)
    stage.prepared()
    for job_id in ("a", "b", "c"):
        stage.end(job_id)
    assert max(backend.prefilled) <= 256
    backend.prefilled.clear()
    for number in range(3):
        stage.start(f"short {number}", words=20, max_tokens=1)
    stage.prepared()
    for number in range(3):
        stage.end(f"short {number}")
    assert max(backend.prefilled) <= 256


def test_chunk_without_a_token_is_waited_for(stage: Driven, backend: Recital) -> None:
    """Chunks do not pile up on the GPU: a stop would have to wait for them all."""
    stage.start("a", words=600, max_tokens=2)
    stage.end("a")
    assert backend.synchronized == 3


def test_cancel_in_every_stage_gives_one_end(stage: Driven, backend: Recital) -> None:
    """While preparing, waiting, prefilling and speaking; unknown ids are ignored."""
    stage.engine.cancel("nobody")
    stage.start("a", words=600)
    stage.engine.cancel("a")
    assert stage.end("a") == Finished("a", FinishReason.CANCELLED, 0)
    stage.start("b", words=600)
    stage.start("c", words=600)
    stage.prepared()
    stage.until(lambda: any(isinstance(o, Prefilled) for o in stage.of("b")))
    stage.engine.cancel("c")
    stage.engine.cancel("b")
    for job_id in ("b", "c"):
        end = stage.end(job_id)
        assert isinstance(end, Finished)
        assert end.reason is FinishReason.CANCELLED
    stage.start("d", max_tokens=900)
    stage.until(lambda: any(isinstance(o, Delta) for o in stage.of("d")))
    stage.engine.cancel("d")
    stage.engine.cancel("d")
    assert isinstance(stage.end("d"), Finished)
    assert backend.tasks == []
    assert stage.engine.next_due() is None


def test_stop_string_ends_the_librarys_job(stage: Driven, backend: Recital) -> None:
    """The text is matched here, and the generator would go on."""
    stage.start("a", max_tokens=50, sampling=Sampling(stop=(" fox",)))
    assert stage.end("a") == Finished("a", FinishReason.STOP_STRING, 5)
    assert backend.cancelled == ["a"]


def test_fault_of_a_grammar_ends_its_answer(stage: Driven, backend: Recital) -> None:
    """One answer fails; the other goes on."""
    stage.start("a", max_tokens=50)
    stage.start("b", max_tokens=6)
    stage.prepared()
    stage.until(lambda: len(backend.tasks) == 2)
    backend.tasks[0].fault = "the grammar could not be followed"
    end = stage.end("a")
    assert isinstance(end, Failed)
    assert "grammar" in end.message
    assert isinstance(stage.end("b"), Finished)


def test_exception_of_a_step_leaves_it(stage: Driven, backend: Recital) -> None:
    """The state can't be trusted: the child ends, and the host goes on elsewhere."""
    stage.start("a")
    stage.until(lambda: bool(backend.tasks))
    backend.error = RuntimeError("CUDA error: unspecified launch failure")
    with pytest.raises(RuntimeError, match="CUDA error"):
        stage.engine.step()


def test_refusal_of_the_template_answers_a_count(stage: Driven) -> None:
    """A conversation that can't be worded can't be counted."""
    model = stage.engine._model
    assert model is not None
    refusing = open_template(model.files, "{{ raise_exception('no') }}", {})
    tokenizer = ModelTokenizer(model.files, refusing)
    prompts = prompt_builder(tokenizer, has_template=True)
    stage.engine._model = replace(model, tokenizer=tokenizer, prompts=prompts)
    stage.engine.count(Count(request=5, messages=(ChatMessage(role="user", content="x"),)))
    stage.step()
    (refused,) = [o for o in stage.outputs if isinstance(o, CountRefused)]
    assert "no" in refused.reason
    assert isinstance(stage.outputs, Sequence)
