"""The random Llama of scripts/gpu: real in form, the same from the same seed."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.gpu import random_llama
from scripts.gpu.random_llama import SIZES, configuration, weights, write_weights

TINY = SIZES["tiny"]


def read(path: Path) -> tuple[dict[str, Any], bytes]:
    """Head and numbers of a safetensors file."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def test_the_file_is_safetensors_with_every_tensor(tmp_path: Path) -> None:
    """Head, offsets and numbers agree, and a tensor read back is the one that was made."""
    write_weights(tmp_path, TINY, 1)
    head, numbers = read(tmp_path / "model.safetensors")
    assert head.pop("__metadata__") == {"format": "pt"}
    assert {name: tuple(entry["shape"]) for name, entry in head.items()} == TINY.tensors()
    ends = [entry["data_offsets"] for entry in head.values()]
    assert [begin for begin, _ in ends] == [0, *(end for _, end in ends[:-1])]
    assert ends[-1][1] == len(numbers) == 2 * TINY.parameters
    name = "model.layers.1.mlp.down_proj.weight"
    begin, end = head[name]["data_offsets"]
    found = np.frombuffer(numbers[begin:end], np.float16).reshape(head[name]["shape"])
    assert np.array_equal(found, weights(name, TINY.tensors()[name], 1))
    assert abs(float(found.astype(np.float32).std()) - random_llama.STANDARD_DEVIATION) < 1e-3


def test_the_same_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    """Two makings are one model, another seed is another."""
    digests = []
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / folder).mkdir()
        write_weights(tmp_path / folder, TINY, seed)
        content = (tmp_path / folder / "model.safetensors").read_bytes()
        digests.append(hashlib.sha256(content).hexdigest())
    assert digests[0] == digests[1] != digests[2]


def test_a_large_model_is_several_files_with_an_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the size of a file the tensors are spread, and the index says where each is."""
    monkeypatch.setattr(random_llama, "SHARD_BYTES", 1_000_000)
    write_weights(tmp_path, TINY, 1)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["weight_map"].keys() == TINY.tensors().keys()
    assert index["metadata"]["total_size"] == 2 * TINY.parameters
    files = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert len(files) > 1
    assert set(index["weight_map"].values()) == set(files)
    for name in files:
        head, _ = read(tmp_path / name)
        assert {tensor for tensor, file in index["weight_map"].items() if file == name} == {
            tensor for tensor in head if tensor != "__metadata__"
        }


def test_the_end_of_an_answer_is_never_the_best_token() -> None:
    """The output rows of special tokens are zero, so that a greedy answer is as long as asked."""
    rows = weights("lm_head.weight", (16, 8), 1, silent=(0, 2))
    assert not rows[[0, 2]].any()
    assert rows[[1, 3]].any()


@pytest.mark.parametrize("size", [name for name in SIZES if name != "tiny"])
def test_shapes_are_what_kernels_and_quantizer_take(size: str) -> None:
    """The quantizer's groups, the heads of the kit's attention, whole blocks of a cache."""
    shape = SIZES[size]
    assert shape.hidden % 128 == shape.inner % 128 == shape.vocabulary % 32 == 0
    assert shape.head in (64, 128)
    assert shape.kv_heads * shape.head % 512 == 0
    assert shape.heads % shape.kv_heads == 0
    assert shape.context % 256 == 0


def test_sizes_are_what_their_names_say() -> None:
    """The number of parameters is within a fifth of the name's."""
    for name, millions in (("100m", 100), ("1b", 1000), ("3b", 3000), ("8b", 8000)):
        assert abs(SIZES[name].parameters / 1e6 / millions - 1) < 0.2, name


def test_the_configuration_is_a_llamas() -> None:
    """One architecture, the shape, and the ids of the special tokens."""
    found = configuration(TINY, {"bos": 1, "eos": 2, "pad": 0})
    assert found["architectures"] == ["LlamaForCausalLM"]
    assert found["num_attention_heads"] * found["head_dim"] == TINY.heads * TINY.head
    assert (found["bos_token_id"], found["eos_token_id"], found["pad_token_id"]) == (1, 2, 0)


def test_a_whole_folder_has_a_tokenizer_that_gives_text_back(tmp_path: Path) -> None:
    """The tokenizer turns any text into tokens and back, and knows its special ones."""
    tokenizers = pytest.importorskip(
        "tokenizers", reason="the random model's tokenizer: tokenizers"
    )
    from scripts.gpu.make_model import make_llama

    make_llama(tmp_path / "m", "tiny", 1)
    tokenizer = tokenizers.Tokenizer.from_file(str(tmp_path / "m" / "tokenizer.json"))
    text = "Grüße, 世界 👋 <code>x = 1</code>"
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert tokenizer.token_to_id("<|im_end|>") == config["eos_token_id"]
    assert tokenizer.get_vocab_size() <= config["vocab_size"]
