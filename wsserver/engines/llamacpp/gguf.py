"""What a GGUF file says about its model, read from its header.

Decides nothing; reads names, sizes and the tokens that steer a conversation, none of the weights.
It is read before llama.cpp sees the file: the refusals here are worded for people, and a file that
is no model never has its content quoted. The rule: every length in the file is checked before it
is believed.
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

_MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_MAX_PAIRS: Final = 65_536
_MAX_ITEMS: Final = 16_777_216  # of an array; vocabularies have some 300,000
_MAX_TEXT: Final = 16 * 1024 * 1024  # bytes; a chat template has some 20,000

_STRING: Final = 8
_ARRAY: Final = 9
_SCALARS: Final = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_LENGTH: Final = struct.Struct("<Q")

# Tokenizers that put a space before a text unless the model file says otherwise.
_SPACE_PREFIXING: Final = frozenset(("llama", "t5"))

# Token types that a tokenizer takes for more than text: control and user-defined. The latter too,
# since llama.cpp turns those that look like an end of turn into control tokens.
_CONTROL: Final = 3
_STEERING: Final = frozenset((_CONTROL, 4))
_TOKENS: Final = "tokenizer.ggml.tokens"
_TYPES: Final = "tokenizer.ggml.token_type"

Scalar = str | int | float | bool


class GgufError(Exception):
    """The file is no GGUF model that can be read; the text says why and names no path."""


@dataclass(frozen=True)
class Metadata:
    """The scalar values of a header, and what of its arrays matters here."""

    values: dict[str, Scalar]
    vocabulary: int  # tokens
    steering_tokens: tuple[str, ...]  # texts that are tokens of their own in a template
    control_tokens: tuple[str, ...] = ()  # of these, those that mark turns and the like

    def text(self, key: str) -> str | None:
        """A string value, or None."""
        value = self.values.get(key)
        return value if isinstance(value, str) else None

    def number(self, key: str) -> float | None:
        """A numeric value, or None."""
        value = self.values.get(key)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    def of_model(self, key: str) -> int | None:
        """A whole number under the architecture's own prefix, such as ``context_length``."""
        value = self.number(f"{self.text('general.architecture')}.{key}")
        return int(value) if value is not None else None


def has_llguidance(metadata: Metadata) -> bool:
    """Whether a model's tokenizer is one that llama.cpp tells llguidance rightly of.

    Where a tokenizer puts a space before a text (SentencePiece's of Llama 2, say), llama.cpp tells
    it each token without its leading space, and what it lets through has spaces where the grammar
    has none. Such a model has only GBNF.
    """
    is_default = metadata.text("tokenizer.ggml.model") in _SPACE_PREFIXING
    return not metadata.values.get("tokenizer.ggml.add_space_prefix", is_default)


def read_metadata(path: str) -> Metadata:
    """Read the header of the file at ``path``.

    Raises:
        GgufError: If it can't be opened, is no GGUF file, or ends too early.
    """
    return _read(path)[0]


def read_tokens(path: str) -> list[bytes]:
    """The vocabulary of the file at ``path``: its tokens' texts, by their ids.

    Raises:
        GgufError: As for `read_metadata`.
    """
    return _read(path)[1]


def _read(path: str) -> tuple[Metadata, list[bytes]]:
    try:
        with Path(path).open("rb") as file:
            return _Reader(file).read()
    except OSError as error:
        raise GgufError(f"the model file can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise GgufError("the model file is damaged: text that is not UTF-8") from error


class _Reader:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self) -> tuple[Metadata, list[bytes]]:
        if self._file.read(4) != _MAGIC:
            raise GgufError("the file is not a GGUF model")
        version, _tensors, pairs = struct.unpack("<IQQ", self._take(20))
        if version not in _VERSIONS:
            raise GgufError(f"GGUF version {version} is not one of {_VERSIONS}")
        values: dict[str, Scalar] = {}
        tokens: list[bytes] = []
        types = array("i")
        for _ in range(self._bounded(pairs, _MAX_PAIRS)):
            key = self._text().decode()
            (kind,) = struct.unpack("<I", self._take(4))
            if kind == _ARRAY:
                self._array(key, tokens, types)
            elif kind == _STRING:
                values[key] = self._text().decode("utf-8", "replace")
            else:
                values[key] = self._scalar(kind)
        steering = (t for t, kind in zip(tokens, types, strict=False) if kind in _STEERING)
        marks = {
            t.decode("utf-8", "replace")
            for t, kind in zip(tokens, types, strict=False)
            if kind == _CONTROL
        }
        texts = tuple(dict.fromkeys(t.decode("utf-8", "replace") for t in steering if t))
        control = tuple(text for text in texts if text in marks or "|" in text or "_" in text)
        return Metadata(values, len(tokens), texts, control), tokens

    def _array(self, key: str, tokens: list[bytes], types: array[int]) -> None:
        (kind,) = struct.unpack("<I", self._take(4))
        count = self._bounded(_LENGTH.unpack(self._take(8))[0], _MAX_ITEMS)
        if kind == _STRING:
            for _ in range(count):
                text = self._text()
                if key == _TOKENS:
                    tokens.append(text)
            return
        if kind not in _SCALARS:
            raise GgufError("the model file is damaged: an array of unknown kind")
        data = self._take(count * _SCALARS[kind].size)
        if key == _TYPES and kind in (4, 5):
            types.frombytes(data)

    def _scalar(self, kind: int) -> Scalar:
        if kind not in _SCALARS:
            raise GgufError("the model file is damaged: a value of unknown kind")
        form = _SCALARS[kind]
        value: Scalar = form.unpack(self._take(form.size))[0]
        return value

    def _text(self) -> bytes:
        return self._take(self._bounded(_LENGTH.unpack(self._take(8))[0], _MAX_TEXT))

    def _take(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise GgufError("the model file is damaged: it ends within its header")
        return data

    @staticmethod
    def _bounded(value: int, most: int) -> int:
        if value > most:
            raise GgufError(f"the model file is damaged: a length of {value}")
        return value
