"""The examples of the client's README run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import wsserver_client
from tests.support.server import ServerProcess

README = Path(wsserver_client.__file__).parents[1] / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)


def test_there_are_examples() -> None:
    """The README has its four examples."""
    assert len(EXAMPLES) == 4


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_example_runs(server: ServerProcess, number: int) -> None:
    """An example ends with 0, prints something, and complains about nothing."""
    code = EXAMPLES[number].replace("ws://127.0.0.1:8080", server.ws_url)
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()
