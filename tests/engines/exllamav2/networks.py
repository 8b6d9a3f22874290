"""A network that computes on a CPU, for the real generator of exllamav2.

Only the network is replaced: its kernels are CUDA's. Everything else of the library runs as it is:
the generator, its pages and jobs, the sampler, the tokenizer, the filters. The network is the tiny
model's own mathematics, in which the next token depends on the present one alone.
"""

from __future__ import annotations

from typing import Any, Literal

import torch

from tests.tiny_folders import WIDTH
from tests.tiny_models import SENTENCE, ByteLevelVocabulary, TinyModel, successors

VOCABULARY = ByteLevelVocabulary(SENTENCE)


class Network:
    """In the place of an ``ExLlamaV2`` with its weights."""

    def __init__(self, config: Any, mode: Literal["cycle", "sentence"]) -> None:
        self.config = config
        table = successors(TinyModel(mode=mode), VOCABULARY, WIDTH) * WIDTH**0.5
        width = -(-config.vocab_size // 32) * 32
        self._logits = torch.full((WIDTH, width), -30.0)
        self._logits[:, : table.shape[0]] = torch.from_numpy(table).T
        self.computed = 0  # tokens

    def forward_chunk(
        self, input_ids: Any, preprocess_only: bool = False, **others: Any
    ) -> dict[str, Any]:
        """Logits of the tokens that follow each of ``input_ids``, shape (answers, n)."""
        self.computed += input_ids.numel()
        return {} if preprocess_only else {"logits": self._logits[input_ids]}

    def unload(self) -> None:
        """There is nothing on a GPU."""


class Cache:
    """In the place of an ``ExLlamaV2Cache``: this network remembers nothing."""

    batch_size = 1
    current_seq_len = 0

    def __init__(self, tokens: int) -> None:
        self.max_seq_len = tokens

    def all_tensors(self) -> list[Any]:
        """None."""
        return []

    def copy_states(self, *places: Any) -> None:
        """Nothing to copy."""
