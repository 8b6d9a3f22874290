"""What kind of model a folder holds, told by its files.

Decides the format of the weights, so that a path alone chooses the engine. It loads nothing and
reads no weights: ``config.json``, and where that is silent the names in the head of one
safetensors file. The rule: a folder that is no model, or of a kind that no engine here reads, is
told apart from one that can be served, and never raises.
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

_MAX_JSON: Final = 16 * 1024 * 1024
_MAX_HEAD: Final = 100 * 1024 * 1024  # what the format itself allows
_EXL2_TENSOR: Final = b'.q_weight"'
_GPTQ_TENSOR: Final = b'.qweight"'


class WeightFormat(StrEnum):
    """How a folder's weights are stored."""

    EXL2 = "exl2"
    EXL3 = "exl3"
    GPTQ = "gptq"
    PLAIN = "safetensors"  # unquantized, as models are published


def weight_format(source: str) -> WeightFormat | None:
    """The format of the model in the folder ``source``; None if it is none that is known here."""
    folder = Path(source)
    if not (folder / "config.json").is_file():
        return None
    if (method := quantization(folder)) is not None:
        # Named, and not guessed: weights of another kind would load as nonsense or not at all.
        return next((known for known in WeightFormat if known == method), None)
    head = _head_of_first(folder)
    if head is None:
        return None
    if _EXL2_TENSOR in head:  # the first converters wrote nothing into config.json
        return WeightFormat.EXL2
    if _GPTQ_TENSOR in head or (folder / "quantize_config.json").is_file():
        return WeightFormat.GPTQ
    return WeightFormat.PLAIN


def quantization(folder: Path) -> str | None:
    """The method by which ``config.json`` says that the weights are quantized, if any."""
    method = read_json(folder / "config.json").get("quantization_config")
    name = method.get("quant_method") if isinstance(method, dict) else None
    return str(name).lower() if name else None


def read_json(path: Path) -> dict[str, Any]:
    """The map in a file; empty if there is no such file, or no map in it."""
    try:
        if path.stat().st_size > _MAX_JSON:
            return {}
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def weight_files(folder: Path) -> list[Path]:
    """Its safetensors files, in order."""
    return sorted(path for path in folder.glob("*.safetensors") if path.is_file())


def _head_of_first(folder: Path) -> bytes | None:
    """The names and shapes at the beginning of the first file of weights; None without one."""
    files = weight_files(folder)
    if not files:
        return None
    try:
        with files[0].open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            return file.read(size) if size <= _MAX_HEAD else None
    except OSError:
        return None
