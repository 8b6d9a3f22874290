"""Chunks of llama.cpp's callback and what becomes of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("llguidance", reason="llama.cpp's engine is not installed")

from wsserver.core.engine import (
    Delta,
    EngineJob,
    Failed,
    Finished,
    FinishReason,
    Output,
    Prefilled,
    Sampling,
)
from wsserver.engines.llamacpp.answer import Answer


def chunk(text: str = "", total: int | None = None, end: str | None = None, **more: Any) -> bytes:
    """A chunk; ``total``: tokens generated so far."""
    body: dict[str, Any] = {"choices": [{"text": text, "index": 0, "finish_reason": end}], **more}
    if total is not None:
        body["timings"] = {"predicted_n": total}
    return json.dumps(body).encode()


class Run:
    """An answer and its outputs."""

    def __init__(self, own_stops: tuple[str, ...] = (), **fields: Any) -> None:
        self.outputs: list[Output] = []
        job = EngineJob(job_id="a", raw="x", **fields)
        self.answer = Answer(job, self.outputs.append, own_stops)

    def feed(self, *chunks: bytes) -> list[bool]:
        """Take chunks until told to stop."""
        replies: list[bool] = []
        for data in chunks:
            replies.append(self.answer.take(data))
            if replies[-1]:
                break
        return replies

    @property
    def deltas(self) -> list[tuple[str, int]]:
        """Text and tokens of each delta."""
        return [(o.text, o.tokens) for o in self.outputs if isinstance(o, Delta)]

    def reason(self) -> FinishReason:
        """Why it ended."""
        end = self.answer.end()
        assert isinstance(end, Finished)
        return end.reason

    def failure(self) -> Failed:
        """Why it failed."""
        end = self.answer.end()
        assert isinstance(end, Failed)
        return end


def test_tokens_are_counted_by_llamas_own_count() -> None:
    """A piece counts the tokens since the last one; the end token counts for nothing."""
    run = Run()
    replies = run.feed(chunk("a", 1), chunk("🎻", 5), chunk("", 6), chunk("", 6, "stop"))
    assert replies == [False, False, False, True]
    assert run.reason() is FinishReason.STOP
    assert run.deltas == [("a", 1), ("🎻", 4)]


def test_tokens_without_text_count_at_a_length_end() -> None:
    """Half a character at the end shows nothing, and its tokens were still made."""
    run = Run()
    run.feed(chunk("a", 1), chunk("", 3, "length"))
    assert run.reason() is FinishReason.LENGTH
    assert run.deltas == [("a", 1), ("", 2)]


def test_progress_of_the_prompt_is_told() -> None:
    """Each batch of the prompt is an output, what was cached included."""
    run = Run()
    run.feed(chunk(prompt_progress={"total": 9, "cache": 2, "processed": 5, "time_ms": 1}))
    assert run.outputs == [Prefilled("a", 5, 9, 2)]
    run.answer.cancel()
    assert run.feed(chunk("a", 1)) == [True]
    assert run.answer.end() == Finished("a", FinishReason.CANCELLED, 9, 2)


def test_stop_string_over_pieces_ends_the_answer() -> None:
    """A stop string cut by tokens is found, not shown, and llama.cpp is told to stop."""
    run = Run(sampling=Sampling(stop=("the end",)))
    assert run.feed(chunk("x th", 1), chunk("e e", 2), chunk("nd y", 3))[-1]
    assert run.reason() is FinishReason.STOP_STRING
    assert "".join(text for text, _ in run.deltas) == "x "
    assert sum(tokens for _, tokens in run.deltas) == 3


def test_own_stop_is_an_end_of_turn() -> None:
    """Where a plain script's next turn begins, the answer has ended by itself."""
    run = Run(own_stops=("\nUser:",))
    run.feed(chunk("Hi", 1), chunk("\nUs", 2), chunk("er: and", 3))
    assert run.reason() is FinishReason.STOP
    assert "".join(text for text, _ in run.deltas) == "Hi"


def test_held_text_shows_at_the_end() -> None:
    """What could have begun a stop string shows when the answer ends otherwise."""
    run = Run(sampling=Sampling(stop=("abc",)), own_stops=("bz",))
    run.feed(chunk("ab", 1), chunk("", 1, "length"))
    assert run.reason() is FinishReason.LENGTH
    assert "".join(text for text, _ in run.deltas) == "ab"


def test_cancel_after_the_end_does_not_change_it() -> None:
    """An answer that had ended keeps its own reason."""
    run = Run()
    run.feed(chunk("a", 1), chunk("", 2, "stop"))
    run.answer.cancel()
    assert run.reason() is FinishReason.STOP


@pytest.mark.parametrize(
    ("kind", "code", "retryable"),
    [
        ("invalid_request_error", "invalid_parameters", False),
        ("exceed_context_size_error", "context_length_exceeded", False),
        ("server_error", "generation_failed", True),
        ("unavailable_error", "generation_failed", True),
    ],
)
def test_error_becomes_a_failure_of_the_wire(kind: str, code: str, retryable: bool) -> None:
    """Whose fault it was decides the code, and no path of the host is shown."""
    run = Run()
    error = {"error": {"code": 400, "message": "bad /srv/models/x.gguf", "type": kind}}
    assert run.feed(json.dumps(error).encode()) == [True]
    assert run.failure() == Failed("a", code, "bad x.gguf", retryable)


def test_answer_without_an_end_is_a_failure() -> None:
    """If llama.cpp returns and said nothing, that is no success."""
    run = Run()
    run.feed(chunk("a", 1))
    assert run.failure().code == "generation_failed"


def test_bound_answer_leaves_out_what_it_had_said() -> None:
    """Generated again under its grammar, an answer goes on exactly after its prior text."""
    sampling = Sampling(json_schema={})
    run = Run(prior='{"a": ', prior_tokens=2, sampling=sampling)
    run.feed(chunk('{"a', 1), chunk('": 1', 2), chunk("}", 3), chunk("", 4, "stop"))
    assert run.reason() is FinishReason.STOP
    assert run.deltas == [("1", 1), ("}", 1)]


def test_bound_answer_counts_only_what_is_new() -> None:
    """Tokens said again are the prompt's; the bound of the answer is for the new ones."""
    run = Run(prior="[1", sampling=Sampling(json_schema={}), max_tokens=2)
    assert run.feed(chunk("[", 1), chunk("1", 2), chunk(", 2", 3), chunk(", 3", 4))[-1]
    end = run.answer.end()
    assert end == Finished("a", FinishReason.LENGTH, prompt_tokens=2)
    assert run.deltas == [(", 2", 1), (", 3", 1)]


def test_bound_answer_that_ends_too_early_fails() -> None:
    """An end before the old text is complete is not the end of that answer."""
    run = Run(prior="[1, 2", sampling=Sampling(json_schema={}))
    run.feed(chunk("[1", 1), chunk("", 2, "stop"))
    assert run.failure().code == "generation_failed"


def test_bound_answer_that_says_something_else_fails() -> None:
    """Two different answers are never shown as one."""
    run = Run(prior='{"a": ', sampling=Sampling(json_schema={}))
    assert run.feed(chunk('{"b', 1))[-1]
    assert run.failure().code == "generation_failed"
    assert run.deltas == []


def test_answer_that_broke_out_of_its_schema_fails() -> None:
    """A grammar that llama.cpp dropped in the middle is noticed at the end."""
    run = Run(sampling=Sampling(json_schema={}))
    run.feed(chunk('{"a": 1} and so', 3), chunk("", 4, "stop"))
    assert "schema" in run.failure().message
