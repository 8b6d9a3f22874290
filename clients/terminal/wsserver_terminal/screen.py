"""What is printed above the prompt: finished lines only, each in one write.

The prompt below redraws itself; this room never repaints what is printed. Everything that comes
from elsewhere is made harmless here or by whoever calls `line`.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from wsserver_protocol.events import ModelDescription, SessionInfo
from wsserver_terminal.ages import age
from wsserver_terminal.ink import Ink
from wsserver_terminal.lines import Line, LineMaker
from wsserver_terminal.neutral import neutral, neutral_line


class Screen:
    """Prints on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @property
    def width(self) -> int:
        return self._console.width

    def line(self, line: Line) -> None:
        """A finished line of an answer; its text is harmless already."""
        text = Text(no_wrap=True, overflow="ignore", end="\n")
        for run in line:
            text.append(run.text, run.style.value)
        self._console.print(text, crop=False, soft_wrap=True)

    def answer(self, text: str, *, after: str = "") -> None:
        """A whole answer, or the rest of one ``after`` its beginning."""
        maker, ink = LineMaker(self.width), Ink()
        maker.feed(ink.feed(neutral(after)))
        for line in maker.feed(ink.feed(neutral(text)) + ink.finish()) + maker.finish():
            self.line(line)

    def gap(self) -> None:
        self._console.print()

    def notice(self, words: str) -> None:
        """Something about the program, not part of a conversation."""
        self._console.print(Text(neutral(words), "bright_black"))

    def mark(self, words: str) -> None:
        """Something that a person should see."""
        self._console.print(Text(neutral(words), "yellow"))

    def error(self, words: str) -> None:
        self._console.print(Text(f"error: {neutral_line(words)}", "red"))

    def said(self, name: str, text: str, *, style: str = "bold") -> None:
        """What a person said."""
        line = Text(f"{neutral_line(name)} ", style)
        line.append(neutral(text), "")
        self._console.print(line)

    def echo(self, text: str) -> None:
        """What the user just typed; the prompt it was typed into is gone."""
        self._console.print(
            Text("> " + neutral(text).replace("\n", "\n  "), "bold"), soft_wrap=True
        )

    def models(self, models: Sequence[ModelDescription], chosen: str | None) -> None:
        """All models; the one that answers is marked."""
        table = Table(box=None, pad_edge=False)
        for column in ("", "model", "state", "context", "slots", "about"):
            table.add_column(column, overflow="fold")
        for model in models:
            answers = model.id == chosen if chosen else model.default
            table.add_row(
                "*" if answers else "",
                Text(neutral_line(model.id)),
                Text(str(model.status)),
                f"{model.context_length:,}",
                f"{model.active_streams}/{model.slots}",
                Text(neutral_line(model.description or model.type)),
            )
        self._console.print(table)

    def sessions(self, sessions: Sequence[SessionInfo], now: int, open_id: str | None) -> None:
        """Conversations with numbers; the one that is open is marked. ``now`` as in them."""
        table = Table(box=None, pad_edge=False)
        for column in ("", "#", "conversation", "last used", "messages"):
            table.add_column(column, overflow="fold")
        for number, session in enumerate(sessions, 1):
            table.add_row(
                "*" if session.session_id == open_id else "",
                str(number),
                Text(neutral_line(session.title or session.session_id)),
                age(now - session.updated_at),
                f"{session.message_count:,}",
            )
        self._console.print(table)

    def rows(self, rows: Sequence[tuple[str, str]]) -> None:
        """Two columns, such as commands and what they do."""
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for left, right in rows:
            table.add_row(Text(neutral_line(left), "bold"), Text(neutral_line(right)))
        self._console.print(table)
