"""One member of a supervisor: its lives, one after another."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from wsserver.core.ids import new_id
from wsserver.core.restarts import RestartPolicy

log = logging.getLogger(__name__)

LEASE_SECONDS = 15.0
"""After which a death is known to the fleet without being told: the longest of its leases."""

Handing = Callable[[str, tuple[str, ...]], bytes]
"""What a life finds on its standard input, made from its name and those of the newly dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One process to be kept alive."""

    name: str  # for the log
    command: Sequence[str]
    handing: Handing = lambda node, dead: b""
    stage: int = 0  # it is ended once all of the stages before have ended
    is_heard: bool = False  # what its first life prints is printed here


class Keeper:
    """Lives one member's lives.

    Args:
        member: What to run.
        restarts: Pauses between its lives.
        announce: Takes its lines, if it is heard.
        on_death: Told the name of each life that has ended by itself.
    """

    def __init__(
        self,
        member: Member,
        restarts: RestartPolicy,
        announce: Callable[[str], None],
        on_death: Callable[[str], None],
    ) -> None:
        self._member = member
        self._on_death = on_death
        self._dead: dict[str, float] = {}  # names of former lives to when they ended (loop s)
        self._restarts = restarts
        self._announce = announce
        self._process: asyncio.subprocess.Process | None = None
        self._ending = asyncio.Event()
        self._has_been_ready = False
        self._is_heard = member.is_heard
        self.name, self.stage = member.name, member.stage

    async def run(self) -> int:
        """Start the member, and again whenever it ends by itself. Returns its last exit code."""
        loop = asyncio.get_running_loop()
        crashes = 0
        while True:
            began = loop.time()
            code = await self._live()
            if self._ending.is_set():
                return _exit_code(code)
            if not self._has_been_ready:
                log.error("%s could not start: %s", self.name, _how(code))
                return _exit_code(code) or 1
            self._is_heard = False
            lived = loop.time() - began
            crashes = 1 if lived > self._restarts.stable_seconds else crashes + 1
            pause = self._restarts.delay(crashes)
            log.warning(
                "%s has ended (%s); it starts again in %.1f s", self.name, _how(code), pause
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._ending.wait()
            if self._ending.is_set():
                return 0

    def end(self) -> None:
        """Ask the member to end, and start it no more."""
        self._send(signal.SIGTERM)

    def hurry(self) -> None:
        """Ask the member to end without delay, and start it no more."""
        self._send(signal.SIGTERM)
        self._send(signal.SIGINT)

    def kill(self) -> None:
        """End the member now."""
        self._send(signal.SIGKILL)

    def tell(self, line: bytes) -> None:
        """Say something to the member, if it lives. It may get lost."""
        process = self._process
        if process is not None and process.returncode is None and process.stdin is not None:
            process.stdin.write(line)

    def _send(self, number: signal.Signals) -> None:
        self._ending.set()
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    def _newly_dead(self) -> tuple[str, ...]:
        """Former lives that the fleet may not have missed yet."""
        since = asyncio.get_running_loop().time() - LEASE_SECONDS
        self._dead = {node: ended for node, ended in self._dead.items() if ended > since}
        return tuple(self._dead)

    async def _live(self) -> int:
        """One life, under a name of its own.

        Returns:
            The code of its end, negative for a signal's number.
        """
        self._process = process = await asyncio.create_subprocess_exec(
            *self._member.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": _import_path()},
        )
        if self._ending.is_set():  # asked for while it was being started
            process.terminate()
        assert process.stdin is not None
        assert process.stdout is not None
        node = new_id("nod")
        hearing = asyncio.create_task(self._hear(process.stdout))
        try:
            process.stdin.write(self._member.handing(node, self._newly_dead()))
            code = await process.wait()
            if not self._ending.is_set():
                # Now: what it has started may still hold the other end of its output.
                self._dead[node] = asyncio.get_running_loop().time()
                self._on_death(node)
            return code
        finally:
            process.stdin.close()
            with suppress(OSError):  # it ended before it had read everything
                await process.stdin.wait_closed()
            await hearing

    async def _hear(self, output: asyncio.StreamReader) -> None:
        async for line in output:
            self._has_been_ready = True
            if self._is_heard:
                self._announce(line.decode(errors="replace").rstrip("\n"))


def _import_path() -> str:
    """What this process imports from, but for the directory that it was started in."""
    return os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)


def _exit_code(code: int) -> int:
    """A process's end as a shell would tell it."""
    return 128 - code if code < 0 else code


def _how(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
