"""Runs of text to lines of a terminal: words are broken where a line is full.

Lines are given out when they are whole and never change afterwards; the line that still grows is
there to be shown below them. This room knows no screen; it is told the width.
"""

from __future__ import annotations

from prompt_toolkit.utils import get_cwidth

from wsserver_terminal.ink import Run

Line = tuple[Run, ...]

MIN_WIDTH = 20


class LineMaker:
    """Collects runs and gives lines. ``width`` may be changed between calls."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._line: list[Run] = []
        self._line_width = 0
        self._word: list[Run] = []
        self._word_width = 0

    @property
    def partial(self) -> Line:
        """The line that still grows."""
        return (*self._line, *self._word)

    def feed(self, runs: list[Run]) -> list[Line]:
        """The lines that ``runs`` complete."""
        lines: list[Line] = []
        for run in runs:
            if run.text == "\n":
                self._end_line(lines)
            else:
                self._add(run, lines)
        return lines

    def finish(self) -> list[Line]:
        """The rest, if there is one; begins anew."""
        lines: list[Line] = []
        if self._line or self._word:
            self._end_line(lines)
        return lines

    def _add(self, run: Run, lines: list[Line]) -> None:
        for char in run.text:
            width = max(0, get_cwidth(char))
            if char == " " and not run.is_block:
                self._end_word(lines)
                if self._line_width + 1 <= self._room:
                    self._put(self._line, char, run)
                    self._line_width += 1
                continue
            if self._word_width + width > self._room:  # longer than any line
                self._end_word(lines)
                if self._line_width + width > self._room:
                    self._break(lines)
            self._put(self._word, char, run)
            self._word_width += width
        if run.is_block:
            self._end_word(lines)

    @property
    def _room(self) -> int:
        return max(MIN_WIDTH, self.width)

    def _end_word(self, lines: list[Line]) -> None:
        if self._line and self._line_width + self._word_width > self._room:
            self._break(lines)
        self._line += self._word
        self._line_width += self._word_width
        self._word, self._word_width = [], 0

    def _break(self, lines: list[Line]) -> None:
        lines.append(tuple(self._line))
        self._line, self._line_width = [], 0

    def _end_line(self, lines: list[Line]) -> None:
        self._end_word(lines)
        self._break(lines)

    @staticmethod
    def _put(runs: list[Run], char: str, like: Run) -> None:
        before = runs[-1] if runs else None
        if before is not None and (before.style, before.is_block) == (like.style, like.is_block):
            runs[-1] = Run(before.text + char, like.style, like.is_block)
        else:
            runs.append(Run(char, like.style, like.is_block))
