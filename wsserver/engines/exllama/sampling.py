"""The wire's sampling options with the model's defaults filled in, for either library.

Decides what holds where a request says nothing, and what the ends of the scales mean. It knows no
library's names. The rule: neutral unless asked. Both libraries have defaults of their own (v2:
repetition penalty 1.025, top-k 50, top-p 0.8), and none of them is ever used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wsserver.core.engine import Sampling
from wsserver.engines.contract import JobRefused
from wsserver.engines.exllama.settings import SamplingDefaults

PENALTY_WINDOW: Final = 256
"""Tokens that the penalties look back on."""

MAX_TOP: Final = 20
"""Alternatives of a token that a request may ask for."""


@dataclass(frozen=True)
class Samplers:
    """Values that are all set. ``is_greedy``: take the likeliest token, whatever else is set
    (penalties and biases are reckoned before)."""

    is_greedy: bool
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    typical_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float


def choose_samplers(sampling: Sampling, defaults: SamplingDefaults) -> Samplers:
    """What a request asks for, the rest by ``defaults``."""

    def choose(value: float | None, default: float) -> float:
        return default if value is None else value

    temperature = choose(sampling.temperature, defaults.temperature)
    top_p = choose(sampling.top_p, defaults.top_p)
    top_k = defaults.top_k if sampling.top_k is None else sampling.top_k
    min_p = choose(sampling.min_p, defaults.min_p)
    return Samplers(
        # Both libraries read 0 of top-p, and v2 reads 1 of min-p, as "off", not as "one token".
        is_greedy=temperature == 0 or top_k == 1 or top_p == 0 or min_p >= 1,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        min_p=min_p,
        typical_p=choose(sampling.typical_p, 1.0),
        repetition_penalty=choose(sampling.repetition_penalty, defaults.repetition_penalty),
        presence_penalty=choose(sampling.presence_penalty, 0.0),
        frequency_penalty=choose(sampling.frequency_penalty, 0.0),
    )


def logit_bias(bias: dict[str, float] | None, vocabulary: int) -> dict[int, float]:
    """The biases by token.

    Raises:
        JobRefused: For what is no token of the model.
    """
    found: dict[int, float] = {}
    for token, value in (bias or {}).items():
        if not (token.isascii() and token.isdigit() and int(token) < vocabulary):
            raise JobRefused(
                "invalid_parameters",
                f"logitBias: {token!r} is not a token of this model (0 to {vocabulary - 1})",
                field="options.logitBias",
            )
        found[int(token)] = value
    return found
