"""The llama.cpp engine's settings: what may be set, and what holds when it is not.

Decides slots, context, threads and batch from the model file and this machine. It loads nothing.
The rule: a default must work on the smallest machine that the model fits on, and a setting given
is taken as it is or refused by name, never bent.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from wsserver.engines.llamacpp.companions import (
    Adapter,
    Draft,
    choose_adapters,
    choose_draft,
)
from wsserver.engines.llamacpp.devices import Placement, choose_placement
from wsserver.engines.llamacpp.gguf import Metadata
from wsserver.engines.llamacpp.keys import CACHE_BYTES, WHOLE, check

_SLOTS: Final = 4
_CONTEXT: Final = 4096
_PROMPT_CACHE_MIB: Final = 256
# Of the memory that is free before the load: the rest is for the weights and for others.
_CACHE_SHARE: Final = 0.25

# Prompt tokens per step on a CPU, by bytes of weights: a cancel in prefill and the tokens of all
# other streams wait for one step. 32 cost about a quarter of the speed of 512, since the weights
# are read more often; for small models a step of 128 is short enough.
_BATCH_BY_SIZE: Final = ((128 << 20, 128), (1 << 30, 64))
_BATCH_OF_LARGE: Final = 32
_BATCH_ON_GPU: Final = 512


@dataclass(frozen=True)
class SamplingDefaults:
    """What holds where a request says nothing: neutral, but for the temperature."""

    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0


@dataclass(frozen=True)
class LlamaCppSettings:
    """How a model is loaded.

    ``slots``: answers at once. ``ctx``: tokens of prompt and answer together, each job its own.
    ``threads``: for computing. ``batch``: prompt tokens per step. ``prompt_cache_mib``: memory for
    the prompts of chats that are not running. ``chat_template``: Jinja text in place of the model's
    own. ``template_options``: variables for it, such as ``{"enable_thinking": false}``.
    """

    slots: int
    ctx: int
    threads: int
    batch: int
    prompt_cache_mib: int
    placement: Placement = Placement()
    adapters: tuple[Adapter, ...] = ()
    draft: Draft | None = None
    chat_template: str | None = None
    template_options: dict[str, Any] = field(default_factory=dict)
    sampling: SamplingDefaults = field(default_factory=SamplingDefaults)


@dataclass(frozen=True)
class Machine:
    """What the defaults depend on."""

    cores: int
    free_memory: int  # bytes; 0 = unknown
    has_gpu: bool


# Where a model file may recommend sampling values.
_RECOMMENDED: Final = {
    "temperature": "general.sampling.temp",
    "top_p": "general.sampling.top_p",
    "top_k": "general.sampling.top_k",
    "min_p": "general.sampling.min_p",
    "repetition_penalty": "general.sampling.penalty_repeat",
}


def choose_settings(
    given: dict[str, Any], metadata: Metadata, size: int, machine: Machine
) -> LlamaCppSettings:
    """The settings of a load: what was given, and defaults for the rest.

    Args:
        given: `ModelSpec.settings`.
        size: Bytes of the weights.

    Raises:
        ModelLoadError: For an unknown key, a bad value, a file that is not there or a GPU that is
            not; it names the key.
    """
    for key, value in given.items():
        check(key, value)
    trained = metadata.of_model("context_length") or _CONTEXT
    ctx = given.get("ctx", min(trained, _CONTEXT))
    placement = choose_placement(given, has_gpu=machine.has_gpu)
    needed = cache_bytes(metadata, ctx, placement)
    slots = given.get("slots", default_slots(needed, machine))
    batch = given.get("batch", default_batch(size, machine))
    return LlamaCppSettings(
        slots=slots,
        ctx=ctx,
        threads=given.get("threads", max(1, machine.cores - 1)),
        batch=max(batch, slots),  # a step decodes one token of each slot
        prompt_cache_mib=given.get("prompt_cache_mib", default_prompt_cache(needed, slots)),
        placement=placement,
        adapters=choose_adapters(given),
        draft=choose_draft(given),
        chat_template=given.get("chat_template"),
        template_options=given.get("template_options", {}),
        sampling=_sampling(given, metadata),
    )


def default_slots(needed: int, machine: Machine) -> int:
    """As many as fit a share of the free memory, at most four and at least one.

    Args:
        needed: Bytes of one job's cache; 0 = unknown.
        machine: This machine.
    """
    if not machine.free_memory or not needed:
        return _SLOTS
    return max(1, min(_SLOTS, int(machine.free_memory * _CACHE_SHARE) // needed))


def cache_bytes(metadata: Metadata, ctx: int, placement: Placement) -> int:
    """Memory of one job's keys and values, from the model's shape; 0 if the file tells none."""
    layers = metadata.of_model("block_count") or 0
    heads = metadata.of_model("attention.head_count") or 0
    width = metadata.of_model("embedding_length") or 0
    if not layers or not heads or not width:
        return 0
    kv_heads = metadata.of_model("attention.head_count_kv") or heads
    head_width = metadata.of_model("attention.key_length") or width // heads
    per_pair = CACHE_BYTES[placement.cache_type_k] + CACHE_BYTES[placement.cache_type_v]
    return int(layers * kv_heads * head_width * per_pair * ctx)


def default_prompt_cache(needed: int, slots: int) -> int:
    """MiB for chats that are not running: twice as many full ones as there are slots, bounded."""
    wanted = 2 * slots * needed
    return min(_PROMPT_CACHE_MIB, math.ceil(wanted / (1 << 20))) if wanted else _PROMPT_CACHE_MIB


def default_batch(size: int, machine: Machine) -> int:
    """Prompt tokens per step: fewer for larger models, so that a step stays short."""
    if machine.has_gpu:
        return _BATCH_ON_GPU
    return next((batch for limit, batch in _BATCH_BY_SIZE if size < limit), _BATCH_OF_LARGE)


def usable_cores() -> int:
    """Cores that this process may use: by its affinity and, in a container, its quota.

    More threads than that don't slow a model down a little: they stop it, since each waits for
    the others at every layer.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroup, or "max"
        return cores


def free_memory() -> int:
    """Bytes that can be had without swapping; 0 if that can't be told."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return 0
    return 0


def _sampling(given: dict[str, Any], metadata: Metadata) -> SamplingDefaults:
    values: dict[str, Any] = {}
    for item in fields(SamplingDefaults):
        recommended = metadata.number(_RECOMMENDED[item.name])
        if item.name in given:
            values[item.name] = given[item.name]
        elif recommended is not None:
            values[item.name] = int(recommended) if item.name in WHOLE else recommended
    return SamplingDefaults(**values)
