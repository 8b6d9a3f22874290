"""Grammars in exllamav3: its own filter over llguidance, made safe.

Decides what becomes of a fault. The library's filter raises, and an exception in a filter leaves
the generator's step and with it ends every answer; here it is kept for the engine, which ends this
one.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from exllamav3 import LLGuidanceFilter

_FAULT: Final = "the grammar could not be followed"


class GrammarFilter(LLGuidanceFilter):  # type: ignore[misc]  # the library is untyped
    """Keeps one answer to one grammar, and ends it where the grammar is complete."""

    def __init__(self, tokenizer: Any, grammar: str, prior: str) -> None:
        """``grammar``: llguidance's own kind. ``prior``: the answer so far.

        Raises:
            RuntimeError: If ``prior`` breaks the grammar.
            ValueError: If the grammar can't be used with this tokenizer.
        """
        self.fault: str | None = None
        super().__init__(
            tokenizer,
            prefix_str=prior or None,
            consume_prefix=bool(prior),
            eos_after_completed=True,
            llg_grammar=grammar,
        )

    def accept_token(self, token: int) -> None:
        """A token was sampled."""
        try:
            super().accept_token(token)
        except RuntimeError:
            self.fault = _FAULT

    def get_next_logit_mask(self) -> Any:
        """What may come next; called by a thread of the generator's."""
        try:
            return super().get_next_logit_mask()
        except RuntimeError:
            self.fault = _FAULT
            return torch.zeros((1, self.vocab_size), dtype=torch.half)

    def is_completed(self) -> bool:
        """Whether nothing can follow; a fault is no end of a grammar."""
        return self.fault is None and bool(super().is_completed())
