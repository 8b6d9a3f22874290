"""Tiny models as folders, the form that the GPU engines load: written, not trained.

The same as the ``cycle`` of `tests.tiny_models`: the embedding is one-hot, the blocks are zero, and
the output matrix says which token follows which, so that the answer is known to the byte. Sizes fit
what the libraries' kernels ask for: widths in 128s, heads of 64, whole cache blocks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tests.tiny_models import (
    BOS,
    CHATML,
    EOS,
    IM_END,
    SPECIALS,
    ByteLevelVocabulary,
    TinyModel,
    successors,
)

WIDTH: Final = 512
_HEAD_WIDTH: Final = 64
_ROW: Final = 32  # rows of the output matrix come in so many
_ALIGNMENT: Final = 8

Tensors = dict[str, npt.NDArray[np.float16]]


@dataclass(frozen=True)
class TinyFolder:
    """What to write. More ``layers`` make a step take longer, and change nothing else."""

    layers: int = 1
    context: int = 4096
    template: str | None = CHATML

    @property
    def model(self) -> TinyModel:
        """What it says."""
        return TinyModel(mode="cycle", context=self.context, template=self.template)


def write_folder(folder: Path, wanted: TinyFolder | None = None) -> Path:
    """Write the model into ``folder`` and return it."""
    wanted = wanted or TinyFolder()
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = ByteLevelVocabulary(wanted.model.text)
    rows = -(-len(vocabulary.tokens) // _ROW) * _ROW
    _write(folder / "config.json", _config(wanted, rows))
    _write(folder / "generation_config.json", {"eos_token_id": [EOS, IM_END]})
    _write(folder / "tokenizer.json", tokenizer_json(vocabulary))
    _write(folder / "tokenizer_config.json", _tokenizer_config(wanted))
    write_safetensors(folder / "model.safetensors", _tensors(wanted, vocabulary, rows))
    return folder


def tokenizer_json(vocabulary: ByteLevelVocabulary) -> dict[str, Any]:
    """Byte-level BPE that puts its begin token before a text."""
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": token,
                "content": text,
                "special": True,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
            }
            for token, text in enumerate(SPECIALS)
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": SPECIALS[BOS], "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "pair": [
                {"Sequence": {"id": "A", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": {
                SPECIALS[BOS]: {"id": SPECIALS[BOS], "ids": [BOS], "tokens": [SPECIALS[BOS]]}
            },
        },
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary.ids,
            "merges": vocabulary.merges,
        },
    }


def write_safetensors(path: Path, tensors: Tensors) -> None:
    """The format: a length, a JSON map of names, shapes and places, and the numbers."""
    head: dict[str, Any] = {}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.nbytes
        head[name] = {"dtype": "F16", "shape": tensor.shape, "data_offsets": [begin, end]}
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            file.write(tensor.tobytes())


def _config(wanted: TinyFolder, rows: int) -> dict[str, Any]:
    heads = WIDTH // _HEAD_WIDTH
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_hidden_layers": wanted.layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": _HEAD_WIDTH,
        "vocab_size": rows,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "max_position_embeddings": wanted.context,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
        "bos_token_id": BOS,
        "eos_token_id": EOS,
    }


def _tokenizer_config(wanted: TinyFolder) -> dict[str, Any]:
    config: dict[str, Any] = {
        "bos_token": SPECIALS[BOS],
        "eos_token": SPECIALS[EOS],
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    if wanted.template is not None:
        config["chat_template"] = wanted.template
    return config


def _tensors(wanted: TinyFolder, vocabulary: ByteLevelVocabulary, rows: int) -> Tensors:
    size = len(vocabulary.tokens)
    assert size <= WIDTH, "a one-hot vector must hold the vocabulary"
    embedding = np.zeros((rows, WIDTH), np.float16)
    embedding[np.arange(size), np.arange(size)] = 1.0
    head = np.full((rows, WIDTH), -30.0 / np.sqrt(WIDTH), np.float16)
    head[:size] = successors(wanted.model, vocabulary, WIDTH).astype(np.float16)
    ones, zeros = np.ones(WIDTH, np.float16), np.zeros((WIDTH, WIDTH), np.float16)
    tensors: Tensors = {"model.embed_tokens.weight": embedding}
    for layer in range(wanted.layers):
        block = f"model.layers.{layer}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{block}{norm}.weight"] = ones
        for part in ("q_proj", "k_proj", "v_proj", "o_proj"):
            tensors[f"{block}self_attn.{part}.weight"] = zeros
        for part in ("gate_proj", "up_proj", "down_proj"):
            tensors[f"{block}mlp.{part}.weight"] = zeros
    tensors["model.norm.weight"] = ones
    tensors["lm_head.weight"] = head
    return tensors


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
