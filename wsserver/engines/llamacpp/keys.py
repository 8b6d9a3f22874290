"""The names of the llama.cpp engine's settings, and the values that each may take.

Decides what is well-formed; what a value means is decided where it is used. The rule: a setting is
taken as it is or refused by its name, never bent.
"""

from __future__ import annotations

from typing import Any, Final

from wsserver.core.engine import ModelLoadError

WHOLE: Final = {  # key: least, most
    "slots": (1, 256),
    "ctx": (64, 16_777_216),
    "threads": (1, 1024),
    "batch": (8, 8192),
    "gpu_layers": (-1, 10_000),
    "main_gpu": (0, 127),
    "draft_max": (1, 64),
    "draft_min": (0, 64),
    "draft_gpu_layers": (-1, 10_000),
    "prompt_cache_mib": (0, 1_048_576),
    "top_k": (0, 1_000_000),
}
REAL: Final = {
    "draft_p_min": (0.0, 1.0),
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "repetition_penalty": (0.01, 10.0),
}

# Bytes of a cache's value, by llama.cpp's names: quantized ones share a scale among 32 values.
CACHE_BYTES: Final = {
    "f32": 4.0,
    "f16": 2.0,
    "bf16": 2.0,
    "q8_0": 34 / 32,
    "q5_1": 24 / 32,
    "q5_0": 22 / 32,
    "q4_1": 20 / 32,
    "q4_0": 18 / 32,
    "iq4_nl": 18 / 32,
}
WORDS: Final = {
    "split_mode": ("none", "layer", "row", "tensor"),
    "flash_attn": ("auto", "on", "off"),
    "cache_type_k": tuple(CACHE_BYTES),
    "cache_type_v": tuple(CACHE_BYTES),
}

_OTHER: Final = (
    *("kv_offload", "tensor_split", "lora", "draft_model"),
    *("chat_template", "template_options"),
)
_MAX_DEVICES: Final = 128  # as many as llama.cpp has places for
_MAX_ADAPTERS: Final = 16
_MAX_SCALE: Final = 100.0


def check(key: str, value: object) -> None:
    """Refuse a key that there is not, or a value that it can't have.

    Raises:
        ModelLoadError: It names the key.
    """
    if key in WHOLE or key in REAL:
        _check_number(key, value)
    elif key in WORDS:
        if value not in WORDS[key]:
            raise ModelLoadError(f"{key!r} must be one of {', '.join(WORDS[key])}, not {value!r}")
    elif key == "kv_offload":
        if not isinstance(value, bool):
            raise ModelLoadError("'kv_offload' must be true or false")
    elif key == "tensor_split":
        _check_split(value)
    elif key == "lora":
        _check_adapters(value)
    elif key == "draft_model":
        if not isinstance(value, str) or not value:
            raise ModelLoadError("'draft_model' must be the path of a model file")
    elif key == "chat_template":
        if not isinstance(value, str):
            raise ModelLoadError("'chat_template' must be a Jinja template as text")
    elif key == "template_options":
        if not isinstance(value, dict):
            raise ModelLoadError("'template_options' must be a map")
    else:
        known = ", ".join((*WHOLE, *REAL, *WORDS, *_OTHER))
        raise ModelLoadError(f"llama.cpp has no setting {key!r}; it has {known}")


def _check_number(key: str, value: object) -> None:
    least, most = WHOLE[key] if key in WHOLE else REAL[key]
    kinds = (int,) if key in WHOLE else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
        kind = "a whole number" if key in WHOLE else "a number"
        raise ModelLoadError(f"{key!r} must be {kind} from {least} to {most}, not {value!r}")


def _is_share(value: object, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most


def _check_split(value: object) -> None:
    if (
        not isinstance(value, list | tuple)
        or not 1 <= len(value) <= _MAX_DEVICES
        or not all(_is_share(share, 1e6) for share in value)
        or not any(value)
    ):
        raise ModelLoadError(
            "'tensor_split' must be a list with each GPU's share, such as [3, 1]; not all of them 0"
        )


def _check_adapters(value: object) -> None:
    if not isinstance(value, list | tuple) or len(value) > _MAX_ADAPTERS:
        raise ModelLoadError(
            f"'lora' must be a list of at most {_MAX_ADAPTERS} maps with path and scale"
        )
    for number, adapter in enumerate(value):
        _check_adapter(f"lora[{number}]", adapter)


def _check_adapter(name: str, adapter: Any) -> None:
    if not isinstance(adapter, dict):
        raise ModelLoadError(f"'{name}' must be a map with path and scale")
    if unknown := sorted(map(str, adapter.keys() - {"path", "scale"})):
        raise ModelLoadError(f"'{name}' has no {unknown[0]!r}; it has path and scale")
    path = adapter.get("path")
    if not isinstance(path, str) or not path:
        raise ModelLoadError(f"'{name}.path' must be the path of an adapter's GGUF file")
    scale = adapter.get("scale", 1.0)
    if not isinstance(scale, int | float) or isinstance(scale, bool) or not _bounded(scale):
        raise ModelLoadError(
            f"'{name}.scale' must be a number from {-_MAX_SCALE:g} to {_MAX_SCALE:g}, not {scale!r}"
        )


def _bounded(scale: float) -> bool:
    return -_MAX_SCALE <= scale <= _MAX_SCALE
