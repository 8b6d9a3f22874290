"""What all measurements share: real processes, their processor time, and the machine's name."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

import psutil
from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Running:
    """A server process under measurement."""

    url: str
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """User and system time of this process so far, children not included."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def resident_bytes(self) -> int:
        return int(self.process.memory_info().rss)


@contextmanager
def wsserver(*arguments: str, load_seconds: float = 30.0) -> Iterator[Running]:
    """A wsserver with its embedded defaults on a free port, ready to answer."""
    with TemporaryDirectory() as data:
        command = ["-m", "wsserver", "serve", "--port", "0", "--data-dir", data, *arguments]
        with _process(command, r"ws://\S+") as (url, process):
            _wait_until_ready(url, load_seconds)
            yield Running(url, process)


@contextmanager
def bare_loop(*arguments: str) -> Iterator[Running]:
    """The baseline server."""
    with _process(["-m", "scripts.bench.bare_loop", *arguments], r"ws://\S+") as (url, process):
        yield Running(url, process)


def count(
    server: Running, *, connections: int, seconds: float, mark: str, frame: dict[str, Any] | None
) -> dict[str, float]:
    """Marks seen by the counting client, per second and per processor second of the server."""
    command = [sys.executable, "-m", "scripts.bench.counting_client"]
    command += [server.url, str(connections), str(seconds), mark]
    command += [json.dumps(frame)] if frame is not None else []
    client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert client.stdout is not None
    client.stdout.readline()  # open
    client.stdout.readline()  # go
    before = server.cpu_seconds()
    seen = json.loads(client.stdout.readline())
    spent = server.cpu_seconds() - before
    client.wait()
    return {
        "frames_per_second": round(seen["marks"] / seen["seconds"]),
        "frames_per_cpu_second": round(seen["marks"] / spent),
        "bytes_per_frame": round(seen["bytes"] / max(1, seen["marks"]), 1),
        "cpu_share": round(spent / seen["seconds"], 3),
    }


def quantiles(samples: Sequence[float]) -> dict[str, float]:
    """p50, p99 and the largest of some milliseconds."""
    ordered = sorted(samples)

    def pick(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)

    return {"p50_ms": pick(0.5), "p99_ms": pick(0.99), "max_ms": pick(1.0)}


def save(name: str, figures: dict[str, Any]) -> Path:
    """Write a measurement's result, with the machine and the command that made it."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    document = {
        "command": f"python -m scripts.bench {name}",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "figures": figures,
    }
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    names = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    packages = ("websockets", "uvloop", "orjson", "msgspec", "xllamacpp")
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "packages": {name: installed(name) for name in packages},
    }


def _all_have_failed(url: str) -> bool:
    """Whether the load of every model has failed, so that the server will not become ready."""
    with connect(url) as socket:
        socket.send('{"type": "models"}')
        frames = (json.loads(frame) for frame in socket)
        models = next(frame["models"] for frame in frames if frame["type"] == "models_list")
    return bool(models) and all(model["status"] == "failed" for model in models)


def installed(name: str) -> str | None:
    """The version of a package; None if it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@contextmanager
def _process(arguments: list[str], address: str) -> Iterator[tuple[str, psutil.Process]]:
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            found = re.search(address, line)
            if found:
                yield found[0], psutil.Process(process.pid)
                break
        else:
            raise RuntimeError("the server ended before it said where it listens")
    finally:
        process.terminate()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()


def _wait_until_ready(url: str, seconds: float) -> None:
    address = url.replace("ws://", "http://").removesuffix("/ws") + "/readyz"
    for _ in range(int(seconds * 10)):
        try:
            with urlopen(address) as reply:
                if reply.status == 200:
                    return
        except OSError:
            if _all_have_failed(url):
                raise RuntimeError("no model of the server could be loaded, see its log") from None
        time.sleep(0.1)
    raise RuntimeError(f"the server did not become ready within {seconds:.0f} s")
