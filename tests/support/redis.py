"""A real redis-server for tests, alone on a socket of its own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 10.0


class RedisProcess:
    """One server. It can be stopped and started again with what it had saved."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._socket = folder / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"unix://{self._socket}"

    def start(self) -> None:
        """Start and wait until it accepts connections."""
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "logfile": str(self.folder / "redis.log"),
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        self._process = subprocess.Popen(
            ["redis-server", *arguments], cwd=self.folder, stdin=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert time.monotonic() < deadline, (self.folder / "redis.log").read_text()
            assert self._process.poll() is None, (self.folder / "redis.log").read_text()
            time.sleep(0.01)  # redis-server tells nobody when it is ready

    def stop(self) -> None:
        """End it orderly: what it has is on the disk."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self._socket))
                probe.sendall(b"PING\r\n")
                return probe.recv(16).startswith(b"+PONG")
            except OSError:
                return False


@contextmanager
def running_redis(folder: Path) -> Iterator[RedisProcess]:
    """A server for the length of the block."""
    server = RedisProcess(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def redis_is_installed() -> bool:
    """Whether this machine has a redis-server to run."""
    return shutil.which("redis-server") is not None
