"""Failures at the door: one sentence each, with the way out."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from wsserver.cli.report import CommandError
from wsserver.cli.serve import _explained
from wsserver.config import Config


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (OSError(errno.EADDRINUSE, "in use"), "is in use"),
        (OSError(errno.EADDRNOTAVAIL, "not available"), "not an address of this machine"),
        (PermissionError(errno.EACCES, "denied"), "not allowed to listen on port 8080"),
        (PermissionError(errno.EACCES, "denied", "/data/x"), "/data/x: denied (--data-dir)"),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), "no such host"),
    ],
)
def test_errors_of_the_machine_become_sentences(error: OSError, word: str) -> None:
    """What a person can mend is said in words, with the flag that mends it."""
    explained = _explained(error, Config())
    assert isinstance(explained, CommandError)
    assert word in str(explained)
    assert "--" in str(explained)


def test_other_errors_stay_what_they_are() -> None:
    """An error that nobody expects keeps its traceback."""
    error = OSError(errno.EBADF, "bad")
    assert _explained(error, Config()) is error


def test_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    """A second server on the same port says so and ends with 1."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        command = [sys.executable, "-m", "wsserver", "serve", "--port", port]
        command += ["--model", "synthetic:", "--data-dir", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=50)
    assert done.returncode == 1
    assert f"port {port} on 127.0.0.1 is in use" in done.stderr
    assert "Traceback" not in done.stderr
