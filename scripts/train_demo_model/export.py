"""Writes the trained network as a GGUF file that llama.cpp reads."""

import json
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Kind

from .tokenizer import CHAT_TEMPLATE, END, END_OF_TEXT, SPECIAL

NAME = "wsserver demo"
LICENSE = "WordNet-3.0"


def export(checkpoint: Path, tokenizer: Path, target: Path, description: str) -> int:
    """Writes `target` (weights as Q8_0, norms as 32-bit floats); returns its size in bytes.

    The file appears under its name only when it is complete: others may be reading the old one.
    """
    state = torch.load(checkpoint, map_location="cpu", weights_only=False)
    temporary = target.with_name(target.name + ".new")
    writer = gguf.GGUFWriter(str(temporary), "llama")
    _describe(writer, state["config"], description)
    _add_tokenizer(writer, tokenizer)
    for name, weight in state["weights"].items():
        _add_tensor(writer, name, weight.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    temporary.replace(target)
    return target.stat().st_size


def _describe(writer: gguf.GGUFWriter, config: dict[str, float], description: str) -> None:
    writer.add_name(NAME)
    writer.add_description(description)
    writer.add_license(LICENSE)
    writer.add_context_length(int(config["context"]))
    writer.add_embedding_length(int(config["width"]))
    writer.add_block_count(int(config["layers"]))
    writer.add_feed_forward_length(int(config["hidden"]))
    writer.add_head_count(int(config["heads"]))
    writer.add_head_count_kv(int(config["heads"]))
    writer.add_rope_dimension_count(int(config["width"] // config["heads"]))
    writer.add_rope_freq_base(config["rope_base"])
    writer.add_layer_norm_rms_eps(config["norm_epsilon"])
    writer.add_vocab_size(int(config["vocabulary"]))
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _add_tokenizer(writer: gguf.GGUFWriter, path: Path) -> None:
    model = json.loads(path.read_text(encoding="utf-8"))["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    special = set(SPECIAL)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([token.encode() for token in tokens])
    kinds = (gguf.TokenType.NORMAL, gguf.TokenType.CONTROL)
    writer.add_token_types([int(kinds[token in special]) for token in tokens])
    merges = model["merges"]
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_bos_token_id(END_OF_TEXT)
    writer.add_eos_token_id(END)
    writer.add_eot_token_id(END)
    writer.add_pad_token_id(END_OF_TEXT)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def _add_tensor(writer: gguf.GGUFWriter, name: str, weight: np.ndarray) -> None:
    """The names of the network's parameters are llama.cpp's. The output layer is the embedding:
    llama.cpp falls back to `token_embd` where a file has no `output` tensor."""
    if weight.ndim == 1:
        writer.add_tensor(name, weight.astype(np.float32))
        return
    quantized = gguf.quants.quantize(np.ascontiguousarray(weight), Kind.Q8_0)
    writer.add_tensor(name, quantized, raw_dtype=Kind.Q8_0)
