"""What a generator's results mean: both libraries give maps of nearly the same keys.

Decides what is read of them, and turns tensors into plain lists; from here on nothing knows a
library. The text in them is left alone (see `wsserver.engines.exllama.vocabulary`), and so are
stop strings, which are matched the same way for all engines. The rule: a key that a library
leaves out means "nothing", and an end of an unknown kind is the model's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

# Of a probability that half precision has rounded to nothing.
_LEAST_LOGPROB: Final = -100.0


class Stage(Enum):
    """What a result tells of."""

    STARTED = "started"  # it has its pages
    PREFILL = "prefill"
    TOKENS = "tokens"
    ERROR = "error"


class End(Enum):
    """Why the generator ended a job."""

    MODEL = "model"  # a token that ends the turn, or a grammar that is complete
    LIMIT = "limit"


@dataclass(frozen=True)
class Scored:
    """A token's log probability (natural), and the likeliest ones with theirs."""

    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Event:
    """One result. ``tokens`` are the answer's own: the one that ends a turn is not among them."""

    job_id: str
    stage: Stage
    done: int = 0  # prompt tokens, while prefilling
    tokens: tuple[int, ...] = ()
    scores: tuple[Scored, ...] = ()
    end: End | None = None
    error: BaseException | None = None


Scores = Callable[[Mapping[str, Any]], tuple[Scored, ...]]
"""Reads the log probabilities of a result's tokens, as a library gives them."""


def read_result(
    result: Mapping[str, Any], scores: Scores, *, keeps_suppressed: bool = False
) -> Event:
    """One map of ``iterate()``.

    Args:
        keeps_suppressed: Whether tokens that a banned string took back are still among those
            given, at their end (v2).
    """
    job_id = str(result["job"].identifier)
    match result["stage"]:
        case "error":
            return Event(job_id, Stage.ERROR, error=result.get("error"))
        case "started":
            return Event(job_id, Stage.STARTED)
        case "prefill":
            return Event(job_id, Stage.PREFILL, done=int(result["curr_progress"]))
    tokens, scored = _tokens(result), scores(result)
    if keeps_suppressed and (taken_back := _width(result, "suppressed_tokens")):
        tokens = tokens[: len(tokens) - taken_back]
    end = None
    if result["eos"]:
        reason = result.get("eos_reason")
        end = End.LIMIT if reason == "max_new_tokens" else End.MODEL
        if held := result.get("held"):
            more, more_scored = _tokens(held), scores(held)
            # What was held back goes with the token that ended the turn, which is none of it.
            kept = len(more) - (reason == "stop_token")
            tokens, scored = tokens + more[:kept], scored + more_scored[:kept]
    return Event(job_id, Stage.TOKENS, tokens=tokens, scores=scored[: len(tokens)], end=end)


def sampled_scores(result: Mapping[str, Any]) -> tuple[Scored, ...]:
    """Of ``token_probs`` and ``top_k_tokens``/``top_k_probs``: probabilities, shape (1, n[, k])."""
    if "token_probs" not in result:
        return ()
    chosen = result["token_probs"].tolist()[0]
    if "top_k_tokens" not in result:
        return tuple(Scored(logarithm(p)) for p in chosen)
    names, shares = result["top_k_tokens"].tolist()[0], result["top_k_probs"].tolist()[0]
    return tuple(
        Scored(logarithm(p), tuple(zip(ids, map(logarithm, others), strict=True)))
        for p, ids, others in zip(chosen, names, shares, strict=True)
    )


def logarithm(probability: float) -> float:
    """Natural, and never infinite: JSON has no infinity."""
    return max(_LEAST_LOGPROB, math.log(probability)) if probability > 0 else _LEAST_LOGPROB


def bounded(logprob: float) -> float:
    """A log probability that JSON can carry."""
    return max(_LEAST_LOGPROB, logprob)


def _tokens(source: Mapping[str, Any]) -> tuple[int, ...]:
    ids = source.get("token_ids")
    return () if ids is None else tuple(ids.tolist()[0])


def _width(source: Mapping[str, Any], key: str) -> int:
    value = source.get(key)
    return 0 if value is None else int(value.shape[-1])
