"""Real gateways under a real supervisor: one port, and the way out of every fault."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

SCRIPT = """
import sys

from wsserver.cli.serve import serve_role
from wsserver.config import Config, Data, Models, Server

config = Config(
    server=Server(port=int(sys.argv[1]), processes=2, drain_seconds=1.0),
    models=Models(),
    data=Data(dir=sys.argv[2]),
)
sys.exit(serve_role("supervisor", config))
"""


@contextmanager
def supervised(folder: Path, port: int = 0) -> Iterator[subprocess.Popen[str]]:
    script = folder / "serve.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script), str(port), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )
    try:
        yield process
    finally:
        children = psutil.Process(process.pid).children() if process.poll() is None else []
        process.kill()
        process.communicate()
        psutil.wait_procs(children, timeout=10)


def address_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    found = re.search(r"http://[^/]+/", process.stdout.readline())
    assert found is not None
    return found[0]


def is_well(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}healthz", timeout=5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def listeners(process: subprocess.Popen[str], port: int) -> set[int]:
    """The members that accept connections on the port."""
    found = set()
    for child in psutil.Process(process.pid).children():
        with suppress(psutil.NoSuchProcess):  # it has just been killed
            places = child.net_connections("tcp")
            if any(p.status == psutil.CONN_LISTEN and p.laddr.port == port for p in places):
                found.add(child.pid)
    return found


def wait_for_listeners(process: subprocess.Popen[str], port: int, without: int = 0) -> set[int]:
    deadline = time.monotonic() + 20
    while len(found := listeners(process, port) - {without}) < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)  # a listening socket is told to nobody
    return found


def test_gateways_share_a_port_and_outlive_each_other(tmp_path: Path) -> None:
    """Two processes listen on one port; one killed with -9 comes back; SIGTERM ends all with 0."""
    with supervised(tmp_path) as process:
        url = address_of(process)
        port = int(url.rstrip("/").rpartition(":")[2])
        first, _ = wait_for_listeners(process, port)
        assert is_well(url)
        os.kill(first, signal.SIGKILL)
        wait_for_listeners(process, port, without=first)
        assert is_well(url)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        # Not `communicate`: it misses what `readline` has read ahead.
        assert process.stdout is not None
        assert process.stderr is not None
        output, errors = process.stdout.read(), process.stderr.read()
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
        assert output.count("WebSocket") == 1


def test_a_second_server_on_the_port_is_refused(tmp_path: Path) -> None:
    """It does not join the first one's gateways by sharing their port."""
    with supervised(tmp_path) as process:
        port = int(address_of(process).rstrip("/").rpartition(":")[2])
        with supervised(tmp_path, port) as second:
            _, errors = second.communicate(timeout=30)
            assert second.returncode == 1
            assert f"port {port} on 127.0.0.1 is in use" in errors


def test_a_member_says_why_it_can_not_start(tmp_path: Path) -> None:
    """A folder that can't be made is told by the gateway, and ends the server with its code."""
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "0", str(in_the_way / "data")],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert "--data-dir" in done.stderr
    assert "Traceback" not in done.stderr
