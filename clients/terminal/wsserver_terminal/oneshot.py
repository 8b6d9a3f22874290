"""One question, one answer, nothing else on standard output: for pipes and scripts."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from typing import TextIO

from wsserver_client import Client, StreamHandle, WireFailure
from wsserver_terminal.arguments import ChatArguments
from wsserver_terminal.neutral import harmless

INTERRUPTED = 130


async def answer_once(
    client: Client, arguments: ChatArguments, question: str, output: TextIO
) -> int:
    """Print the answer as it comes; the exit code.

    Ctrl-C stops the answer on the server, too, and leaves what was printed.

    Raises:
        ClientError: If there is no whole answer; what there was of it is printed.
    """
    stream = client.stream(
        question,
        model=arguments.model,
        system=arguments.system,
        session_id=await _session(client, arguments),
        **arguments.options,
    )
    interrupted = _stop_on_interrupt(stream)
    ends_with_line_feed = False
    try:
        async for piece in stream:
            shown = harmless(piece)  # also in a pipe: what comes after it may be a terminal
            output.write(shown)
            output.flush()
            ends_with_line_feed = shown.endswith("\n") if shown else ends_with_line_feed
    finally:
        if stream.text and not ends_with_line_feed:
            output.write("\n")
            output.flush()
    return INTERRUPTED if interrupted.is_set() else 0


async def _session(client: Client, arguments: ChatArguments) -> str | None:
    """The conversation to ask in; None: in none.

    Raises:
        WireFailure: If the newest one is asked for and there is none.
    """
    if not arguments.resume:
        return arguments.session
    newest = (await client.sessions(limit=1)).sessions
    if not newest:
        raise WireFailure("session_not_found", "there is no earlier conversation")
    return newest[0].session_id


def _stop_on_interrupt(stream: StreamHandle) -> asyncio.Event:
    interrupted = asyncio.Event()

    def stop() -> None:
        interrupted.set()
        stream.abandon()

    # Where a system has no such thing, Ctrl-C ends the program, which ends the stream.
    with contextlib.suppress(NotImplementedError, RuntimeError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop)
    return interrupted


def read_question(input_: TextIO | None = None) -> str:
    """The question on standard input, without the line feed at its end."""
    return (input_ or sys.stdin).read().strip()
