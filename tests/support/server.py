"""A real server process for tests: started, waited for, stopped, and its log looked through.

Decides how a test runs `wsserver serve`: on a free port of loopback, with nothing of the tester's
own environment or files, its log as JSON in a file. It knows no test. The rule: whoever stops a
server orderly also learns whether it ended with 0 and logged no error.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.redis import RedisProcess

START_SECONDS = 30.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.02

OVER_REDIS = os.environ.get("WSSERVER_TESTS_OVER") == "redis"
"""Whether servers share what they have through a Redis, one for each: the same tests hold there."""


def differs_over_redis(reason: str) -> pytest.MarkDecorator:
    """Marks a test of what a server without a fleet does, and one in a fleet rightly does not."""
    return pytest.mark.skipif(OVER_REDIS, reason=f"over Redis: {reason}")


DEFAULT_MODEL = "synthetic:?tps=200&ttft_ms=0"


class ServerProcess:
    """One running server. ``url`` and ``ws_url`` end without a slash."""

    def __init__(self, folder: Path, arguments: Sequence[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._redis: RedisProcess | None = None
        if OVER_REDIS and not any("redis" in argument for argument in arguments):
            (folder / "redis").mkdir(exist_ok=True)
            self._redis = RedisProcess(folder / "redis")
            self._redis.start()
            arguments = [*arguments, "--set", f"redis.url={self._redis.url}"]
        self._log_path = folder / "server.log"
        self._log_file = self._log_path.open("wb")
        self._process: subprocess.Popen[bytes] = subprocess.Popen(
            [sys.executable, "-m", "wsserver", "serve", "--port", "0", *arguments],
            cwd=folder,
            env=_clean_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log_file,
        )
        self.folder = folder
        self.lines: list[str] = []
        self.url = self.ws_url = ""

    def wait_until_ready(self, *, ready: bool = True) -> None:
        """Read the printed addresses, then (with ``ready``) ask until a model answers."""
        output = self._process.stdout
        assert output is not None
        while not self.ws_url:
            line = output.readline().decode()
            assert line, f"the server ended with {self._process.wait()}: {self.log_text()}"
            self.lines.append(line.rstrip("\n"))
            if line.startswith("WebSocket"):
                self.ws_url = line.split()[1].removesuffix("/ws")
        self.url = self.ws_url.replace("ws://", "http://", 1)
        deadline = time.monotonic() + START_SECONDS
        while ready and not self._is_loaded():
            assert time.monotonic() < deadline, f"not ready: {self.log_text()}"
            time.sleep(POLL_SECONDS)  # readiness is asked for, it is not told

    def _is_loaded(self) -> bool:
        """Whether a model answers, and every model that is to be there."""
        if self.get("/readyz")[0] != 200:
            return False
        return b"\nwsserver_model_ready" in (metrics := self.get("/metrics")[2]) and not re.search(
            rb"^wsserver_model_ready\{.*\} 0", metrics, re.M
        )

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.poll()

    def children(self) -> list[psutil.Process]:
        """The engines' processes."""
        return psutil.Process(self.pid).children(recursive=True)

    def rss(self) -> int:
        """Resident memory of the server itself, in bytes."""
        return int(psutil.Process(self.pid).memory_info().rss)

    def get(self, path: str, *, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        """One HTTP request: status, headers by lower-case name, body."""
        request = urllib.request.Request(self.url + path, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return reply.status, _lower(reply.headers.items()), reply.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _lower(error.headers.items()), error.read()

    def signal(self, number: int) -> None:
        """Send a signal to the server alone, not to its children."""
        self._process.send_signal(number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for the end; returns the exit code."""
        return self._process.wait(seconds)

    def stop(self) -> int:
        """SIGTERM, and the exit code. Idempotent."""
        if self._process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """SIGKILL the server."""
        self._process.kill()
        self.wait()

    def close(self) -> None:
        """End whatever still lives, and let go of the files."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log_file.close()
        if self._redis is not None:
            self._redis.stop()

    def log_text(self) -> str:
        """All that it wrote to standard error."""
        return self._log_path.read_text()

    def log_lines(self) -> list[dict[str, Any]]:
        """The log's lines; what is none (a traceback of the interpreter) is an error line."""
        return [_parse(line) for line in self.log_text().splitlines() if line]

    def faults(self) -> list[dict[str, Any]]:
        """Log lines that a healthy server never writes: errors, and anything with a traceback."""
        return [
            line
            for line in self.log_lines()
            if line.get("level") in ("error", "critical") or "exception" in line
        ]


@contextmanager
def running_server(
    folder: Path, arguments: Sequence[str], *, ready: bool = True
) -> Iterator[ServerProcess]:
    """A server for the length of the block. Its end must be orderly and its log without errors.

    A test that ends the server itself (also by `ServerProcess.kill`) is asked for nothing but the
    log.
    """
    server = ServerProcess(folder, arguments)
    try:
        server.wait_until_ready(ready=ready)
        yield server
        was_running = server.returncode is None
        children = server.children() if was_running else []
        code = server.stop()
        if was_running:
            assert code == 0, f"exit code {code}: {server.log_text()}"
        assert server.faults() == []
        gone, alive = psutil.wait_procs(children, timeout=5)
        assert alive == [], "engine processes outlived their server"
    finally:
        server.close()


def server_arguments(arguments: Sequence[str], model: str | None = DEFAULT_MODEL) -> list[str]:
    """What every server of the tests is started with, and then ``arguments``.

    ``model`` is loaded unless the arguments name what to load; None: the server's own default.
    """
    common = ["--set", "log.format=json", "--set", "server.drain_seconds=1"]
    is_given = "--model" in arguments or "--config" in arguments
    models = [] if is_given or model is None else ["--model", model]
    return [*common, *models, *arguments]


def _clean_environment(folder: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WSSERVER_")}
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return kept | {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _lower(items: Sequence[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in items}


def _parse(line: str) -> dict[str, Any]:
    try:
        parsed: dict[str, Any] = json.loads(line)
    except json.JSONDecodeError:
        return {"level": "error", "message": line}
    return parsed
