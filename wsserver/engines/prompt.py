"""From a job to the tokens that the model is fed.

Decides what of a conversation is structure and what is only text. It samples nothing. The rule:
**the template speaks in control tokens, people never do**. A message that contains the text of
one, ``<|im_end|>`` for instance, gets those characters as plain text tokens; otherwise anyone
could end their turn and speak as the system. The prompt therefore goes to the model as tokens.

A model without a chat template gets a plain script ("User: …", "Assistant:") and stops where the
next turn of the user would begin.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from wsserver.core.engine import ChatMessage

# Stand-ins for control texts while the template runs: characters that nobody uses.
_STAND_INS: Final = range(0xF0000, 0xFFFFE)

_PLAIN_NAMES: Final = {"user": "User", "assistant": "Assistant", "tool": "Tool"}
PLAIN_STOPS: Final = ("\nUser:",)


class Tokenizer(Protocol):
    """What is needed of the loaded model."""

    def apply_template(self, messages: Sequence[ChatMessage]) -> str: ...

    def tokenize(self, text: str, *, is_beginning: bool, parse_control: bool) -> list[int]: ...


@dataclass(frozen=True)
class PromptBuilder:
    """Builds prompts for one model."""

    tokenizer: Tokenizer
    steering_tokens: tuple[str, ...]
    begin_token: int | None
    has_template: bool

    def of_chat(self, messages: Sequence[ChatMessage], prior: str = "") -> list[int]:
        """Tokens of a conversation, the answer begun with ``prior``.

        Raises:
            JobRefused: If the template refuses the conversation.
        """
        arguments = [call.arguments for m in messages for call in m.tool_calls]
        texts = [*(m.content for m in messages), *arguments, prior]
        shield = _Shield(self.steering_tokens, texts)
        shielded = [shield.hide_in(message) for message in messages]
        render = self.tokenizer.apply_template if self.has_template else plain_script
        return self._tokens(render(shielded) + shield.hide(prior), shield)

    def of_raw(self, text: str, prior: str = "") -> list[int]:
        """Tokens of a prompt that brings its own structure; control texts mean their tokens."""
        shield = _Shield(self.steering_tokens, [prior, text])
        return self._tokens(text + shield.hide(prior), shield)

    def of_text(self, text: str) -> list[int]:
        """Tokens of bare text, for counting."""
        return self.tokenizer.tokenize(text, is_beginning=False, parse_control=False)

    def _tokens(self, text: str, shield: _Shield) -> list[int]:
        tokens: list[int] = []
        for piece, is_control_text in shield.pieces(text):
            tokens += self.tokenizer.tokenize(
                piece, is_beginning=not tokens, parse_control=not is_control_text
            )
        # A template may write the begin token that the tokenizer adds, too.
        if self.begin_token is not None and tokens[:2] == [self.begin_token] * 2:
            del tokens[0]
        return tokens


class _Shield:
    """Hides control texts in what people wrote behind stand-ins, and finds them again."""

    def __init__(self, steering_tokens: Sequence[str], texts: Sequence[str]) -> None:
        found = [token for token in steering_tokens if any(token in text for text in texts)]
        # Longest first: one control text may begin another.
        found.sort(key=len, reverse=True)
        taken = {ord(c) for text in texts for c in text if ord(c) >= _STAND_INS.start}
        free = (chr(code) for code in _STAND_INS if code not in taken)
        self._stand_ins = dict(zip(found, free, strict=False))
        self._texts = {stand_in: token for token, stand_in in self._stand_ins.items()}

    def hide(self, text: str) -> str:
        for token, stand_in in self._stand_ins.items():
            text = text.replace(token, stand_in)
        return text

    def hide_in(self, message: ChatMessage) -> ChatMessage:
        calls = tuple(
            msgspec.structs.replace(call, arguments=self.hide(call.arguments))
            for call in message.tool_calls
        )
        return msgspec.structs.replace(
            message, content=self.hide(message.content), tool_calls=calls
        )

    def pieces(self, text: str) -> Iterator[tuple[str, bool]]:
        """The text cut at the stand-ins; True marks a control text that is to stay text."""
        if not self._texts:
            yield text, False
            return
        for piece in re.split(f"([{''.join(self._texts)}])", text):
            if piece:
                yield self._texts.get(piece, piece), piece in self._texts


def plain_script(messages: Sequence[ChatMessage]) -> str:
    """A conversation for a model without a template, open for an answer."""
    turns = [
        f"{_PLAIN_NAMES[m.role]}: {m.content}" if m.role in _PLAIN_NAMES else m.content
        for m in messages
    ]
    return "\n".join((*turns, "Assistant:"))
