"""Sampling values as exllamav3's ``ComboSampler`` has them.

Decides the value of each argument that a wire option reaches; the others of that class are neutral
by themselves. It imports nothing of the library.
"""

from __future__ import annotations

from wsserver.engines.exllama.sampling import PENALTY_WINDOW, Samplers


def sampler_arguments(samplers: Samplers, bias: dict[int, float]) -> dict[str, object]:
    """Arguments of ``ComboSampler``; a temperature of 0 is its way to say "the likeliest"."""
    return {
        "rep_p": samplers.repetition_penalty,
        "pres_p": samplers.presence_penalty,
        "freq_p": samplers.frequency_penalty,
        "rep_sustain_range": PENALTY_WINDOW,
        "rep_decay_range": 0,
        "temperature": 0.0 if samplers.is_greedy else samplers.temperature,
        "min_p": samplers.min_p,
        "top_k": samplers.top_k,
        "top_p": samplers.top_p,
        "logit_bias": bias or None,
    }
