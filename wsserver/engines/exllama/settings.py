"""The settings of both ExLlama engines: what may be set, and what holds when it is not.

Decides slots, context, cache and chunk from the model's shape and the memory of the GPUs. It loads
nothing. The rule: a setting given is taken as it is or refused by name, never bent; lengths are
multiples of a page, since the libraries' caches are cut so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from wsserver.core.engine import ModelLoadError
from wsserver.engines.exllama.files import ModelFiles, is_number, is_whole

PAGE: Final = 256
"""Tokens of a page of the cache, in both libraries."""

_SLOTS: Final = 8
_UNKNOWN_SLOTS: Final = 4  # where the GPUs' memory or the model's shape is not known
_CONTEXT: Final = 8192
# Of one step: at some 20 ms on a large GPU, a stop and the other streams wait for no more.
_CHUNK: Final = 512
_DRAFT_TOKENS: Final = 4
# Of the GPUs' memory: kernels, buffers and the output of a step take the rest.
_OVERHEAD_BYTES: Final = 2 << 30
_CACHE_SHARE: Final = 0.8


@dataclass(frozen=True)
class SamplingDefaults:
    """What holds where a request says nothing: neutral, but for the temperature."""

    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0


@dataclass(frozen=True)
class Lora:
    """An adapter for the whole model; ``scale`` multiplies its effect."""

    folder: str
    scale: float = 1.0


@dataclass(frozen=True)
class ExllamaSettings:
    """How a model is loaded.

    ``slots``: answers at once. ``ctx``: tokens of prompt and answer together, per answer.
    ``cache_tokens``: tokens of all answers together. ``chunk``: prompt tokens a step.
    ``gpu_split``: GiB for the model on each GPU; empty = by itself. ``gpu_reserve``: GiB that stay
    free on each GPU when it splits by itself. ``rope_scale``, ``rope_alpha``: linear and NTK
    scaling of positions. ``draft_model``: folder of a small model that guesses ``draft_tokens``
    ahead; ``ngram_draft``: guess from the text so far.
    """

    slots: int
    ctx: int
    cache_tokens: int
    cache_type: str = "fp16"
    chunk: int = _CHUNK
    gpu_split: tuple[float, ...] = ()
    gpu_reserve: tuple[float, ...] = ()
    tensor_parallel: bool = False
    rope_scale: float | None = None
    rope_alpha: float | None = None
    draft_model: str | None = None
    draft_tokens: int = _DRAFT_TOKENS
    ngram_draft: bool = False
    loras: tuple[Lora, ...] = ()
    chat_template: str | None = None
    template_options: dict[str, Any] = field(default_factory=dict)
    sampling: SamplingDefaults = field(default_factory=SamplingDefaults)

    @property
    def drafted(self) -> int:
        """Tokens that are guessed ahead in a step; 0 without speculation."""
        return self.draft_tokens if self.draft_model or self.ngram_draft else 0


@dataclass(frozen=True)
class Rules:
    """What one library has of the settings.

    ``cache_types``: name to bits of a value, scales included. ``lacks``: keys that it has not.
    """

    library: str
    cache_types: dict[str, float]
    lacks: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Room:
    """What the defaults depend on besides the model."""

    gpus: int
    free_memory: int  # bytes on all GPUs together; 0 = unknown
    can_batch: bool = True


_WHOLE: Final = {  # key: least, most
    "slots": (1, 256),
    "ctx": (PAGE, 16_777_216),
    "cache_tokens": (PAGE, 1 << 30),
    "chunk": (PAGE, 65_536),
    "draft_tokens": (1, 8),
    "top_k": (0, 1_000_000),
}
_REAL: Final = {
    "rope_scale": (0.01, 1000.0),
    "rope_alpha": (0.01, 1000.0),
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "repetition_penalty": (0.01, 10.0),
}
_IN_PAGES: Final = ("ctx", "cache_tokens", "chunk")


def choose_settings(
    given: dict[str, Any], files: ModelFiles, room: Room, rules: Rules
) -> ExllamaSettings:
    """The settings of a load: what was given, and defaults for the rest.

    Args:
        given: `ModelSpec.settings`.

    Raises:
        ModelLoadError: For an unknown key, a bad value, or two that don't go together; it names
            the key.
    """
    check_keys(given, rules)
    ctx = given.get("ctx", max(PAGE, min(files.context, _CONTEXT) // PAGE * PAGE))
    cache_type = given.get("cache_type", "fp16")
    per_token = files.cache_bytes * rules.cache_types[cache_type] / 16
    slots = given.get("slots", default_slots(ctx, per_token, files.size, room))
    if not room.can_batch:
        slots = 1
    cache_tokens = given.get("cache_tokens", slots * ctx)
    if cache_tokens < ctx:
        raise ModelLoadError(f"'cache_tokens' must be at least 'ctx', {ctx}, not {cache_tokens}")
    if given.get("draft_model") and given.get("ngram_draft"):
        raise ModelLoadError("'draft_model' and 'ngram_draft' exclude each other")
    _check_split(given, room)
    plain = ("tensor_parallel", "rope_scale", "rope_alpha", "draft_model", "ngram_draft")
    return ExllamaSettings(
        slots=slots,
        ctx=ctx,
        cache_tokens=cache_tokens,
        cache_type=cache_type,
        chunk=given.get("chunk", _CHUNK),
        draft_tokens=given.get("draft_tokens", _DRAFT_TOKENS),
        gpu_split=tuple(given.get("gpu_split", ())),
        gpu_reserve=tuple(given.get("gpu_reserve", ())),
        loras=tuple(_lora(item) for item in given.get("loras", ())),
        chat_template=given.get("chat_template"),
        template_options=given.get("template_options", {}),
        sampling=_sampling(given, files.recommended),
        **{key: given[key] for key in plain if key in given},
    )


def default_slots(ctx: int, per_token: float, weights: int, room: Room) -> int:
    """As many as the memory that the weights leave has caches for, at most eight."""
    if not room.free_memory or not per_token:
        return _UNKNOWN_SLOTS
    left = (room.free_memory - weights - _OVERHEAD_BYTES) * _CACHE_SHARE
    return max(1, min(_SLOTS, int(left / (ctx * per_token))))


def check_keys(given: dict[str, Any], rules: Rules) -> None:
    """Each key by itself; raises `ModelLoadError`, naming it."""
    known = {key: check for key, check in _checks(rules).items() if key not in rules.lacks}
    for key, value in given.items():
        if key not in known:
            has = ", ".join(known)
            raise ModelLoadError(f"{rules.library} has no setting {key!r}; it has {has}")
        expected = known[key](value)
        if expected is not None:
            raise ModelLoadError(f"{key!r} must be {expected}, not {value!r}")


def _checks(rules: Rules) -> dict[str, Callable[[Any], str | None]]:
    """Key to a function that says what a value must be, None where it is that."""

    def whole(key: str) -> Callable[[Any], str | None]:
        least, most = _WHOLE[key]
        step = PAGE if key in _IN_PAGES else 1
        words = f"a whole number from {least} to {most}" + (
            f", a multiple of {PAGE}" if step > 1 else ""
        )
        return lambda v: None if is_whole(v) and least <= v <= most and v % step == 0 else words

    def real(key: str) -> Callable[[Any], str | None]:
        least, most = _REAL[key]
        words = f"a number from {least} to {most}"
        return lambda v: None if is_number(v) and least <= v <= most else words

    def of(words: str, holds: Callable[[Any], bool]) -> Callable[[Any], str | None]:
        return lambda value: None if holds(value) else words

    sizes = of("a list of GiB, one for each GPU", _is_sizes)
    flag = of("true or false", lambda value: isinstance(value, bool))
    types = "one of " + ", ".join(rules.cache_types)
    return {
        **{key: whole(key) for key in _WHOLE},
        **{key: real(key) for key in _REAL},
        "cache_type": of(types, lambda v: isinstance(v, str) and v in rules.cache_types),
        "gpu_split": sizes,
        "gpu_reserve": sizes,
        "tensor_parallel": flag,
        "ngram_draft": flag,
        "draft_model": of("the absolute path of a folder", _is_folder),
        "loras": of('a list of absolute paths, or of { folder = "…", scale = 1.0 }', _is_loras),
        "chat_template": of("a Jinja template as text", lambda value: isinstance(value, str)),
        "template_options": of("a map", lambda value: isinstance(value, dict)),
    }


def _check_split(given: dict[str, Any], room: Room) -> None:
    for key in ("gpu_split", "gpu_reserve"):
        if room.gpus and len(given.get(key, ())) > room.gpus:
            raise ModelLoadError(f"{key!r} names more GPUs than there are ({room.gpus})")
    if given.get("gpu_split") and given.get("gpu_reserve"):
        raise ModelLoadError("'gpu_split' and 'gpu_reserve' exclude each other")


def _is_sizes(value: object) -> bool:
    return isinstance(value, list | tuple) and all(is_number(v) and 0 <= v < 1e5 for v in value)


def _is_folder(value: object) -> bool:
    # The engine's process has a working directory of its own: a relative path would mean nothing.
    return isinstance(value, str) and Path(value).is_absolute()


def _is_loras(value: object) -> bool:
    return isinstance(value, list | tuple) and all(_is_lora(item) for item in value)


def _is_lora(item: object) -> bool:
    if not isinstance(item, dict):
        return _is_folder(item)
    has_scale = is_number(item.get("scale", 1.0))
    return item.keys() <= {"folder", "scale"} and _is_folder(item.get("folder")) and has_scale


def _lora(item: Any) -> Lora:
    return Lora(item) if isinstance(item, str) else Lora(item["folder"], item.get("scale", 1.0))


def _sampling(given: dict[str, Any], recommended: dict[str, float]) -> SamplingDefaults:
    values: dict[str, Any] = {}
    for key in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty"):
        if key in given:
            values[key] = given[key]
        elif key in recommended:
            values[key] = int(recommended[key]) if key == "top_k" else float(recommended[key])
    return SamplingDefaults(**values)
