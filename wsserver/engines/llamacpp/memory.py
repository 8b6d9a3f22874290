"""What a load by llama.cpp will take, from the file's header and the settings.

Decides nothing. It is the only module of this engine that the server itself imports, so that it
imports nothing that only the child has.
"""

from __future__ import annotations

import os
from typing import Any, Final

from wsserver.core.engine import ModelLoadError, ModelSpec
from wsserver.engines.llamacpp.devices import asking_for_gpu
from wsserver.engines.llamacpp.gguf import GgufError, Metadata, read_metadata
from wsserver.engines.llamacpp.keys import check
from wsserver.engines.llamacpp.settings import (
    LlamaCppSettings,
    Machine,
    cache_bytes,
    choose_settings,
    free_memory,
    usable_cores,
)

# The process with Python, xllamacpp and llama.cpp's own state, measured with models of next to no
# weights.
_PROCESS: Final = 64 << 20
_BYTES_PER_LOGIT: Final = 4
_BYTES_PER_ACTIVATION: Final = 4
# Activations of one token that are held at once, in widths of the model: llama.cpp's compute
# buffer of dense models comes to about so many.
_ACTIVATIONS: Final = 12


def estimate(spec: ModelSpec) -> int:
    """Bytes of weights, caches and buffers together; 0 if the file can't be read as a model."""
    if spec.path is None:
        return 0
    try:
        metadata = read_metadata(spec.path)
        size = os.stat(spec.path).st_size
        settings = _settings(spec.settings, metadata, size)
        beside = _companions(settings)
    except (GgufError, OSError, ModelLoadError):
        return 0  # the load will say it
    caches = _caches(metadata, settings)
    prompts = settings.prompt_cache_mib << 20
    return _PROCESS + size + caches + prompts + _buffers(metadata, settings) + beside


def _settings(given: dict[str, Any], metadata: Metadata, size: int) -> LlamaCppSettings:
    """As the child will choose them. Only it can see whether llama.cpp finds a GPU: here one is
    taken to be there where it is asked for, since the load fails otherwise."""
    for key, value in given.items():
        check(key, value)
    has_gpu = bool(asking_for_gpu(given))
    machine = Machine(usable_cores(), free_memory(), has_gpu=has_gpu)
    return choose_settings(given, metadata, size, machine)


def _caches(metadata: Metadata, settings: LlamaCppSettings) -> int:
    return settings.slots * cache_bytes(metadata, settings.ctx, settings.placement)


def _companions(settings: LlamaCppSettings) -> int:
    """Adapters, and a draft with caches and buffers of its own."""
    total = sum(os.stat(adapter.path).st_size for adapter in settings.adapters)
    draft = settings.draft
    if draft is not None:
        metadata = read_metadata(draft.path)
        total += os.stat(draft.path).st_size
        total += _caches(metadata, settings) + _buffers(metadata, settings)
    return total


def _buffers(metadata: Metadata, settings: LlamaCppSettings) -> int:
    """What one step computes in: its logits and its activations."""
    width = metadata.of_model("embedding_length") or 0
    logits = metadata.vocabulary * _BYTES_PER_LOGIT
    return settings.batch * (logits + _ACTIVATIONS * width * _BYTES_PER_ACTIVATION)
