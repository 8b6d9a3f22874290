"""The program: from arguments to an exit code, and every failure to one sentence."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TextIO, cast

from prompt_toolkit.patch_stdout import StdoutProxy
from rich.console import Console

from wsserver_client import ClientError, LinkStatus, connect
from wsserver_client.connecting import Connecting
from wsserver_client.status import StatusListener
from wsserver_terminal.arguments import ChatArguments, parse_arguments, state_folder
from wsserver_terminal.chat import Chat
from wsserver_terminal.identity import known_user, login_name
from wsserver_terminal.neutral import neutral_line
from wsserver_terminal.oneshot import INTERRUPTED, answer_once, read_question
from wsserver_terminal.screen import Screen

FAILED = 1
ASKED_WRONGLY = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``wsserver chat``; ``argv`` is without the program's name. Returns the exit code."""
    arguments = parse_arguments(sys.argv[1:] if argv is None else list(argv), os.environ)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that cannot show a character shows another one; it is no reason to fail.
        sys.stdout.reconfigure(errors="replace")
    is_interactive = arguments.message is None and sys.stdin.isatty()
    try:
        if is_interactive and not sys.stdout.isatty():
            return _complain(
                "to talk it needs a terminal; -m TEXT asks one question", ASKED_WRONGLY
            )
        if is_interactive:
            return asyncio.run(_talk(arguments))
        question = arguments.message if arguments.message is not None else read_question()
        if not question:
            return _complain("there is no question", ASKED_WRONGLY)
        return asyncio.run(_answer(arguments, question))
    except ClientError as error:
        return _complain(_words(error), FAILED)
    except ValueError as error:  # an address that is none
        return _complain(str(error), ASKED_WRONGLY)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the answer has gone; nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


async def _answer(arguments: ChatArguments, question: str) -> int:
    if arguments.session is not None or arguments.resume:
        arguments = _identified(arguments)
    async with _connected(arguments, None) as client:
        return await answer_once(client, arguments, question, sys.stdout)


async def _talk(arguments: ChatArguments) -> int:
    arguments = _identified(arguments)
    listeners: list[StatusListener] = []

    def on_status(status: LinkStatus) -> None:
        for listener in listeners:
            listener(status)

    history_file = os.path.join(state_folder(os.environ), "chat_history")
    async with _connected(arguments, on_status) as client:
        # The proxy prints above the prompt; the console keeps its styles through it.
        with StdoutProxy(sleep_between_writes=0.02, raw=True) as proxy:
            file = cast(TextIO, proxy)  # it has all of a file that the console uses
            console = Console(file=file, force_terminal=True, highlight=False, emoji=False)
            chat = Chat(client, arguments, Screen(console), history_file=history_file)
            listeners.append(chat.on_status)
            try:
                return await chat.run()
            finally:
                listeners.clear()


def _connected(arguments: ChatArguments, on_status: StatusListener | None) -> Connecting:
    return connect(
        arguments.url,
        api_key=arguments.api_key,
        user_id=arguments.user_id,
        name=arguments.name,
        encoding="msgpack" if arguments.use_msgpack else "json",
        # Who sits in front of it can wait or leave; a script must come to an end.
        give_up_after=None if on_status is not None else 60.0,
        on_status=on_status,
    )


def _identified(arguments: ChatArguments) -> ChatArguments:
    """With a name that is the same next week, unless there is a proof or no name is wanted."""
    if arguments.is_private or arguments.api_key is not None or arguments.user_id is not None:
        return arguments
    return replace(
        arguments,
        user_id=known_user(os.environ),
        name=arguments.name or login_name(),
    )


def _words(error: ClientError) -> str:
    words = str(error) or type(error).__name__
    if "cannot reach" in words:
        words += ". Is the server running? 'wsserver serve' starts one on this machine"
    return words


def _complain(words: str, code: int) -> int:
    sys.stderr.write(f"wsserver chat: {neutral_line(words)}\n")
    return code
