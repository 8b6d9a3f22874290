"""Sampling values as exllamav2's ``Settings`` has them.

Decides the value of every field that takes part in sampling, so that none of the library's own
defaults holds. It imports nothing of it.
"""

from __future__ import annotations

from typing import Final

from wsserver.engines.exllama.sampling import PENALTY_WINDOW, Samplers

# What no option of the wire reaches, off.
_NEUTRAL: Final = {
    "token_repetition_decay": 0,
    "smoothing_factor": 0.0,
    "min_temp": 0.0,
    "max_temp": 0.0,
    "temp_exponent": 1.0,
    "top_a": 0.0,
    "tfs": 0.0,
    "skew": 0.0,
    "temperature_last": False,
    "mirostat": False,
    "cfg_scale": None,
    "dry_multiplier": 0.0,
    "xtc_probability": 0.0,
}
_LEAST_TYPICAL: Final = 1e-6  # the library reads 0 as "off"


def settings_fields(samplers: Samplers) -> dict[str, float | bool | None]:
    """Arguments of ``ExLlamaV2Sampler.Settings``, the bias apart; made anew for each answer,
    because the object keeps state of the answer it is used for."""
    penalties = {
        "token_repetition_penalty": samplers.repetition_penalty,
        "token_repetition_range": PENALTY_WINDOW,
        "token_presence_penalty": samplers.presence_penalty,
        "token_frequency_penalty": samplers.frequency_penalty,
    }
    if samplers.is_greedy:
        choice = {"temperature": 1.0, "top_k": 1, "top_p": 1.0, "min_p": 0.0, "typical": 0.0}
    else:
        typical = max(samplers.typical_p, _LEAST_TYPICAL)
        choice = {
            "temperature": samplers.temperature,
            "top_k": samplers.top_k,
            "top_p": samplers.top_p,
            "min_p": samplers.min_p,
            "typical": typical if typical < 1 else 0.0,
        }
    return {**_NEUTRAL, **penalties, **choice}
