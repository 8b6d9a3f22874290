"""Grammars in exllamav2: llguidance's matcher as one of its filters.

Decides which tokens a grammar lets through at each step. exllamav2 ships no grammars; the packages
that once brought them are not maintained, llguidance is, and the other engines use it already. The
rule: nothing here raises. An exception in a filter would leave the generator's step, and with it
end every answer; a fault is kept for the engine, which ends this one.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from exllamav2.generator.filters import ExLlamaV2Filter
from llguidance import LLMatcher, LLTokenizer

_BITS: Final = torch.arange(8, dtype=torch.uint8)
_FAULT: Final = "the grammar could not be followed"


class GrammarFilter(ExLlamaV2Filter):  # type: ignore[misc]  # the library is untyped
    """Keeps one answer to one grammar."""

    def __init__(self, model: Any, tokenizer: Any, matcher: LLMatcher) -> None:
        """``matcher``: of this answer alone, led through what it has said before."""
        super().__init__(model, tokenizer)
        self._matcher = matcher
        self._allowed: Any = None
        self.fault: str | None = _FAULT if matcher.is_error() else None

    def begin(self, prefix_str: str) -> None:
        """The matcher stands where the answer does already."""

    def feed(self, token: Any) -> None:
        """A token was sampled."""
        if self.fault is None and not self._matcher.is_stopped():
            self._matcher.consume_token(int(token.item()))
            self._look()

    def use_background_worker(self) -> bool:
        """True: the mask is computed while the GPU works on the next step."""
        return True

    def can_mask_logits(self) -> bool:
        """True: a mask is far cheaper than a list of the tokens that may come."""
        return True

    def prepare_logit_mask(self) -> bool:
        """Compute what may come next; called by a thread of the generator's."""
        self._allowed = None
        if self.fault is None:
            bits = self._matcher.compute_bitmask()
            self._look()
            if self.fault is None:
                packed = torch.frombuffer(bytearray(bits), dtype=torch.uint8)
                self._allowed = ((packed.unsqueeze(1) >> _BITS) & 1).bool().flatten()
        return True

    def mask_logits(self, logits: Any) -> Any:
        """``logits``, shape (vocabulary,), with what may not come at minus infinity.

        A copy: the original is what log probabilities are told of.
        """
        if self._allowed is None:
            return logits
        masked = torch.full_like(logits, float("-inf"))
        width = min(masked.shape[-1], self._allowed.shape[-1])
        allowed = self._allowed[:width]
        masked[:width][allowed] = logits[:width][allowed]
        return masked

    def _look(self) -> None:
        if self._matcher.is_error():
            self.fault = _FAULT


def open_tokenizer(source: str, end_tokens: frozenset[int]) -> LLTokenizer:
    """llguidance's view of a tokenizer; takes a second for a large vocabulary.

    Raises:
        Exception: If it is of a kind that llguidance can't read.
    """
    return LLTokenizer(source, eos_token=sorted(end_tokens) or None)


def open_matcher(tokenizer: LLTokenizer, grammar: str, prior: str) -> LLMatcher:
    """A matcher that stands behind ``prior``; in an error state if that breaks the grammar."""
    matcher = LLMatcher(tokenizer, grammar, log_level=0)
    if prior:
        matcher.consume_tokens(tokenizer.tokenize_str(prior))
    return matcher
