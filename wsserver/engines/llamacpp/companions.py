"""Files that a model is loaded with: LoRA adapters, and a small model that drafts for it.

Decides that they are there and belong to the model, as far as their headers tell; whether an
adapter's tensors fit, llama.cpp says itself. The rule: what was asked for takes part in every
answer or the load fails. llama.cpp would go on without a draft whose vocabulary is another, and
say so only in its log.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wsserver.core.engine import ModelLoadError
from wsserver.engines.llamacpp.gguf import GgufError, Metadata, read_metadata, read_tokens

# llama.cpp's own bounds on how two vocabularies may differ: in size, and in their first tokens,
# which are control tokens.
_MAX_SIZE_DIFFERENCE: Final = 128
_FIRST_COMPARED: Final = 5
_SAME: Final = (
    "tokenizer.ggml.model",
    "tokenizer.ggml.bos_token_id",
    "tokenizer.ggml.eos_token_id",
)
_DRAFT_MAX: Final = 4


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter; ``scale`` 1 is its full strength, 0 none."""

    path: str
    scale: float


@dataclass(frozen=True)
class Draft:
    """A small model that proposes tokens, which the model confirms several at a time.

    ``most`` and ``least``: tokens proposed at once; fewer than ``least`` are not worth confirming.
    ``min_probability``: below it the draft stops proposing. ``gpu_layers``: −1 = as many as fit.
    """

    path: str
    most: int = _DRAFT_MAX
    least: int = 0
    min_probability: float = 0.0
    gpu_layers: int = -1


def choose_adapters(given: dict[str, Any]) -> tuple[Adapter, ...]:
    """The adapters that the settings name; they are well-formed already.

    Raises:
        ModelLoadError: If one is not there.
    """
    adapters = []
    for number, adapter in enumerate(given.get("lora", ())):
        _require_file(f"lora[{number}].path", adapter["path"])
        adapters.append(Adapter(adapter["path"], float(adapter.get("scale", 1.0))))
    return tuple(adapters)


def choose_draft(given: dict[str, Any]) -> Draft | None:
    """The draft that the settings name, or None.

    Raises:
        ModelLoadError: If it is not there, or its settings contradict each other.
    """
    settings = sorted(key for key in given if key.startswith("draft_") and key != "draft_model")
    path = given.get("draft_model")
    if path is None:
        if settings:
            raise ModelLoadError(f"{settings[0]!r} needs a 'draft_model'")
        return None
    _require_file("draft_model", path)
    default = Draft(path)
    draft = Draft(
        path,
        most=given.get("draft_max", max(default.most, given.get("draft_min", 0))),
        least=given.get("draft_min", default.least),
        min_probability=float(given.get("draft_p_min", default.min_probability)),
        gpu_layers=given.get("draft_gpu_layers", default.gpu_layers),
    )
    if draft.least > draft.most:
        raise ModelLoadError(
            f"'draft_min' must be at most 'draft_max', {draft.most}, not {draft.least}"
        )
    return draft


def check_draft(draft: Draft, model_path: str, model: Metadata) -> None:
    """Make sure that the draft speaks the model's tokens.

    Raises:
        ModelLoadError: If it can't be read or its vocabulary is another one.
    """
    try:
        metadata = read_metadata(draft.path)
        is_same = all(metadata.values.get(key) == model.values.get(key) for key in _SAME)
        is_same = is_same and _tokens_agree(read_tokens(model_path), read_tokens(draft.path))
    except GgufError as error:
        raise ModelLoadError(f"'draft_model': {error}") from error
    if not is_same:
        raise ModelLoadError("'draft_model' has another vocabulary than the model")


def _tokens_agree(ours: list[bytes], theirs: list[bytes]) -> bool:
    if abs(len(ours) - len(theirs)) > _MAX_SIZE_DIFFERENCE:
        return False
    both = slice(_FIRST_COMPARED, min(len(ours), len(theirs)))
    return ours[both] == theirs[both]


def _require_file(key: str, path: str) -> None:
    if not Path(path).is_file():
        raise ModelLoadError(f"{key!r}: there is no such file")
