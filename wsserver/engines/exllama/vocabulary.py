"""The bytes of each token, for joining an answer's text.

Decides what a token reads as. It knows no library. Text is put together from bytes and not from
the libraries' pieces of text, because a character may be cut across tokens in ways that they show
as U+FFFD (v2 at the end of an answer, and in long runs of such tokens).

Two kinds of vocabularies are told apart by their decoder: byte-level (each byte a letter, GPT-2's
table) and SentencePiece's ("▁" for a space, ``<0x0A>`` for a byte).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from wsserver.engines.stops import Utf8Assembler

_BYTE: Final = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE: Final = "▁"


def _letters() -> dict[str, int]:
    """GPT-2's table: printable bytes are their own letters, the others follow from U+0100."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(256 + index): byte for index, byte in enumerate(others)}


_LETTERS: Final = _letters()


class Vocabulary:
    """Bytes by token."""

    def __init__(
        self,
        pieces: Mapping[str, int],
        added: Mapping[int, str],
        silent: Iterable[int],
        decoder: Any,
    ) -> None:
        """
        Args:
            pieces: The tokenizer's vocabulary, as it is written in ``tokenizer.json``.
            added: Tokens that stand for their own text.
            silent: Tokens without text: those that steer the conversation.
            decoder: ``decoder`` of ``tokenizer.json``.
        """
        has_letters = "ByteLevel" in set(_kinds(decoder))
        read = _letter_bytes if has_letters else _piece_bytes
        size = 1 + max((*pieces.values(), *added), default=-1)
        self._bytes = [b""] * size
        for piece, token in pieces.items():
            self._bytes[token] = read(piece)
        for token, text in added.items():
            # Letters are never used in these, "▁" is: Gemma's runs of spaces are such tokens.
            self._bytes[token] = text.encode() if has_letters else _piece_bytes(text)
        for token in silent:
            self._bytes[token] = b""

    def __len__(self) -> int:
        return len(self._bytes)

    def read(self, token: int) -> bytes:
        """The bytes of a token; none for one that is not in the vocabulary, as the padding of an
        output matrix is."""
        return self._bytes[token] if 0 <= token < len(self._bytes) else b""

    def show(self, token: int) -> str:
        """A token by itself, for people: half a character shows as U+FFFD."""
        return self.read(token).decode("utf-8", "replace")


class AnswerText:
    """Joins one answer's tokens; never splits a character."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._characters = Utf8Assembler()

    def push(self, tokens: Iterable[int]) -> str:
        """The characters that these tokens complete."""
        return self._characters.push(b"".join(map(self._vocabulary.read, tokens)))

    def finish(self) -> str:
        """Half a character that is left, as U+FFFD."""
        return self._characters.finish()


def _kinds(decoder: Any) -> Iterable[str]:
    if isinstance(decoder, dict):
        yield str(decoder.get("type"))
        for part in decoder.get("decoders") or ():
            yield from _kinds(part)


def _letter_bytes(piece: str) -> bytes:
    if all(letter in _LETTERS for letter in piece):
        return bytes(_LETTERS[letter] for letter in piece)
    return piece.encode()


def _piece_bytes(piece: str) -> bytes:
    if match := _BYTE.fullmatch(piece):
        return bytes((int(match[1], 16),))
    return piece.replace(_SPACE, " ").encode()
