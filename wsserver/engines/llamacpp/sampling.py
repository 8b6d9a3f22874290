"""From the wire's sampling options to llama.cpp's.

Decides the value of every sampler, also of those that nobody asked for: llama.cpp's own defaults
(top-k 40, top-p 0.95, min-p 0.05) are a taste, and an answer must not depend on them. The rule: a
value here is the request's, the model's recommendation or neutral.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from wsserver.core.engine import EngineJob, Sampling
from wsserver.engines.contract import JobRefused
from wsserver.engines.grammar import grammar_of
from wsserver.engines.llamacpp.settings import SamplingDefaults

# Tokens that a repetition penalty looks back on.
_PENALTY_WINDOW: Final = 256
# llama.cpp reads the last one of 32 bits as "any".
_SEEDS: Final = 0xFFFF_FFFF


@dataclass(frozen=True)
class SamplingLimits:
    """What the loaded model sets for sampling options."""

    defaults: SamplingDefaults
    vocabulary: int  # tokens
    has_llguidance: bool
    has_logprobs: bool  # llama.cpp tells none of the tokens that a draft has proposed


def completion_body(
    job: EngineJob, prompt: list[int], max_tokens: int, limits: SamplingLimits
) -> dict[str, Any]:
    """The body of a completion for ``prompt``.

    Raises:
        JobRefused: If an option's value can't be honoured.
    """
    sampling = job.sampling
    if sampling.logprobs is not None and not limits.has_logprobs:
        raise JobRefused(
            "unsupported_option", "a model with a draft has no logprobs", field="options.logprobs"
        )
    body = base_body(sampling, max_tokens, limits) | {"prompt": prompt}
    if sampling.logprobs is not None:
        body["n_probs"] = max(1, sampling.logprobs)
    if (grammar := grammar_of(sampling, llguidance=limits.has_llguidance)) is not None:
        body["grammar"] = grammar
    return body


def base_body(sampling: Sampling, max_tokens: int, limits: SamplingLimits) -> dict[str, Any]:
    """What the bodies of all answers hold.

    Raises:
        JobRefused: If an option's value can't be honoured.
    """
    if sampling.banned_strings:
        raise JobRefused(
            "unsupported_option", "llama.cpp has no bannedStrings", field="options.bannedStrings"
        )
    body: dict[str, Any] = {
        "n_predict": max_tokens,
        "stream": True,
        # Without it nothing is heard of a prompt before its end, and it can't be cancelled.
        "return_progress": True,
        # Exact counts: a piece of text may be of several tokens (half characters are kept back).
        "timings_per_token": True,
        "cache_prompt": True,
        **_samplers(sampling, limits.defaults),
    }
    if sampling.seed is not None:
        body["seed"] = sampling.seed % _SEEDS
    if sampling.logit_bias:
        body["logit_bias"] = _logit_bias(sampling.logit_bias, limits.vocabulary)
    return body


def _samplers(sampling: Sampling, defaults: SamplingDefaults) -> dict[str, float]:
    def choose(value: float | None, default: float) -> float:
        return default if value is None else value

    return {
        "temperature": choose(sampling.temperature, defaults.temperature),
        "top_p": choose(sampling.top_p, defaults.top_p),
        "top_k": choose(sampling.top_k, defaults.top_k),
        "min_p": choose(sampling.min_p, defaults.min_p),
        "typical_p": choose(sampling.typical_p, 1.0),
        "repeat_penalty": choose(sampling.repetition_penalty, defaults.repetition_penalty),
        "repeat_last_n": _PENALTY_WINDOW,
        "presence_penalty": choose(sampling.presence_penalty, 0.0),
        "frequency_penalty": choose(sampling.frequency_penalty, 0.0),
    }


def _logit_bias(bias: dict[str, float], vocabulary: int) -> list[tuple[int, float]]:
    pairs: list[tuple[int, float]] = []
    for token, value in bias.items():
        if not (token.isascii() and token.isdigit() and int(token) < vocabulary):
            raise JobRefused(
                "invalid_parameters",
                f"logitBias: {token!r} is not a token of this model (0 to {vocabulary - 1})",
                field="options.logitBias",
            )
        pairs.append((int(token), value))
    return pairs
