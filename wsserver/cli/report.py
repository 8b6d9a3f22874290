"""The one failure that commands raise on purpose."""

from __future__ import annotations


class CommandError(Exception):
    """A command can't go on; ``str(error)`` is one sentence for a person, with the way out."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
