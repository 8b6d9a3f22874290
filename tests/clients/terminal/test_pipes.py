"""``wsserver chat`` without a terminal: only the answer, and exit codes for scripts."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.server import ServerProcess
from wsserver_client import connect


def start(*arguments: str, folder: Path, **environment: str) -> subprocess.Popen[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WSSERVER_")}
    return subprocess.Popen(
        [sys.executable, "-m", "wsserver", "chat", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**kept, "HOME": str(folder), **environment},
        cwd=folder,
    )


def test_question_on_standard_input(server: ServerProcess, tmp_path: Path) -> None:
    """Only the answer is on standard output, with a line feed at its end."""
    with start(server.ws_url, "--set", "max_tokens=5", folder=tmp_path) as chat:
        output, errors = chat.communicate("What is a violin?\n", timeout=20)
    assert (output, errors, chat.returncode) == ("1 2 3 4 5 \n", "", 0)


def test_question_as_an_argument(server: ServerProcess, tmp_path: Path) -> None:
    """``-m`` asks once; the address may come from the environment; nothing is kept."""
    with start(
        "-m",
        "x",
        "--model",
        "flat",
        "--set",
        "max_tokens=3",
        folder=tmp_path,
        WSSERVER_URL=server.ws_url,
    ) as chat:
        output, errors = chat.communicate(timeout=20)
    assert (output, errors, chat.returncode) == ("1 2 3 \n", "", 0)
    assert list(tmp_path.iterdir()) == []


def test_failures_are_sentences(server: ServerProcess, tmp_path: Path) -> None:
    """One line on standard error, nothing on standard output, and the exit code says which."""
    for arguments, code, words in (
        (["-m", "x", "--model", "nope"], 1, "nope"),
        (["-m", "x", "--set", "temperature=9"], 1, "temperature"),
        (["-m", ""], 2, "no question"),
        (["ftp://x", "-m", "x"], 2, "not a WebSocket address"),
        (["ws://127.0.0.1:9", "-m", "x"], 1, "cannot reach"),
    ):
        url = [] if "://" in arguments[0] else [server.ws_url]
        with start(*url, *arguments, folder=tmp_path) as chat:
            output, errors = chat.communicate(timeout=20)
        assert (output, chat.returncode) == ("", code), (arguments, errors)
        assert words in errors and errors.count("\n") == 1, errors


def test_questions_in_a_conversation(server: ServerProcess, tmp_path: Path) -> None:
    """``--resume -m`` asks in the newest conversation, by the same name; without one it fails."""
    settings = ("--set", "max_tokens=3", "--user", "piped")
    with start(server.ws_url, "--resume", "-m", "x", *settings, folder=tmp_path) as chat:
        output, errors = chat.communicate(timeout=20)
    assert (output, chat.returncode) == ("", 1)
    assert "there is no earlier conversation" in errors
    session_id = asyncio.run(_made_session(server.ws_url, "piped"))
    for arguments in (("--session", session_id), ("--resume",)):
        with start(server.ws_url, *arguments, "-m", "x", *settings, folder=tmp_path) as chat:
            output, errors = chat.communicate(timeout=20)
        assert (output, errors, chat.returncode) == ("1 2 3 \n", "", 0)
    assert asyncio.run(_texts(server.ws_url, "piped", session_id)) == ["x", "1 2 3 "] * 2


async def _made_session(url: str, user: str) -> str:
    async with connect(url, user_id=user) as client:
        return (await client.open_session()).session_id


async def _texts(url: str, user: str, session_id: str) -> list[str]:
    async with connect(url, user_id=user) as client:
        return [message.content for message in (await client.history(session_id)).messages]


def test_interrupt_stops_the_answer(server: ServerProcess, tmp_path: Path) -> None:
    """Ctrl-C ends with 130, keeps what was printed, and the server stops, too."""
    with start(server.ws_url, "-m", "x", "--set", "max_tokens=100000", folder=tmp_path) as chat:
        assert chat.stdout is not None
        first = chat.stdout.read(6)
        chat.send_signal(signal.SIGINT)
        rest, errors = chat.communicate(timeout=20)
    assert chat.returncode == 130
    assert errors == ""
    assert (first + rest).startswith("1 2 3 ") and rest.endswith("\n")


def test_reader_that_leaves_ends_the_program(server: ServerProcess, tmp_path: Path) -> None:
    """``wsserver chat … | head`` ends when head does, without a complaint."""
    with start(server.ws_url, "-m", "x", "--set", "max_tokens=100000", folder=tmp_path) as chat:
        assert chat.stdout is not None and chat.stderr is not None
        chat.stdout.read(4)
        chat.stdout.close()
        assert chat.wait(timeout=20) == 1
        assert chat.stderr.read() == ""
