"""The conversation that this client keeps: turns, what of them fits, and how they are saved.

The model is sent the whole conversation with every question. A model's context is finite, so the
oldest turns are left out in time; what was left out stays in the saved file. This room is pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from wsserver_client import ChatMessage

SHARE_FOR_INPUT = 0.75
"""Share of the context that the conversation may fill; the rest is for the answer."""


class Ending(Enum):
    """How an answer ended."""

    COMPLETE = "complete"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass
class Turn:
    """A question and its answer; ``answer`` is None while there is none."""

    question: str
    answer: str | None = None
    model: str | None = None
    ending: Ending = Ending.COMPLETE


@dataclass
class Conversation:
    """Turns in order, and the system prompt.

    Attributes:
        system: System prompt, None for none.
        turns: All turns since `clear`.
        context_length: Tokens of the model's context, 0 if not known.
    """

    system: str | None = None
    turns: list[Turn] = field(default_factory=list)
    context_length: int = 0
    _first: int = 0
    _tokens_per_character: float = 0.4  # until the server has counted; rather too many

    @property
    def left_out(self) -> int:
        """How many of the oldest turns are no longer sent."""
        return self._first

    def clear(self) -> None:
        """Begin anew, with the same system prompt."""
        self.turns.clear()
        self._first = 0

    def ask(self, question: str) -> Turn:
        """Add a question; `messages` is what to send for it."""
        turn = Turn(question)
        self.turns.append(turn)
        self._fit()
        return turn

    def take_back(self) -> str | None:
        """Remove the last turn to ask its question again; None if there is none."""
        if not self.turns:
            return None
        turn = self.turns.pop()
        self._first = min(self._first, max(0, len(self.turns) - 1))
        return turn.question

    def drop_oldest(self) -> bool:
        """Leave one more turn out; False if only the question itself is left."""
        if self._first >= len(self.turns) - 1:
            return False
        self._first += 1
        return True

    def note_usage(self, prompt_tokens: int) -> None:
        """The server counted what was sent last."""
        characters = self._characters()
        if characters and prompt_tokens:
            self._tokens_per_character = prompt_tokens / characters

    def messages(self) -> list[ChatMessage]:
        """What to send for the last question."""
        messages: list[ChatMessage] = []
        if self.system:
            messages.append({"role": "system", "content": self.system})
        for turn in self.turns[self._first :]:
            messages.append({"role": "user", "content": turn.question})
            if turn.answer:
                messages.append({"role": "assistant", "content": turn.answer})
        return messages

    def markdown(self) -> str:
        """The whole conversation for people."""
        parts = []
        if self.system:
            parts.append(f"> {self.system}".replace("\n", "\n> "))
        for turn in self.turns:
            parts.append(f"**You**\n\n{turn.question}")
            if turn.answer is not None:
                cut = "" if turn.ending is Ending.COMPLETE else f" ({turn.ending.value})"
                parts.append(f"**{turn.model or 'Answer'}**{cut}\n\n{turn.answer}")
        return "\n\n".join(parts) + "\n"

    def _fit(self) -> None:
        budget = self.context_length * SHARE_FOR_INPUT
        while budget and self._characters() * self._tokens_per_character > budget:
            if not self.drop_oldest():
                return

    def _characters(self) -> int:
        return sum(len(message["content"]) for message in self.messages())
