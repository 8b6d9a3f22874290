"""The commands of the chat: their names, what they do in words, and how a line is read.

The table is all there is: `/help`, the completion and the dispatch are made from it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Handler = Callable[[str], Awaitable[None]]


class CommandError(Exception):
    """A command that cannot be done; the words are for the user."""


@dataclass(frozen=True)
class Command:
    """A command; ``arguments`` is how they are written, empty for none."""

    name: str
    arguments: str
    help: str
    run: Handler

    @property
    def usage(self) -> str:
        return f"/{self.name} {self.arguments}".rstrip()


class Commands:
    """The table."""

    def __init__(self, commands: list[Command]) -> None:
        self._by_name = {command.name: command for command in commands}

    @property
    def names(self) -> list[tuple[str, str]]:
        """Each as it is typed, and its help; for completion."""
        return [(f"/{command.name}", command.help) for command in self._by_name.values()]

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Each with its arguments, and its help."""
        return [(command.usage, command.help) for command in self._by_name.values()]

    async def run(self, line: str) -> None:
        """Run a line that begins with a slash.

        Raises:
            CommandError: If there is no such command, or it cannot be done.
        """
        name, _, argument = line[1:].partition(" ")
        command = self._by_name.get(name.strip())
        if command is None:
            raise CommandError(f"there is no command /{name}; /help lists them")
        await command.run(argument.strip())
