"""The engine over exllamav2's real generator, its network on the CPU."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest

from tests.engines.exllama.driven import Driven
from tests.engines.exllamav2.conftest import read_tokenizer
from tests.tiny_models import SENTENCE, answer
from wsserver.core.engine import (
    Delta,
    Failed,
    Finished,
    FinishReason,
    ModelSpec,
    Prefilled,
    Sampling,
)
from wsserver.engines.exllama.backend import Backend
from wsserver.engines.exllama.engine import ExllamaEngine
from wsserver.engines.exllama.files import ModelFiles
from wsserver.engines.exllama.loading import Loaded, prompt_builder
from wsserver.engines.exllama.settings import ExllamaSettings
from wsserver.engines.exllamav2.backend import V2Backend

Open = Callable[..., Driven]
GREEDY = Sampling(temperature=0.0)
SLOTS = {True: 4, False: 1}


@pytest.fixture(params=[True, False], ids=["paged", "unpaged"])
def is_paged(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Both ways of the generator; the pages are bookkeeping, and need no flash-attn for that."""
    from exllamav2 import attn

    monkeypatch.setattr(attn, "has_flash_attn_with_paged", True)
    return bool(request.param)


@pytest.fixture
def open_engine(files: ModelFiles, is_paged: bool) -> Iterator[Open]:
    """Opens engines; those that were opened are closed in the end, all pages free."""
    opened: list[tuple[Driven, V2Backend]] = []

    def open_one(mode: Literal["cycle", "sentence"] = "cycle", **settings: Any) -> Driven:
        fields = {"slots": SLOTS[is_paged], "ctx": 1024, "chunk": 256} | settings
        fields.setdefault("cache_tokens", fields["slots"] * fields["ctx"])
        backend = on_cpu(files, ExllamaSettings(**fields), mode, is_paged=is_paged)
        engine = ExllamaEngine(backend, loader(files, ExllamaSettings(**fields)))
        engine.load(ModelSpec(id="m", engine="exllamav2", source="tiny"), lambda progress: None)
        opened.append((Driven(engine), backend))
        return opened[-1][0]

    yield open_one
    for driven, backend in opened:
        generator = backend._generator
        if not driven.engine._running:
            assert generator.num_remaining_jobs() == 0
            assert generator.referenced_pages == {}
        driven.engine.close()


def on_cpu(
    files: ModelFiles,
    settings: ExllamaSettings,
    mode: Literal["cycle", "sentence"],
    *,
    is_paged: bool,
) -> V2Backend:
    """The backend with all that it has after a load, but for the weights."""
    from tests.engines.exllamav2.networks import Cache, Network
    from wsserver.engines.exllamav2.loading import Weights, fit_config

    backend = V2Backend()
    backend.open(files)
    backend._is_paged = is_paged
    backend._settings = settings
    chunk = fit_config(backend._config, settings, is_paged=is_paged)
    backend._weights = Weights(Network(backend._config, mode), Cache(settings.cache_tokens))
    backend.open_generator(settings, chunk)
    backend._generator.warmup()
    backend.open_grammars(read_tokenizer(files).source, files.end_tokens)
    return backend


def loader(files: ModelFiles, settings: ExllamaSettings) -> Callable[..., Loaded]:
    """What a load gives, without looking for a GPU."""
    tokenizer = read_tokenizer(files)

    def load(backend: Backend, spec: ModelSpec, report: Callable[[float], None]) -> Loaded:
        return Loaded(
            files=files,
            settings=settings,
            tokenizer=tokenizer,
            prompts=prompt_builder(tokenizer, has_template=False),
            end_tokens=files.end_tokens,
            own_stops=(),
            unsupported=backend.lacks,
            warnings=(),
        )

    return load


def test_answer_streams_to_its_limit(open_engine: Open) -> None:
    """Prompt, pieces, an exact number of tokens, the usage."""
    driven = open_engine()
    driven.start("a", max_tokens=12, sampling=GREEDY)
    end = driven.end("a")
    assert end == Finished("a", FinishReason.LENGTH, 5)
    assert (driven.text("a"), driven.tokens("a")) == (answer(12), 12)
    first = driven.of("a")[0]
    assert isinstance(first, Prefilled)
    assert sum(isinstance(o, Delta) for o in driven.of("a")) == 12


def test_model_ends_its_turn(open_engine: Open) -> None:
    """The whole sentence, its four-byte character whole, and the end token not counted."""
    driven = open_engine("sentence")
    driven.start("a", max_tokens=100, sampling=GREEDY)
    end = driven.end("a")
    assert isinstance(end, Finished)
    assert end.reason is FinishReason.STOP
    assert driven.text("a") == " " + SENTENCE
    assert driven.text("a") == answer(driven.tokens("a"))


@pytest.mark.parametrize(("limit", "text"), [(20, answer(18)), (22, answer(22))])
def test_character_at_the_limit_is_whole_or_left_out(
    open_engine: Open, limit: int, text: str
) -> None:
    """The library would show three U+FFFD in both cases."""
    driven = open_engine()
    driven.start("a", max_tokens=limit, sampling=GREEDY)
    driven.end("a")
    assert (driven.text("a"), driven.tokens("a")) == (text, limit)


def test_answer_goes_on_behind_what_it_had(open_engine: Open) -> None:
    """Fed its beginning, the answer is the same as in one go."""
    driven = open_engine()
    for had in (1, 7, 18):
        driven.start(f"{had}", prior=answer(had), max_tokens=24 - had, sampling=GREEDY)
        driven.end(f"{had}")
        assert answer(had) + driven.text(f"{had}") == answer(24)


def test_many_answers_run_together(open_engine: Open, is_paged: bool) -> None:
    """Long and short prompts in any order, and each ends with its own text."""
    driven = open_engine()
    count = SLOTS[is_paged]
    for number in range(count):
        words = 3 + 200 * number
        driven.start(f"{number}", words=words, max_tokens=10 + number, sampling=GREEDY)
    for number in range(count):
        driven.end(f"{number}")
        assert driven.text(f"{number}") == answer(10 + number)


def test_prompt_comes_in_chunks_and_is_dropped_at_a_cancel(open_engine: Open) -> None:
    """A cancel in the middle of a prompt frees its pages."""
    driven = open_engine()
    driven.start("a", words=900, sampling=GREEDY)
    driven.until(lambda: any(isinstance(o, Prefilled) for o in driven.of("a")))
    driven.engine.cancel("a")
    end = driven.end("a")
    assert isinstance(end, Finished)
    assert end.reason is FinishReason.CANCELLED
    steps = [o for o in driven.of("a") if isinstance(o, Prefilled)]
    assert [o.done for o in steps] == [256]
    assert steps[0].total == 901
    driven.start("b", max_tokens=3, sampling=GREEDY)
    driven.end("b")
    assert driven.text("b") == answer(3)


def test_prompt_seen_before_is_not_computed_again(open_engine: Open) -> None:
    """The second answer to the same prompt tells what was in the cache."""
    driven = open_engine()
    for job_id in ("a", "b"):
        driven.start(job_id, words=700, max_tokens=2, sampling=GREEDY)
        end = driven.end(job_id)
        assert isinstance(end, Finished)
        assert end.prompt_tokens == 701
        assert (end.cached_tokens >= 512) == (job_id == "b")
    assert isinstance(driven.of("b")[0], Prefilled)


def test_stop_string_cuts_the_text(open_engine: Open) -> None:
    """Matched here, in the middle of a token's text too; the generator's job is gone."""
    driven = open_engine()
    driven.start("a", max_tokens=50, sampling=Sampling(temperature=0.0, stop=("wn fox",)))
    end = driven.end("a")
    assert isinstance(end, Finished)
    assert end.reason is FinishReason.STOP_STRING
    assert driven.text("a") == " the quick bro"


@pytest.mark.parametrize("banned", [" fox", "BROWN fox", " fox jumps"])
def test_banned_string_never_shows(open_engine: Open, banned: str) -> None:
    """The generator takes it back, goes another way, and the count stays right."""
    driven = open_engine()
    sampling = Sampling(temperature=0.0, banned_strings=(banned,))
    driven.start("a", max_tokens=20, sampling=sampling)
    assert isinstance(driven.end("a"), Finished)
    assert banned.lower() not in driven.text("a").lower()
    assert driven.text("a").startswith(" the quick")
    assert driven.tokens("a") == 20


def test_grammar_binds_the_answer(open_engine: Open) -> None:
    """A schema holds through the generator's own threads, and its end is the answer's."""
    schema = {
        "type": "object",
        "properties": {"fox": {"type": "boolean"}},
        "required": ["fox"],
        "additionalProperties": False,
    }
    driven = open_engine()
    for number in range(3):
        driven.start(f"{number}", max_tokens=60, sampling=Sampling(seed=number, json_schema=schema))
        end = driven.end(f"{number}")
        assert isinstance(end, Finished)
        assert end.reason is FinishReason.STOP
        assert isinstance(json.loads(driven.text(f"{number}"))["fox"], bool)


def test_grammar_that_the_prior_breaks_fails_alone(open_engine: Open) -> None:
    """An answer that can't be taken up again says so, and the engine goes on."""
    driven = open_engine()
    driven.start("a", prior="no", sampling=Sampling(regex="[0-9]+"))
    end = driven.end("a")
    assert isinstance(end, Failed)
    assert "taken up again" in end.message
    driven.start("b", max_tokens=2, sampling=GREEDY)
    assert isinstance(driven.end("b"), Finished)


def test_log_probabilities_are_told_with_each_token(open_engine: Open) -> None:
    """One for each token of the answer, the likeliest first among its alternatives."""
    driven = open_engine()
    driven.start("a", max_tokens=6, sampling=Sampling(temperature=0.0, logprobs=2))
    driven.end("a")
    told = [t for o in driven.of("a") if isinstance(o, Delta) for t in o.logprobs or ()]
    assert "".join(item.token for item in told) == answer(6)
    assert all(item.logprob == pytest.approx(0.0, abs=1e-3) for item in told)
    assert all(item.top[0][0] == item.token and len(item.top) == 2 for item in told)


def test_guesses_change_nothing_but_the_pace(open_engine: Open) -> None:
    """With n-grams the answer is the same, to the token."""
    driven = open_engine(ngram_draft=True)
    driven.start("a", max_tokens=70, sampling=GREEDY)
    assert isinstance(driven.end("a"), Finished)
    assert (driven.text("a"), driven.tokens("a")) == (answer(70), 70)
    assert sum(isinstance(o, Delta) for o in driven.of("a")) <= 70


def test_context_is_filled_to_its_end(open_engine: Open, is_paged: bool) -> None:
    """Without a limit of its own an answer ends where the context does."""
    driven = open_engine(ctx=256, slots=SLOTS[is_paged])
    driven.start("a", max_tokens=1_000_000, sampling=GREEDY)
    end = driven.end("a")
    assert isinstance(end, Finished)
    assert end.reason is FinishReason.LENGTH
    assert end.prompt_tokens + driven.tokens("a") == 256


def test_answers_wait_for_pages_where_the_cache_is_small(open_engine: Open) -> None:
    """A cache of one context serves several answers one after another, and drops none."""
    driven = open_engine(ctx=1024, cache_tokens=1024)
    for number in range(3):
        driven.start(f"{number}", words=600, max_tokens=300, sampling=GREEDY)
    driven.prepared()
    for number in range(3):
        end = driven.end(f"{number}")
        assert isinstance(end, Finished)
        assert driven.tokens(f"{number}") == 300


def test_seed_repeats_an_answer(open_engine: Open) -> None:
    """The same seed says the same at a high temperature."""
    driven = open_engine()
    for job_id in ("a", "b"):
        driven.start(job_id, max_tokens=20, sampling=Sampling(seed=5, temperature=2.0))
        driven.end(job_id)
    assert driven.text("a") == driven.text("b")
