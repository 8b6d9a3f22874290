"""The README's first program, run as it stands there against a server started as it says."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "ws://127.0.0.1:8080"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``wsserver serve`` with the shipped demo model, on a free port."""
    folder = tmp_path_factory.mktemp("server")
    command = [sys.executable, "-m", "wsserver", "serve", "--port", "0", "--data-dir", str(folder)]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("WSSERVER_", "XDG_"))}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=folder, env=env
    ) as process:
        assert process.stdout is not None
        try:
            lines = iter(process.stdout.readline, "")
            found = next(filter(None, (re.search(r"ws://[\d.]+:\d+", line) for line in lines)))
            yield found[0]
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0


def program() -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert first
    assert ADDRESS in first[1]
    return first[1]


def test_first_program_prints_an_answer(address: str) -> None:
    """A newcomer's ten lines print some words about a violin."""
    code = program().replace(ADDRESS, address)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=45)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) > 3
