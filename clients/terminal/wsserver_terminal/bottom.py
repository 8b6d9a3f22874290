"""What stands at the bottom of the screen: the growing line, the prompt, and the status line."""

from __future__ import annotations

from collections.abc import Sequence

from prompt_toolkit.formatted_text import StyleAndTextTuples

from wsserver_client import LinkState, LinkStatus
from wsserver_terminal.ink import Style
from wsserver_terminal.lines import Line
from wsserver_terminal.neutral import neutral_line

STYLES = {
    Style.CODE: "fg:ansicyan",
    Style.BLOCK: "fg:ansigreen",
    Style.MARK: "fg:ansibrightblack",
}
"""Styles whose names are others here than in what is printed."""


def prompt_line(partial: Line, room_id: str | None) -> StyleAndTextTuples:
    """The line of the answer that still grows, and below it the prompt."""
    shown: StyleAndTextTuples = [
        (STYLES.get(run.style, run.style.value), run.text) for run in partial
    ]
    if shown:
        shown.append(("", "\n"))
    where = f"{neutral_line(room_id)} " if room_id else ""
    shown.append(("class:prompt", f"{where}> "))
    return shown


def toolbar(status: LinkStatus, facts: Sequence[str]) -> StyleAndTextTuples:
    """Connection, and what else there is to say; empty facts are left out."""
    if status.state is LinkState.ONLINE:
        shown: StyleAndTextTuples = [("class:online", " ● "), ("", "connected")]
    else:
        shown = [("class:offline", " ○ "), ("", status.state.value)]
    for fact in facts:
        if fact:
            shown.append(("", f" · {neutral_line(fact)}"))
    return shown
