"""How an engine's child process is started.

Decides its command line, environment and working directory. It knows no model and no message. The
rule: a child imports what its parent would, wherever the server was started, and finds an empty
directory that is its own.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Child:
    """A running child and the parent's end of its socket."""

    process: asyncio.subprocess.Process
    socket: socket.socket  # non-blocking; whoever takes it closes it
    stderr: asyncio.StreamReader


@asynccontextmanager
async def own_directory() -> AsyncIterator[str]:
    """A directory that only this user may enter, removed in the end.

    The parent's to remove: a killed child could not.
    """
    path = await asyncio.to_thread(tempfile.mkdtemp, prefix="wsserver-engine-")
    try:
        yield path
    finally:
        await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)


async def spawn(directory: str) -> Child:
    """Start a child in ``directory``; it waits for a `wsserver.engines.link.Load`.

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
            env=os.environ | {"PYTHONPATH": await asyncio.to_thread(_import_path)},
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    assert process.stderr is not None
    ours.setblocking(False)
    return Child(process, ours, process.stderr)


def _import_path() -> str:
    """What this process imports from, but for the directory that it was started in.

    That one (and -P leaves out the child's own) may well hold a clone of an engine's source, which
    would be imported in place of the installed one.
    """
    return os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
