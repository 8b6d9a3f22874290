"""What a conversation can do, wherever it is kept.

`LocalTalk` keeps it in this program and sends all of it with every question; `SessionTalk` leaves
it to the server. This room is what the rest of the program knows of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from wsserver_client import ClientError, StreamHandle, StreamResult


@dataclass(frozen=True)
class Manner:
    """How to answer: the model (None: the default one) and options by their snake_case names."""

    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Attempt:
    """An answer that was asked for; ``prior`` is the text that it goes on with."""

    stream: StreamHandle
    prior: str = ""


@dataclass(frozen=True)
class Aftermath:
    """What is to be done about an answer that failed.

    Attributes:
        again: Another attempt that was begun in its place.
        rest: Text of the answer that did not arrive here but is kept.
        finish_reason: How the answer ended after all; None if it failed.
        hint: What the user can do now.
    """

    again: Attempt | None = None
    rest: str = ""
    finish_reason: str | None = None
    hint: str = ""


class Talk(Protocol):
    """A conversation. What it asks of the server raises `ClientError` where that fails."""

    @property
    def model(self) -> str | None:
        """The model that answers where none is named, if the conversation has one of its own."""

    async def ask(self, question: str, manner: Manner) -> Attempt:
        """Ask the next question."""

    async def retry(self, manner: Manner) -> Attempt:
        """Ask the last question again.

        Raises:
            CommandError: If there is none.
        """

    def ended(self, attempt: Attempt, result: StreamResult) -> str:
        """An answer is whole, or was stopped; what there is to say about it, or nothing."""

    async def failed(self, attempt: Attempt, error: ClientError) -> Aftermath:
        """An answer has failed."""

    def clear(self) -> None:
        """Begin a new conversation, with the same system prompt."""

    async def set_system(self, text: str) -> None:
        """Set the system prompt; empty: none."""

    def fit(self, context_length: int) -> None:
        """The model that answers from now on has a context of so many tokens."""

    async def markdown(self) -> str:
        """The whole conversation for people."""
