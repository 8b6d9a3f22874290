"""Markdown as a terminal can show it while it comes: styles instead of marks, line by line.

`Ink` reads text in pieces of any size and gives styled runs; nothing that it gave is ever taken
back, so that printing needs no repainting. It holds back only what could still become a mark: at
most a few characters. It knows bold, code, fences, headings, quotes and bullets; what it does not
know is shown as it was written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum


class Style(Enum):
    """How a run of text looks."""

    PLAIN = ""
    BOLD = "bold"
    CODE = "cyan"
    BLOCK = "green"
    HEADING = "bold underline"
    MARK = "bright_black"


@dataclass(frozen=True)
class Run:
    """Text of one style. A line feed is a run of its own.

    ``is_block``: it belongs to a block of code, whose lines must not be broken at words.
    """

    text: str
    style: Style = Style.PLAIN
    is_block: bool = False


NEWLINE = Run("\n")

# What may stand at the beginning of a line and is not decided yet.
_OPEN_LINE_START = re.compile(r" {0,12}(`{1,2}|`{3}[^\n]*|~{1,2}|~{3}[^\n]*|#{1,6}|[-*+>]|)")
_FENCE = re.compile(r" {0,12}(`{3,}|~{3,})([^\n]*)")
_HEADING = re.compile(r" {0,3}#{1,6} +")
_BULLET = re.compile(r"( {0,12})[-*+] ")
_QUOTE = re.compile(r" {0,3}> ?")


class Ink:
    """Turns Markdown into runs. One for each answer."""

    def __init__(self) -> None:
        self._held = ""
        self._at_line_start = True
        self._fence = ""
        self._bold = False
        self._code = False
        self._heading = False

    def feed(self, text: str) -> list[Run]:
        """The runs that ``text`` completes."""
        self._held += text
        return self._joined(self._drain(last=False))

    def finish(self) -> list[Run]:
        """What is held back still; the answer is over."""
        return self._joined(self._drain(last=True))

    def _drain(self, *, last: bool) -> list[Run]:
        runs: list[Run] = []
        while self._held:
            step = self._line_start(last) if self._at_line_start else self._inline(last)
            if step is None:
                break
            runs.extend(step)
        return runs

    # --- the beginning of a line ---------------------------------------------------------------

    def _line_start(self, last: bool) -> list[Run] | None:
        """Decide what kind of line begins; None: not yet."""
        held = self._held
        if not last and "\n" not in held and _OPEN_LINE_START.fullmatch(held):
            return None
        self._at_line_start = False
        fence = _FENCE.match(held)
        if fence is not None and self._closes_or_opens(fence[1], fence[2]):
            self._held = held[fence.end() :]
            return [Run(fence[0], Style.MARK, is_block=True)]
        if self._fence:
            return []
        for pattern, sign, style in (
            (_HEADING, "", Style.HEADING),
            (_BULLET, "• ", Style.PLAIN),
            (_QUOTE, "▏ ", Style.MARK),
        ):
            match = pattern.match(held)
            if match is not None:
                self._held = held[match.end() :]
                self._heading = style is Style.HEADING
                indent = match[1] if match.groups() else ""
                return [Run(indent + sign, style)] if sign else []
        return []

    def _closes_or_opens(self, fence: str, rest: str) -> bool:
        if not self._fence:
            if "`" in rest and fence[0] == "`":
                return False  # code within a line that happens to begin with it
            self._fence = fence
            return True
        if fence[0] == self._fence[0] and len(fence) >= len(self._fence) and not rest.strip():
            self._fence = ""
            return True
        return False

    # --- within a line -------------------------------------------------------------------------

    def _inline(self, last: bool) -> list[Run] | None:
        held = self._held
        if held[0] == "\n":
            self._held = held[1:]
            self._at_line_start = True
            self._bold = self._code = self._heading = False
            return [NEWLINE]
        if self._fence:
            return [self._take(self._until(held, "\n"), Style.BLOCK, is_block=True)]
        if held[0] == "`":
            self._held = held[1:]
            self._code = not self._code
            return []
        if held[0] == "*" and not self._code:
            return self._asterisk(held, last)
        marks = "\n`" if self._code else "\n`*"
        return [self._take(self._until(held, marks), self._style())]

    def _asterisk(self, held: str, last: bool) -> list[Run] | None:
        if not last and len(held) < 3 and held == "*" * len(held):
            return None
        if held.startswith("**"):
            opens = len(held) > 2 and not held[2].isspace()
            if self._bold or opens:
                self._held = held[2:]
                self._bold = not self._bold
                return []
            return [self._take(2, self._style())]
        return [self._take(1, self._style())]

    def _style(self) -> Style:
        if self._code:
            return Style.CODE
        if self._heading:
            return Style.HEADING
        return Style.BOLD if self._bold else Style.PLAIN

    def _take(self, length: int, style: Style, *, is_block: bool = False) -> Run:
        text, self._held = self._held[:length], self._held[length:]
        return Run(text, style, is_block)

    @staticmethod
    def _until(text: str, marks: str) -> int:
        return next((at for at, char in enumerate(text) if char in marks), len(text))

    @staticmethod
    def _joined(runs: list[Run]) -> list[Run]:
        """Neighbours of one style as one run."""
        joined: list[Run] = []
        for run in runs:
            before = joined[-1] if joined else None
            if (
                before is not None
                and (before.style, before.is_block) == (run.style, run.is_block)
                and NEWLINE not in (before, run)
            ):
                joined[-1] = Run(before.text + run.text, run.style, run.is_block)
            elif run.text:
                joined.append(run)
        return joined
