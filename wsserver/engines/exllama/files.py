"""What a model's folder says of itself in its JSON files.

Decides which files are asked for what, and what a folder must have. It loads no weights and knows
no library. The rule: a fault of the folder is told in words that name the file, never its path.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeGuard

from wsserver.core.engine import ModelLoadError
from wsserver.engines.folders import (
    WeightFormat,
    quantization,
    read_json,
    weight_files,
    weight_format,
)

_BYTES_PER_CACHE_VALUE: Final = 2  # half precision
_CONTEXT_KEYS: Final = (
    "max_sequence_length",
    "model_max_length",
    "max_position_embeddings",
    "max_seq_len",
    "n_positions",
)
_DEFAULT_CONTEXT: Final = 2048
# What a model's publisher may recommend in generation_config.json.
_RECOMMENDED: Final = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


@dataclass(frozen=True)
class ModelFiles:
    """A folder whose files were read."""

    folder: Path
    format: WeightFormat
    size: int  # bytes of the weights
    config: dict[str, Any] = field(default_factory=dict)
    generation: dict[str, Any] = field(default_factory=dict)
    tokenizer: dict[str, Any] = field(default_factory=dict)  # tokenizer_config.json

    @property
    def context(self) -> int:
        """Tokens that the model was trained for."""
        return self.number(*_CONTEXT_KEYS) or _DEFAULT_CONTEXT

    @property
    def vocabulary(self) -> int:
        """Rows of the output matrix; 0 if the configuration does not say."""
        return self.number("vocab_size")

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys and values of one token in half precision, from the model's shape; 0 if
        that is not told."""
        layers = self.number("num_hidden_layers", "n_layers", "n_layer")
        heads = self.number("num_attention_heads", "n_heads", "n_head")
        width = self.number("hidden_size", "d_model", "n_embd")
        kv_heads = self.number("num_key_value_heads") or heads
        head_width = self.number("head_dim") or (width // heads if heads else 0)
        return 2 * layers * kv_heads * head_width * _BYTES_PER_CACHE_VALUE

    @property
    def end_tokens(self) -> frozenset[int]:
        """All ids that end a turn, from both configurations: either may name more than the other,
        and the libraries keep the first alone."""
        found = (self.config, self.config.get("text_config"), self.generation)
        ids: set[int] = set()
        for source in found:
            value = source.get("eos_token_id") if isinstance(source, dict) else None
            ids |= {item for item in _listed(value) if is_whole(item)}
        return frozenset(ids)

    @property
    def recommended(self) -> dict[str, float]:
        """Sampling values that the publisher recommends; empty where it recommends none."""
        if self.generation.get("do_sample") is False:
            return {}
        values = {key: self.generation.get(key) for key in _RECOMMENDED}
        return {key: value for key, value in values.items() if is_number(value)}

    def number(self, *keys: str) -> int:
        """The first of the keys that has a whole number, in the model's own part of the
        configuration or, for models with several parts, in that of its text; 0 without one."""
        nested = self.config.get("text_config")
        for source in (self.config, nested if isinstance(nested, dict) else {}):
            for key in keys:
                if is_whole(value := source.get(key)):
                    return int(value)
        return 0

    def special_text(self, key: str) -> str | None:
        """The text of ``bos_token``, ``eos_token`` or the like."""
        value = self.tokenizer.get(key)
        if isinstance(value, dict):
            value = value.get("content")
        return value if isinstance(value, str) else None


def read_files(path: str | None, formats: frozenset[WeightFormat], library: str) -> ModelFiles:
    """The folder at ``path``, its files read.

    Raises:
        ModelLoadError: If it is no folder that ``library``, with its ``formats``, can load.
    """
    if path is None or not Path(path).is_dir():
        raise ModelLoadError(f"{library} loads a folder with config.json and *.safetensors files")
    folder = Path(path)
    config = read_json(folder / "config.json")
    if not config:
        raise ModelLoadError("the folder has no readable config.json")
    files = weight_files(folder)
    if not files:
        raise ModelLoadError("the folder has no .safetensors files")
    if not (folder / "tokenizer.json").is_file():
        raise ModelLoadError("the folder has no tokenizer.json")
    kind = weight_format(path)
    if kind not in formats:
        what = kind or quantization(folder) or "unknown"
        known = ", ".join(sorted(formats))
        raise ModelLoadError(f"{library} does not read weights of kind {what}; it reads {known}")
    return ModelFiles(
        folder=folder,
        format=kind,
        size=sum(file.stat().st_size for file in files),
        config=config,
        generation=read_json(folder / "generation_config.json"),
        tokenizer=read_json(folder / "tokenizer_config.json"),
    )


def is_whole(value: object) -> TypeGuard[int]:
    """Whether it is a whole number, as JSON has them."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether it is a number, as JSON has them."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]
