"""A model's tokenizer, by Hugging Face's library, as both ExLlama libraries use it.

Decides how text becomes tokens: where the begin token goes, and whether texts of control tokens
mean those tokens. It renders no template. Calls must not overlap: the switch between the two ways
of reading control texts belongs to the tokenizer, not to the call.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer

from wsserver.core.engine import ChatMessage, ModelLoadError
from wsserver.engines.exllama.files import ModelFiles
from wsserver.engines.exllama.machine import first_words
from wsserver.engines.exllama.templates import ChatTemplate
from wsserver.engines.exllama.vocabulary import Vocabulary


class ModelTokenizer:
    """One folder's tokenizer; a `wsserver.engines.prompt.Tokenizer`."""

    def __init__(self, files: ModelFiles, template: ChatTemplate | None) -> None:
        """Raises ModelLoadError if ``tokenizer.json`` can't be read."""
        # One thread encodes here, and the library's pool would compete with the sampling.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        try:
            self._tokenizer: Any = Tokenizer.from_file(str(files.folder / "tokenizer.json"))
        except Exception as error:  # the library raises nothing narrower
            raise ModelLoadError(f"tokenizer.json can't be read: {first_words(error)}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._template = template
        added = self._tokenizer.get_added_tokens_decoder()
        declared = _declared_special(files)
        self._special = {
            token: item.content
            for token, item in added.items()
            if item.special or item.content in declared
        }
        self.vocabulary = Vocabulary(
            self._tokenizer.get_vocab(with_added_tokens=True),
            {token: item.content for token, item in added.items()},
            self._special,
            json.loads(self._tokenizer.to_str()).get("decoder"),
        )
        self._begin = self._begin_tokens(files)

    @property
    def steering_tokens(self) -> tuple[str, ...]:
        """Texts that mean control tokens; people's never do."""
        return tuple(text for text in self._special.values() if text)

    @property
    def begin_token(self) -> int | None:
        """What a text begins with, if the model wants that."""
        return self._begin[0] if len(self._begin) == 1 else None

    @property
    def source(self) -> str:
        """The tokenizer as JSON, for libraries that read it anew."""
        return str(self._tokenizer.to_str())

    def token(self, text: str | None) -> int | None:
        """The token of that very text, None if there is none."""
        found = None if text is None else self._tokenizer.token_to_id(text)
        return None if found is None else int(found)

    def apply_template(self, messages: Sequence[ChatMessage]) -> str:
        """The conversation as the model's template words it, open for an answer."""
        assert self._template is not None  # else the prompt is a plain script
        return self._template.apply(messages)

    def tokenize(self, text: str, *, is_beginning: bool, parse_control: bool) -> list[int]:
        """Tokens of ``text``; see `wsserver.engines.prompt.Tokenizer`."""
        self._tokenizer.encode_special_tokens = not parse_control
        tokens = self._tokenizer.encode(text, add_special_tokens=False).ids if text else []
        return [*self._begin, *tokens] if is_beginning else list(tokens)

    def _begin_tokens(self, files: ModelFiles) -> list[int]:
        """What goes before a text: as ``tokenizer_config.json`` says, else as the tokenizer
        does by itself."""
        wanted = files.tokenizer.get("add_bos_token")
        begin = self.token(files.special_text("bos_token"))
        if isinstance(wanted, bool):
            return [begin] if wanted and begin is not None else []
        bare = self._tokenizer.encode("a", add_special_tokens=False).ids
        whole = self._tokenizer.encode("a", add_special_tokens=True).ids
        starts = (at for at in range(len(whole)) if whole[at : at + len(bare)] == bare)
        return list(whole[: next(starts, 0)])


def _declared_special(files: ModelFiles) -> frozenset[str]:
    """Texts that ``tokenizer_config.json`` calls special though ``tokenizer.json`` may not."""
    declared = files.tokenizer.get("added_tokens_decoder")
    items = declared.values() if isinstance(declared, dict) else ()
    return frozenset(
        item["content"]
        for item in items
        if isinstance(item, dict) and item.get("special") and isinstance(item.get("content"), str)
    )
