"""What this machine can run, what is missing, and what to do about it.

Looks, and changes nothing. A missing thing is a fault only if the server can't start without it:
a laptop without a GPU is in order. What only an import can tell (torch with its CUDA, flash-attn)
is asked in a process of its own, because such an import may take seconds, gigabytes, or crash.
"""

from __future__ import annotations

import asyncio
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from wsserver.config import Config
from wsserver.config.models import demo_model
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.engines.catalog import ENTRIES, probe
from wsserver.engines.exllama.machine import missing_compilers
from wsserver.stores.redis import RedisLink

REDIS_NEEDED = (6, 2)
"""The scripts use what came with it."""

PROBE_SECONDS = 60.0
"""For an import of torch from a cold disk."""


class State(Enum):
    """How a finding reads."""

    GOOD = "ok     "
    ABSENT = "absent "
    FAULT = "FAULT  "


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: how it is, and for what is not there, what would bring it."""

    name: str
    state: State
    text: str
    remedy: str | None = None

    def lines(self) -> Iterator[str]:
        yield f"{self.state.value}{self.name}: {self.text}"
        if self.remedy is not None:
            yield f"         {self.remedy}"


def examine(config: Config) -> Iterator[Finding]:
    """Look at everything that the server or its tests may need."""
    yield _machine()
    yield from _packages()
    yield _demo()
    yield from _engines()
    yield _gpu()
    yield _compiler()
    yield from _kernels()
    yield from _torch()
    yield _data_folder(config)
    yield _port(config)
    if config.redis.url:
        yield _redis(config.redis.url)
    yield from _programs()


def _machine() -> Finding:
    names = re.findall(r"model name\s*:\s*(.+)", _read("/proc/cpuinfo"))
    memory = re.search(r"MemTotal:\s*(\d+) kB", _read("/proc/meminfo"))
    size = f", {int(memory[1]) / 2**20:.0f} GiB of memory" if memory else ""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    what = names[0] if names else platform.machine()
    text = f"{what}, {cores} cores{size}, Python {platform.python_version()}"
    return Finding("machine", State.GOOD, text)


def _packages() -> Iterator[Finding]:
    for extra, modules, purpose in (
        ("server", ("uvloop", "structlog", "prometheus_client"), "the server"),
        ("terminal", ("prompt_toolkit", "rich"), "wsserver chat"),
    ):
        missing = [name for name in modules if find_spec(name) is None]
        if not missing:
            yield Finding(f"packages of {purpose}", State.GOOD, "installed")
            continue
        state = State.FAULT if extra == "server" else State.ABSENT
        text = f"{', '.join(missing)} not installed"
        yield Finding(f"packages of {purpose}", state, text, f"pip install 'wsserver[{extra}]'")


def _demo() -> Finding:
    path = Path(demo_model().source)
    if path.is_file():
        return Finding("demo model", State.GOOD, f"{path.stat().st_size / 2**20:.1f} MiB")
    return Finding("demo model", State.FAULT, "not in this installation", "install wsserver anew")


def _engines() -> Iterator[Finding]:
    for name in ENTRIES:
        reason = probe(name)
        if reason is None:
            yield Finding(f"engine {name}", State.GOOD, "can run here")
        else:
            what, _, remedy = reason.partition(": ")
            yield Finding(f"engine {name}", State.ABSENT, what, remedy or None)


def _gpu() -> Finding:
    output = _output("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv")
    devices = (output or "").strip().splitlines()[1:]
    if devices:
        return Finding("GPU", State.GOOD, "; ".join(devices))
    return Finding("GPU", State.ABSENT, "no NVIDIA device is seen; models run on the processor")


def _compiler() -> Finding:
    output = _output("nvcc", "--version")
    release = re.search(r"release ([\d.]+)", output or "")
    if release:
        return Finding("CUDA toolkit", State.GOOD, f"nvcc {release[1]}")
    return Finding(
        "CUDA toolkit",
        State.ABSENT,
        "no nvcc; only GPU engines that compile their kernels at first start need it",
    )


def _kernels() -> Iterator[Finding]:
    for library in ("exllamav2", "exllamav3"):
        if find_spec(library) is None:
            continue
        name = f"kernels of {library}"
        tools = missing_compilers()
        if find_spec(f"{library}_ext") is not None:
            yield Finding(name, State.GOOD, "compiled")
        elif tools:
            remedy = f"install the CUDA toolkit, or a wheel of {library} built for this torch"
            yield Finding(name, State.ABSENT, f"not compiled, and no {' and '.join(tools)}", remedy)
        else:
            yield Finding(name, State.GOOD, "compiled at the first load, which takes minutes")


def _torch() -> Iterator[Finding]:
    if find_spec("torch") is None:
        yield Finding("torch", State.ABSENT, "not installed; only GPU engines need it")
        return
    probe = (
        "import torch; print(torch.__version__, torch.version.cuda, torch.cuda.is_available())\n"
        "import flash_attn; print('flash-attn', flash_attn.__version__)"
    )
    output = _output(sys.executable, "-c", probe) or ""
    first, _, second = output.partition("\n")
    if not first:
        yield Finding("torch", State.ABSENT, "is installed and can't be imported")
        return
    version, cuda, available = first.split()
    text = f"{version}, built for CUDA {cuda}, device usable: {available == 'True'}"
    yield Finding("torch", State.GOOD, text)
    if second.startswith("flash-attn"):
        yield Finding("flash-attn", State.GOOD, second.split()[1])
    else:
        yield Finding("flash-attn", State.ABSENT, "without it ExLlamaV2 answers one at a time")


def _data_folder(config: Config) -> Finding:
    folder = Path(config.data.dir) if config.data.dir else _default_data_folder()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if os.access(existing, os.W_OK):
        return Finding("data folder", State.GOOD, str(folder))
    return Finding("data folder", State.FAULT, f"{folder} can't be written", "use --data-dir")


def _default_data_folder() -> Path:
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "wsserver"


def _port(config: Config) -> Finding:
    host, port = config.server.host, config.server.port
    where = f"{host}:{port}"
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family):
            return Finding("port", State.GOOD, f"{where} is free")
    except OSError as error:
        reason = error.strerror or str(error)
        return Finding("port", State.FAULT, f"{where}: {reason}", "use --port, or --port 0")


def _redis(url: str) -> Finding:
    # Its address may hold a password, which is nobody's business.
    parts = urlsplit(url)
    where = parts.path if parts.scheme == "unix" else (parts.hostname or "localhost")
    try:
        version, seconds = asyncio.run(_ask_redis(url))
    except StoreUnavailable as error:
        return Finding("redis", State.FAULT, f"{where}: {error}", "start it, or mend redis.url")
    except ValueError as error:
        return Finding("redis", State.FAULT, f"redis.url: {error}", "see docs/wsserver.toml")
    if version < REDIS_NEEDED:
        needed = ".".join(map(str, REDIS_NEEDED))
        return Finding("redis", State.FAULT, f"{where} is too old", f"at least {needed} is needed")
    shown = ".".join(map(str, version))
    return Finding("redis", State.GOOD, f"{where}, {shown}, answers in {seconds * 1000:.1f} ms")


async def _ask_redis(url: str) -> tuple[tuple[int, ...], float]:
    """Its version, and the seconds of a round trip."""
    link = RedisLink.open(url)
    try:
        told = await link.command("INFO", "server")
        began = time.perf_counter()
        await link.ping()
        seconds = time.perf_counter() - began
    finally:
        await link.close()
    version = re.match(r"[\d.]+", told["redis_version"])
    return tuple(map(int, version[0].split("."))) if version else (), seconds


def _programs() -> Iterator[Finding]:
    for name, purpose in (
        ("redis-server", "only for a fleet or histories in Redis on this host, and for the tests"),
        ("chromium", "only for the tests of the chat page"),
        ("tmux", "only for tests of the terminal client"),
    ):
        path = shutil.which(name)
        state = State.GOOD if path else State.ABSENT
        yield Finding(name, state, path or f"not installed; {purpose}")


def _output(*command: str) -> str | None:
    """What a program prints, also if it then fails; None if it is not there or takes too long."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
