"""Results of the generators, in the shapes that their sources give them."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from wsserver.engines.exllama.results import (
    End,
    Event,
    Scored,
    Stage,
    read_result,
    sampled_scores,
)

JOB = SimpleNamespace(identifier="job 1")


def result(**fields: Any) -> dict[str, Any]:
    """What every result of an answer has."""
    return {"job": JOB, "serial": 7, "identifier": "job 1", "eos": False, **fields}


def ids(*tokens: int) -> np.ndarray[Any, Any]:
    """Tokens, shape (1, n)."""
    return np.array([tokens])


def read(value: dict[str, Any], **options: Any) -> Event:
    """The event of a result."""
    return read_result(value, sampled_scores, **options)


def test_beginning_and_prompt() -> None:
    """A start says nothing, a chunk says how far the prompt is."""
    assert read(result(stage="started")).stage is Stage.STARTED
    event = read(result(stage="prefill", curr_progress=512, max_progress=1023))
    assert (event.job_id, event.stage, event.done) == ("job 1", Stage.PREFILL, 512)


def test_tokens_of_a_step() -> None:
    """One token, several after accepted guesses, none while the library holds them back."""
    assert read(result(stage="streaming", text=" a", token_ids=ids(5))).tokens == (5,)
    assert read(result(stage="streaming", text=" a b", token_ids=ids(5, 6))).tokens == (5, 6)
    event = read(result(stage="streaming"))
    assert (event.tokens, event.end) == ((), None)


def test_token_that_ends_the_turn_is_no_part_of_the_answer() -> None:
    """It comes with what was held back, at its end."""
    held = {"text": " a", "token_ids": ids(5, 2)}
    done = result(stage="streaming", eos=True, eos_reason="stop_token", held=held, new_tokens=2)
    event = read(done)
    assert (event.tokens, event.end) == ((5,), End.MODEL)


@pytest.mark.parametrize(
    ("reason", "end"),
    [("max_new_tokens", End.LIMIT), ("end_filter", End.MODEL), ("loop_detected", End.MODEL)],
)
def test_other_ends_bring_their_last_token(reason: str, end: End) -> None:
    """A limit, a complete grammar: the token is part of the answer."""
    event = read(result(stage="streaming", eos=True, eos_reason=reason, token_ids=ids(9)))
    assert (event.tokens, event.end) == ((9,), end)


def test_tokens_taken_back_are_not_told() -> None:
    """After a banned string v2 still gives its tokens, v3 does not."""
    taken_back = result(
        stage="streaming",
        suppressed_text=" bad",
        suppressed_tokens=ids(7, 8),
        token_ids=ids(5, 7, 8),
    )
    assert read(taken_back, keeps_suppressed=True).tokens == (5,)
    assert read(taken_back | {"token_ids": ids(5)}).tokens == (5,)
    assert read(result(stage="streaming", suppressed_tokens=ids(7))).tokens == ()


def test_fault_of_one_job() -> None:
    """v3 reaps a job that failed alone, without an identifier in the result."""
    error = RuntimeError("x")
    value = {"job": JOB, "serial": 7, "stage": "error", "eos": True, "error": error}
    assert read(value) == Event("job 1", Stage.ERROR, error=error)


def test_probabilities_become_logarithms() -> None:
    """Of the chosen and of the likeliest; nothing is infinite."""
    value = result(
        stage="streaming",
        token_ids=ids(5, 6),
        token_probs=np.array([[0.5, 0.0]]),
        top_k_tokens=np.array([[[5, 9], [6, 5]]]),
        top_k_probs=np.array([[[0.5, 0.25], [1.0, 0.0]]]),
    )
    first, second = read(value).scores
    assert first == Scored(math.log(0.5), ((5, math.log(0.5)), (9, math.log(0.25))))
    assert second == Scored(-100.0, ((6, 0.0), (5, -100.0)))
    del value["top_k_tokens"], value["top_k_probs"]
    assert read(value).scores[0] == Scored(math.log(0.5))
