"""How fast answers were. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from wsserver_client import StreamResult


@dataclass
class Stats:
    """Figures of this session's answers.

    Attributes:
        answers: How many there were.
        tokens: Their tokens together.
        last: The last one's end, None before the first.
        first_text_seconds: When the last one's first text was seen here, from the asking.
        seconds: How long the last one took, from the asking.
    """

    answers: int = 0
    tokens: int = 0
    last: StreamResult | None = None
    first_text_seconds: float = 0.0
    seconds: float = 0.0

    def note(self, result: StreamResult, first_text_seconds: float, seconds: float) -> None:
        self.answers += 1
        self.tokens += result.total_tokens
        self.last = result
        self.first_text_seconds = first_text_seconds
        self.seconds = seconds

    @property
    def tokens_per_second(self) -> float | None:
        """Speed of the last answer after its first text; None if it is too short to tell."""
        writing = self.seconds - self.first_text_seconds
        if self.last is None or self.last.total_tokens < 2 or writing <= 0:
            return None
        return (self.last.total_tokens - 1) / writing

    def rows(self) -> list[tuple[str, str]]:
        """For people."""
        if self.last is None:
            return [("answers", "none yet")]
        speed = self.tokens_per_second
        rows = [
            ("last answer", f"{self.last.total_tokens} tokens in {self.seconds:.2f} s"),
            ("speed", "too short to tell" if speed is None else f"{speed:.1f} tokens/s"),
            ("first token", f"{self.first_text_seconds * 1000:.0f} ms"),
            ("ended by", self.last.finish_reason),
        ]
        if self.last.usage is not None:
            usage = self.last.usage
            rows.append(("context", f"{usage.prompt_tokens} tokens, {usage.cached_tokens} cached"))
        return [*rows, ("session", f"{self.answers} answers, {self.tokens} tokens")]
