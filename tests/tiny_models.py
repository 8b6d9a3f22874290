"""Tiny GGUF models that llama.cpp loads in a moment, made when a test needs one.

Their weights are written, not trained: the embedding is one-hot, the blocks are zero, so that the
residual stream passes through unchanged, and the output matrix says which token follows which.

* ``cycle`` recites one sentence for ever at temperature 0: a stream whose every byte is known.
* ``sentence`` recites it once and ends its turn.
* ``script`` says its pieces once, a token each, and ends its turn; byte-level only.
* ``bigram`` follows the word pairs of a small text: English-like, with choices to sample from.
* ``random`` has random weights of any size: for timing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

import gguf
import numpy as np
import numpy.typing as npt

CORPUS: Final = (
    "the quick brown fox jumps over the lazy dog . a server keeps many rooms open and every room"
    " has its own stream of tokens . when a client leaves the stream is cancelled and the slot is"
    " free again . the dog sleeps near the river and the fox runs away . tokens flow like water"
    " from the model to the people in the room . a good server is quiet and fast ."
)
# Each word once, so that each has one successor. The violin is four byte tokens.
SENTENCE: Final = (
    "the quick brown fox jumps over lazy dog and then it goes back to start of story 🎻 ."
)

CHATML: Final = (
    "{{ bos_token }}{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] +"
    " '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# Shows tools and their calls the way that Hermes and Qwen have made common.
TOOL_CHATML: Final = (
    "{{ bos_token }}{%- if tools %}{{ '<|im_start|>system\n# Tools\n<tools>' }}"
    "{%- for tool in tools %}{{ '\n' }}{{ tool | tojson }}{%- endfor %}"
    "{{ '\n</tools>\nFor each call, return a json object within <tool_call></tool_call>:"
    '\n<tool_call>\n{"name": <name>, "arguments": <args>}\n</tool_call><|im_end|>\n\' }}'
    "{%- endif %}{%- for m in messages %}{%- if m.role == 'tool' %}"
    "{{ '<|im_start|>user\n<tool_response>\n' + m.content + '\n</tool_response><|im_end|>\n' }}"
    "{%- else %}{{ '<|im_start|>' + m.role + '\n' + (m.content or '') }}"
    "{%- if m.tool_calls %}{%- for call in m.tool_calls %}"
    '{{ \'\n<tool_call>\n{"name": "\' + call.function.name + \'", "arguments": \''
    " + (call.function.arguments | tojson) + '}\n</tool_call>' }}{%- endfor %}{%- endif %}"
    "{{ '<|im_end|>\n' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{%- endif %}"
)
SPECIALS: Final = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
UNK, BOS, EOS, IM_START, IM_END = range(5)

Matrix = npt.NDArray[np.float32]
_WORD: Final = re.compile(r"[A-Za-z]+|[.,!?]|[^\x00-\x7f]")
_HEAD_WIDTH: Final = 64
_NEVER: Final = -30.0  # logit of what does not follow


@dataclass(frozen=True)
class TinyModel:
    """What to write."""

    mode: Literal["cycle", "sentence", "script", "bigram", "random"] = "cycle"
    script: tuple[str, ...] = ()
    context: int = 4096
    layers: int = 1
    width: int = 256  # of the random mode
    template: str | None = CHATML
    tokenizer: Literal["sentencepiece", "byte-level"] = "sentencepiece"
    name: str = "tiny"

    @property
    def text(self) -> str:
        """The text that the model knows."""
        return CORPUS if self.mode in ("bigram", "random") else SENTENCE


class Vocabulary:
    """Tokens: specials, all bytes, and the words of a text with all their beginnings."""

    def __init__(self, text: str) -> None:
        self.ids: dict[str, int] = {}
        self.tokens: list[str] = []
        self.scores: list[float] = []
        self.types: list[int] = []
        self.merges: list[str] = []
        self._add(SPECIALS, 0.0, gguf.TokenType.CONTROL)
        self._add_bytes()
        for word in words(text):
            # Merges are greedy: every beginning of a word must be a token for it to be reached.
            for form in (self.space + word, word) if word.isascii() else ():
                for size in range(2, len(form) + 1):
                    self._add_beginning(form[:size])

    space = "▁"

    def _add_bytes(self) -> None:
        self._add((self.byte(byte) for byte in range(256)), -1000.0, gguf.TokenType.BYTE)
        self._add((self.space, *map(chr, range(33, 127))), -50.0, gguf.TokenType.NORMAL)

    def _add_beginning(self, form: str) -> None:
        self._add((form,), -2.0, gguf.TokenType.NORMAL)

    def _add(self, tokens: Iterable[str], score: float, kind: gguf.TokenType) -> None:
        for token in tokens:
            if token not in self.ids:
                self.ids[token] = len(self.tokens)
                self.tokens.append(token)
                self.scores.append(score)
                self.types.append(int(kind))

    def byte(self, byte: int) -> str:
        """The token of a single byte."""
        return f"<0x{byte:02X}>"

    def of_word(self, word: str) -> list[int]:
        """A word of the text, after a space, as the tokens that the tokenizer makes of it."""
        if word.isascii():
            return [self.ids[self.space + word]]
        return [self.ids[self.space], *(self.ids[self.byte(byte)] for byte in word.encode())]


class ByteLevelVocabulary(Vocabulary):
    """The same as byte-level BPE, GPT-2's kind: each byte is a letter, words are merges."""

    space = "Ġ"

    def _add_bytes(self) -> None:
        self._add((self.byte(byte) for byte in range(256)), 0.0, gguf.TokenType.NORMAL)

    def add_pieces(self, pieces: Iterable[str]) -> list[int]:
        """Make each piece a token, if it is none; the tokenizer itself makes none of the new."""
        names = ["".join(map(self.byte, piece.encode())) for piece in pieces]
        self._add(names, 0.0, gguf.TokenType.NORMAL)
        return [self.ids[name] for name in names]

    def _add_beginning(self, form: str) -> None:
        if form not in self.ids:
            self.merges.append(f"{form[:-1]} {form[-1]}")
        self._add((form,), 0.0, gguf.TokenType.NORMAL)

    def byte(self, byte: int) -> str:
        """The letter of a byte: itself where it is printable, else one past U+0100."""
        return chr(byte) if byte in _PRINTABLE else chr(256 + _UNPRINTABLE.index(byte))


_PRINTABLE: Final = (*range(33, 127), *range(161, 173), *range(174, 256))
_UNPRINTABLE: Final = tuple(byte for byte in range(256) if byte not in _PRINTABLE)


def words(text: str) -> list[str]:
    """Words and marks of a text."""
    return _WORD.findall(text)


def answer(tokens: int) -> str:
    """What a ``cycle`` model says in so many tokens, where these end with a whole character."""
    vocabulary = Vocabulary(SENTENCE)
    cycle = [token for word in words(SENTENCE) for token in vocabulary.of_word(word)]
    pieces = b""
    for index in range(tokens):
        token = vocabulary.tokens[cycle[index % len(cycle)]]
        is_byte = token.startswith("<0x")
        pieces += bytes([int(token[3:5], 16)]) if is_byte else token.replace("▁", " ").encode()
    return pieces.decode()


def successors(model: TinyModel, vocabulary: Vocabulary, width: int) -> Matrix:
    """The output matrix: row = next token, column = the present one, value = its logit."""
    if isinstance(vocabulary, ByteLevelVocabulary) and model.script:
        sequence = vocabulary.add_pieces(model.script)
    else:
        sequence = [token for word in words(model.text) for token in vocabulary.of_word(word)]
    if model.mode in ("sentence", "script"):
        steps = Counter(pairwise((*sequence, EOS)))
    else:
        steps = Counter(pairwise((*sequence, sequence[0])))
    totals: Counter[int] = Counter()
    for (present, _), count in steps.items():
        totals[present] += count
    logits = np.full((len(vocabulary.tokens), width), _NEVER, np.float32)
    for (present, following), count in steps.items():
        logits[following, present] = np.log(count / totals[present])
    for token in range(len(vocabulary.tokens)):
        if token not in totals:
            logits[sequence[0], token] = 0.0  # after anything else the text begins
    # RMSNorm makes the one-hot vector √width long.
    return np.asarray(logits / np.sqrt(width), np.float32)


def write_tiny_model(path: Path, model: TinyModel) -> Path:
    """Write the model to ``path`` and return it."""
    is_byte_level = model.tokenizer == "byte-level"
    vocabulary = (ByteLevelVocabulary if is_byte_level else Vocabulary)(model.text)
    if isinstance(vocabulary, ByteLevelVocabulary):
        vocabulary.add_pieces(model.script)
    size = len(vocabulary.tokens)
    is_random = model.mode == "random"
    width = model.width if is_random else -(-size // _HEAD_WIDTH) * _HEAD_WIDTH
    writer: Any = gguf.GGUFWriter(str(path), "llama")
    _write_header(writer, model, vocabulary, width)
    rng = np.random.default_rng(0)

    def weights(rows: int, columns: int) -> Matrix:
        if is_random:
            return (rng.standard_normal((rows, columns), np.float32) * 0.02).astype(np.float32)
        return np.zeros((rows, columns), np.float32)

    embedding = weights(size, width)
    if not is_random:
        embedding[np.arange(size), np.arange(size)] = 1.0
    ones = np.ones(width, np.float32)
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output_norm.weight", ones)
    output = weights(size, width) if is_random else successors(model, vocabulary, width)
    writer.add_tensor("output.weight", output)
    for layer in range(model.layers):
        block = f"blk.{layer}."
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{block}{norm}.weight", ones)
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"{block}{part}.weight", weights(width, width))
        inner = _inner_width(model, width)
        for part in ("ffn_gate", "ffn_up"):
            writer.add_tensor(f"{block}{part}.weight", weights(inner, width))
        writer.add_tensor(f"{block}ffn_down.weight", weights(width, inner))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_tiny_adapter(
    path: Path, model: TinyModel, present: str, following: str, architecture: str = "llama"
) -> Path:
    """Write a LoRA of rank 1 after which ``following`` comes next after the word ``present``."""
    vocabulary = Vocabulary(model.text)
    size = len(vocabulary.tokens)
    width = -(-size // _HEAD_WIDTH) * _HEAD_WIDTH
    reads = np.zeros((1, width), np.float32)
    reads[0, vocabulary.of_word(present)[0]] = 1.0
    adds = np.zeros((size, 1), np.float32)
    adds[vocabulary.of_word(following)[0], 0] = 100.0
    writer: Any = gguf.GGUFWriter(str(path), architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 1.0)
    writer.add_tensor("output.weight.lora_a", reads)
    writer.add_tensor("output.weight.lora_b", adds)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _inner_width(model: TinyModel, width: int) -> int:
    return 4 * width if model.mode == "random" else 64


def _write_header(writer: Any, model: TinyModel, vocabulary: Vocabulary, width: int) -> None:
    heads = width // _HEAD_WIDTH
    writer.add_name(model.name)
    writer.add_context_length(model.context)
    writer.add_embedding_length(width)
    writer.add_block_count(model.layers)
    writer.add_feed_forward_length(_inner_width(model, width))
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_rope_dimension_count(_HEAD_WIDTH)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(vocabulary.tokens))
    writer.add_token_list([token.encode() for token in vocabulary.tokens])
    writer.add_token_types(vocabulary.types)
    if vocabulary.merges:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_merges(vocabulary.merges)
    else:
        writer.add_tokenizer_model("llama")
        writer.add_token_scores(vocabulary.scores)
        writer.add_add_space_prefix(True)
    writer.add_unk_token_id(UNK)
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(EOS)
    writer.add_eot_token_id(IM_END)
    writer.add_add_bos_token(True)
    if model.template is not None:
        writer.add_chat_template(model.template)


class TinyModels:
    """Models in one folder, each written once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: dict[TinyModel, Path] = {}

    def path(self, model: TinyModel) -> Path:
        """Path of the model's file."""
        if model not in self._paths:
            path = self._folder / f"{model.name}-{model.mode}-{len(self._paths)}.gguf"
            self._paths[model] = write_tiny_model(path, model)
        return self._paths[model]
