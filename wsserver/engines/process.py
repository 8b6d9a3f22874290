"""How an engine's child process is started.

Decides its command line, environment and working directory. It knows no model and no message. The
rule: a child imports what its parent would, wherever the server was started, and finds an empty
directory that is its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import socket
import stat
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PREFIX: Final = "wsserver-engine-"
_VISIBLE: Final = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
_SETTLED_SECONDS: Final = 60.0  # between making a directory and locking it pass microseconds


@dataclass(frozen=True)
class Child:
    """A running child and the parent's end of its socket."""

    process: asyncio.subprocess.Process
    socket: socket.socket  # non-blocking; whoever takes it closes it
    stderr: asyncio.StreamReader


@asynccontextmanager
async def own_directory() -> AsyncIterator[str]:
    """A directory that only this user may enter, removed in the end.

    The parent's to remove: a killed child could not. A lock on it tells that it is in use; what a
    killed parent left behind is not locked, and the next one clears it away. The lock also keeps
    systemd-tmpfiles from taking the directory of a server that has run for weeks.
    """
    path, lock = await asyncio.to_thread(_make_directory)
    try:
        yield path
    finally:
        await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
        os.close(lock)


def _make_directory() -> tuple[str, int]:
    """A new locked directory and the descriptor that holds its lock."""
    _clear_left_behind(Path(tempfile.gettempdir()))
    path = tempfile.mkdtemp(prefix=_PREFIX)
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return path, lock


def _clear_left_behind(folder: Path) -> None:
    """Remove directories of this user whose parents were killed."""
    for entry in folder.glob(f"{_PREFIX}*"):
        # Another process may clear up at the same time, or not have locked yet what it just made.
        with contextlib.suppress(OSError):
            status = entry.lstat()
            is_settled = time.time() - status.st_mtime > _SETTLED_SECONDS
            if status.st_uid != os.geteuid() or not stat.S_ISDIR(status.st_mode) or not is_settled:
                continue
            lock = os.open(entry, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(entry, ignore_errors=True)
            finally:
                os.close(lock)


async def spawn(directory: str, gpus: Sequence[int] = ()) -> Child:
    """Start a child in ``directory``; it waits for a `wsserver.engines.link.Load`.

    Of this machine's GPUs it sees ``gpus``; none named: as many as this process.

    Raises:
        OSError: If the system can't start a process.
    """
    ours, theirs = socket.socketpair()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-X", "faulthandler", "-m", "wsserver.engines.child"),
            *(str(theirs.fileno()), str(os.getpid())),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(theirs.fileno(),),
            cwd=directory,
            env=await asyncio.to_thread(_environment, gpus),
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    assert process.stderr is not None
    ours.setblocking(False)
    return Child(process, ours, process.stderr)


def _environment(gpus: Sequence[int]) -> dict[str, str]:
    """This process's own, with the import path and the GPUs."""
    environment = os.environ | {"PYTHONPATH": _import_path()}
    if gpus:
        numbers = ",".join(map(str, gpus))
        # Without it CUDA counts the fastest first, and nvidia-smi by slot: GPU 1 would be another.
        environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        environment |= dict.fromkeys(_VISIBLE, numbers)
    return environment


def _import_path() -> str:
    """What this process imports from, but for the directory that it was started in.

    That one (and -P leaves out the child's own) may well hold a clone of an engine's source, which
    would be imported in place of the installed one.
    """
    return os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
