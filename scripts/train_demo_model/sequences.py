"""Fills fixed-length training sequences with conversations."""

from random import Random

import torch
from torch import Tensor

from .conversations import ConversationMaker, Topic
from .model import IGNORE
from .tokenizer import ChatFrame

SYSTEM_SHARE = 0.15
"""Conversations that begin with a system message."""


class SequenceMaker:
    """Each sequence is one conversation, cut at the wanted length; only answers are trained."""

    def __init__(self, maker: ConversationMaker, frame: ChatFrame, seed: int) -> None:
        self.maker, self.frame, self.random = maker, frame, Random(seed)

    def batch(self, rows: int, length: int) -> tuple[Tensor, Tensor]:
        """Token ids and targets (rows, length)."""
        pairs = [self._sequence(length) for _ in range(rows)]
        return torch.tensor([ids for ids, _ in pairs]), torch.tensor([to for _, to in pairs])

    def _sequence(self, length: int) -> tuple[list[int], list[int]]:
        ids: list[int] = []
        targets: list[int] = []

        def add(tokens: list[int], *, trained: bool) -> None:
            ids.extend(tokens)
            targets.extend(tokens if trained else [IGNORE] * len(tokens))

        if self.random.random() < SYSTEM_SHARE:
            add(self.frame.system(self.maker.system(self.random)), trained=False)
        topic = Topic()
        while len(ids) < length + 1:
            for turn in self.maker.turns(self.random, topic):
                add(self.frame.question(turn.question), trained=False)
                add(self.frame.answer(turn.answer), trained=True)
                add(self.frame.newline, trained=False)
        return ids[:length], targets[1 : length + 1]
