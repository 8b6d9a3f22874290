"""The line that a person types: keys, history, completion. Knows no conversation."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import Output
from prompt_toolkit.styles import Style

STYLE = Style.from_dict(
    {
        "bottom-toolbar": "noreverse fg:ansibrightblack",
        "prompt": "bold",
        "offline": "fg:ansired",
        "online": "fg:ansigreen",
    }
)


class CommandCompleter(Completer):
    """Completes the commands at the beginning of a line."""

    def __init__(self, commands: Iterable[tuple[str, str]]) -> None:
        self._commands = list(commands)

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        typed = document.text_before_cursor
        if not typed.startswith("/") or " " in typed:
            return
        for name, help_ in self._commands:
            if name.startswith(typed):
                yield Completion(name, -len(typed), display_meta=help_)


def make_prompt(
    *,
    message: Callable[[], StyleAndTextTuples],
    toolbar: Callable[[], StyleAndTextTuples],
    commands: Iterable[tuple[str, str]],
    on_interrupt: Callable[[KeyPressEvent], None],
    history_file: str | None,
    input_: Input | None = None,
    output: Output | None = None,
) -> PromptSession[str]:
    """The prompt. ``history_file`` None: the history ends with the program."""
    return PromptSession(
        message,
        multiline=True,  # so that a pasted text stays one message
        bottom_toolbar=toolbar,
        key_bindings=_keys(on_interrupt),
        completer=CommandCompleter(commands),
        complete_while_typing=True,
        history=_history(history_file),
        style=STYLE,
        erase_when_done=True,
        prompt_continuation="  ",
        refresh_interval=1.0,
        reserve_space_for_menu=4,
        input=input_,
        output=output,
    )


def _keys(on_interrupt: Callable[[KeyPressEvent], None]) -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.is_cursor_at_the_end and buffer.text.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-c")
    @keys.add("<sigint>")
    def _(event: KeyPressEvent) -> None:
        on_interrupt(event)

    return keys


def _history(path: str | None) -> History:
    if path is None:
        return InMemoryHistory()
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        # What was asked is nobody else's business.
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
    except OSError:
        return InMemoryHistory()
    return FileHistory(path)


def redraw(prompt: PromptSession[Any]) -> None:
    """Show the prompt anew, if it is shown at all."""
    if prompt.app.is_running:
        prompt.app.invalidate()
