"""Makes a Llama with random weights from a seed: real in shape and speed, meaningless in text.

A machine without a network has no model. What checks and timings need of one is its shape, and
that two runs see the same weights: each tensor has a generator of its own, seeded by the model's
seed and the tensor's name, so that the bytes depend neither on the order nor on how many threads
make them.
Needs numpy alone; the safetensors format is a length, a JSON head and the raw numbers.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

STANDARD_DEVIATION = 0.02
"""As Llama's own weights before training."""

SHARD_BYTES = 1 << 30
"""Of one file at most: also the memory that making it takes."""

Half = NDArray[np.float16]


@dataclass(frozen=True)
class Shape:
    """The sizes of a Llama.

    ``hidden`` and ``inner`` are multiples of 128, the quantizer's groups; ``head`` is 64 or 128, as
    the kit's attention has it; ``kv_heads`` × ``head`` is a multiple of 512 (but for the tiny one),
    so that a quantized cache has whole tokens in its blocks.
    """

    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int = 8192
    context: int = 32768

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name to shape, in the names of Hugging Face's `LlamaForCausalLM`."""
        shapes: dict[str, tuple[int, ...]] = {
            "model.embed_tokens.weight": (self.vocabulary, self.hidden)
        }
        for number in range(self.layers):
            layer = f"model.layers.{number}"
            shapes |= {
                f"{layer}.input_layernorm.weight": (self.hidden,),
                f"{layer}.self_attn.q_proj.weight": (self.heads * self.head, self.hidden),
                f"{layer}.self_attn.k_proj.weight": (self.kv_heads * self.head, self.hidden),
                f"{layer}.self_attn.v_proj.weight": (self.kv_heads * self.head, self.hidden),
                f"{layer}.self_attn.o_proj.weight": (self.hidden, self.heads * self.head),
                f"{layer}.post_attention_layernorm.weight": (self.hidden,),
                f"{layer}.mlp.gate_proj.weight": (self.inner, self.hidden),
                f"{layer}.mlp.up_proj.weight": (self.inner, self.hidden),
                f"{layer}.mlp.down_proj.weight": (self.hidden, self.inner),
            }
        return shapes | {
            "model.norm.weight": (self.hidden,),
            "lm_head.weight": (self.vocabulary, self.hidden),
        }

    @property
    def parameters(self) -> int:
        return sum(int(np.prod(shape)) for shape in self.tensors().values())


SIZES = {
    "tiny": Shape(2, 256, 512, 4, 2, 64, vocabulary=512, context=2048),
    "100m": Shape(8, 1024, 2816, 16, 8, 64),
    "1b": Shape(16, 2048, 8192, 32, 8, 64),
    "3b": Shape(28, 3072, 8192, 24, 8, 128),
    "8b": Shape(32, 4096, 14336, 32, 8, 128),
}
"""``tiny`` for tests without a GPU, ``100m`` for the quantizer, the others for measuring."""


def configuration(shape: Shape, special: dict[str, int]) -> dict[str, Any]:
    """The model's config.json; ``special`` has the ids of bos, eos and pad."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "torch_dtype": "float16",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": shape.context,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "hidden_act": "silu",
        "attention_bias": False,
        "tie_word_embeddings": False,
        **{f"{name}_token_id": number for name, number in special.items()},
    }


def weights(name: str, shape: tuple[int, ...], seed: int, silent: Sequence[int] = ()) -> Half:
    """One tensor: ones for a norm, normal numbers for a matrix.

    Args:
        silent: Tokens that are never the best: their logit is 0, far below the greatest of
            thousands. So greedy answers are as long as they may be.
    """
    if len(shape) == 1:
        return np.ones(shape, np.float16)
    random = np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))
    numbers = random.standard_normal(shape, dtype=np.float32)
    if name == "lm_head.weight":
        numbers[list(silent)] = 0
    return (numbers * np.float32(STANDARD_DEVIATION)).astype(np.float16)


def write_weights(folder: Path, shape: Shape, seed: int, silent: Sequence[int] = ()) -> None:
    """Write all tensors as safetensors files of half precision, and their index."""
    shards = list(_shards(shape))
    placed: dict[str, str] = {}
    with ThreadPoolExecutor() as threads:
        for number, shard in enumerate(shards, 1):
            name = "model.safetensors"
            if len(shards) > 1:
                name = f"model-{number:05}-of-{len(shards):05}.safetensors"
            tensors = threads.map(
                lambda item: weights(item[0], item[1], seed, silent), shard.items()
            )
            _write_file(folder / name, shard, tensors)
            placed |= dict.fromkeys(shard, name)
    if len(shards) > 1:
        index = {"metadata": {"total_size": 2 * shape.parameters}, "weight_map": placed}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))


def _shards(shape: Shape) -> Iterator[dict[str, tuple[int, ...]]]:
    shard: dict[str, tuple[int, ...]] = {}
    filled = 0
    for name, size in shape.tensors().items():
        octets = 2 * int(np.prod(size))
        if shard and filled + octets > SHARD_BYTES:
            yield shard
            shard, filled = {}, 0
        shard[name] = size
        filled += octets
    yield shard


def _write_file(path: Path, shard: dict[str, tuple[int, ...]], tensors: Iterator[Half]) -> None:
    head: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shard.items():
        begin, end = end, end + 2 * int(np.prod(shape))
        head[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)  # numbers begin at a multiple of eight
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for tensor in tensors:
            file.write(tensor.tobytes())
