"""How exllamav2 loads a model: its configuration, where the weights go, its cache.

Decides only what is not the user's to set. Each line that differs from the library's default says
why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import exllamav2
import torch
from exllamav2 import ExLlamaV2, ExLlamaV2Cache_TP, ExLlamaV2Config, ExLlamaV2Lora
from exllamav2.attn import has_flash_attn_with_paged

from wsserver.core.engine import ModelLoadError
from wsserver.engines.exllama.settings import ExllamaSettings

_CACHES: Final = {
    "fp16": "ExLlamaV2Cache",
    "q8": "ExLlamaV2Cache_Q8",
    "q6": "ExLlamaV2Cache_Q6",
    "q4": "ExLlamaV2Cache_Q4",
}
_Q_SIZE: Final = 8  # tokens of one answer in a step, at most: the generator's default
_OUTPUT_ROWS: Final = 16  # of logits; prompts need none, a step of one answer needs nine
_GIB: Final = 1 << 30
_AMPERE: Final = 8  # compute capability


@dataclass
class Weights:
    """A model and its cache."""

    model: Any
    cache: Any


def open_config(folder: Path) -> Any:
    """The library's configuration of a folder, adapted to what is installed."""
    config = ExLlamaV2Config(str(folder))
    # Some architectures need what an old flash-attn lacks: it is turned off for them.
    config.arch_compat_overrides(quiet=True)
    return config


def has_paging(config: Any) -> bool:
    """Whether several answers can be computed at once."""
    # flash-attn imports on older GPUs, too, and fails at its first use there.
    gpus = range(torch.cuda.device_count())
    is_new = all(torch.cuda.get_device_capability(gpu)[0] >= _AMPERE for gpu in gpus)
    return bool(has_flash_attn_with_paged) and not config.no_flash_attn and is_new


def fit_config(config: Any, settings: ExllamaSettings, *, is_paged: bool) -> int:
    """Set what the settings say; returns the prompt tokens of a step."""
    chunk = min(settings.chunk, settings.ctx)
    # A step of all answers must fit into the buffers that are made for one of a prompt.
    config.max_input_len = max(chunk, -(-_Q_SIZE * settings.slots // 256) * 256)
    # Not a bound on answers: the library never looks at it for one, the engine does.
    config.max_seq_len = max(settings.ctx, config.max_input_len)
    config.max_output_len = _OUTPUT_ROWS
    if settings.rope_scale is not None:
        config.scale_pos_emb = settings.rope_scale
    if settings.rope_alpha is not None:
        config.scale_alpha_value = settings.rope_alpha
    if not is_paged:
        # In 0.3.2 torch's attention gets no causal mask for a prompt: what comes is nonsense.
        config.no_sdpa = True
    return chunk


def load_weights(
    config: Any, settings: ExllamaSettings, report: Callable[[int, int], None]
) -> Weights:
    """Load the model as the settings divide it among the GPUs."""
    kind = getattr(exllamav2, _CACHES[settings.cache_type])
    model = ExLlamaV2(config)
    split = list(settings.gpu_split) or None
    if settings.tensor_parallel:
        model.load_tp(
            split,
            callback=report,
            expect_cache_tokens=settings.cache_tokens,
            expect_cache_base=kind,
        )
        cache = ExLlamaV2Cache_TP(model, base=kind, max_seq_len=settings.cache_tokens)
    elif split is not None:
        model.load(split, callback=report)
        cache = kind(model, max_seq_len=settings.cache_tokens)
    else:
        cache = kind(model, max_seq_len=settings.cache_tokens, lazy=True)
        model.load_autosplit(cache, reserve_vram=_reserve(settings), callback=report)
    return Weights(model, cache)


def load_draft(settings: ExllamaSettings, config: Any, *, is_paged: bool) -> Weights | None:
    """Load the model that guesses ahead, if there is one; it goes where there is room."""
    if settings.draft_model is None:
        return None
    if not Path(settings.draft_model, "config.json").is_file():
        raise ModelLoadError("'draft_model' is no folder of a model")
    draft = open_config(Path(settings.draft_model))
    if draft.max_seq_len < settings.ctx:
        raise ModelLoadError(
            f"'draft_model' was made for {draft.max_seq_len} tokens, fewer than 'ctx'"
        )
    if draft.vocab_size < config.vocab_size:
        raise ModelLoadError("'draft_model' has another vocabulary than the model")
    draft.max_input_len, draft.max_seq_len = config.max_input_len, config.max_seq_len
    draft.max_output_len, draft.no_sdpa = config.max_output_len, not is_paged
    model = ExLlamaV2(draft)
    kind = getattr(exllamav2, _CACHES[settings.cache_type])
    cache = kind(model, max_seq_len=settings.cache_tokens, lazy=True)
    model.load_autosplit(cache)
    return Weights(model, cache)


def load_loras(model: Any, settings: ExllamaSettings) -> list[Any]:
    """The adapters, for all answers alike: the library has none per answer."""
    for lora in settings.loras:
        if not Path(lora.folder, "adapter_config.json").is_file():
            raise ModelLoadError(f"'loras': {Path(lora.folder).name} is no folder of an adapter")
    return [ExLlamaV2Lora.from_directory(model, lo.folder, lo.scale) for lo in settings.loras]


def _reserve(settings: ExllamaSettings) -> list[int] | None:
    """Bytes to leave free on each GPU; None: what the library leaves by itself."""
    if not settings.gpu_reserve:
        return None
    missing = torch.cuda.device_count() - len(settings.gpu_reserve)
    return [int(size * _GIB) for size in settings.gpu_reserve] + [0] * missing
