"""``wsserver chat``: hands its arguments to the terminal client, which is an extra."""

from __future__ import annotations

from collections.abc import Sequence

from wsserver.cli.report import CommandError


def run_chat(arguments: Sequence[str]) -> int:
    """Run the terminal client and return its exit code.

    Raises:
        CommandError: If the extra ``terminal`` is not installed.
    """
    try:
        from wsserver_terminal import main
    except ModuleNotFoundError as error:
        if error.name not in {"prompt_toolkit", "rich"}:
            raise
        raise CommandError(
            "the terminal client needs packages that are not installed: "
            "pip install 'wsserver[terminal]'"
        ) from None
    return main(list(arguments))
