"""Several processes as one server: started, kept alive, ended together.

The supervisor serves nobody: it has no socket that listens, no store and no engine, so that there
is nothing in it to crash. It starts the gateways, which share one port, and the worker with the
engines; what ends by itself is started again. Its signals are passed on: the gateways first, the
worker when they have drained, since it makes what they still send.

A member finds its configuration on its standard input and then nothing more: the end of that pipe
is the end of the supervisor, and the member's own. Its first line on standard output says that it
is ready. It has a process group of its own: a terminal's Ctrl-C reaches it once, from here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import msgspec

from wsserver.config import Config
from wsserver.config.handover import pack
from wsserver.core.restarts import RestartPolicy
from wsserver.observe.logging import log_to

log = logging.getLogger(__name__)

CLOSE_SECONDS = 20.0
"""What a member may take to end, beside the drain that the configuration grants, before it is
killed."""

RESTARTS = RestartPolicy(first_delay=0.5, max_delay=30.0)
"""Pauses between the lives of a member that keeps dying. It is never given up: what kills it may
be another host's fault, and over tomorrow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One process to be kept alive."""

    name: str  # for the log
    command: Sequence[str]
    handover: bytes = b""  # what it finds on its standard input
    stage: int = 0  # it is ended once all of the stages before have ended
    is_heard: bool = False  # what its first life prints is printed here


def supervise(config: Config, command: Sequence[str]) -> int:
    """Run the processes of a server until SIGINT or SIGTERM. Returns the exit code.

    Args:
        config: What all of them are given.
        command: Starts a member; its role, ``gateway`` or ``worker``, is added.

    Raises:
        OSError: If the port can't be had.
    """
    server = config.server
    with log_to(config.log), held_port(server.host, server.port) as port:
        settled = msgspec.structs.replace(server, port=port)
        handover = pack(msgspec.structs.replace(config, server=settled))
        members = [
            Member(
                name=f"gateway {number}",
                command=[*command, "gateway"],
                handover=handover,
                is_heard=number == 1,
            )
            for number in range(1, server.processes + 1)
        ]
        if config.models.start:
            worker = [*command, "worker"]
            members.append(Member(name="worker", command=worker, handover=handover, stage=1))
        patience = server.drain_seconds + CLOSE_SECONDS
        return asyncio.run(Supervisor(members, patience=patience).run())


class Supervisor:
    """Keeps members alive until told to end them.

    Args:
        members: What to run.
        patience: Seconds that a member may take to end before it is killed.
        restarts: Pauses between the lives of a member.
        announce: Takes the lines of members that are heard.
    """

    def __init__(
        self,
        members: Sequence[Member],
        *,
        patience: float,
        restarts: RestartPolicy = RESTARTS,
        announce: Callable[[str], None] | None = None,
    ) -> None:
        announce = announce or _print_line
        self._patience = patience
        self._keepers = [_Keeper(member, restarts, announce) for member in members]
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """Start all members; end when all have ended.

        Returns:
            0, or the exit code of a member that could not start or did not end in order.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal)
        lives = {keeper: asyncio.create_task(keeper.run()) for keeper in self._keepers}
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            # A keeper ends by itself only if its member could not start at all.
            ends = {stopping, *lives.values()}
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            await self._end(lives)
        finally:
            stopping.cancel()
            for keeper in self._keepers:
                keeper.kill()
            await asyncio.wait(lives.values())
        by_itself_first = sorted(lives.values(), key=lambda life: life not in done)
        codes = [life.result() for life in by_itself_first]
        return next((code for code in codes if code), 0)

    def _on_signal(self) -> None:
        if self._stopping.is_set():  # a second one: whoever sends it does not want to wait
            for keeper in self._keepers:
                keeper.end()
        self._stopping.set()

    async def _end(self, lives: dict[_Keeper, asyncio.Task[int]]) -> None:
        for stage in sorted({keeper.stage for keeper in lives}):
            ending = {keeper: life for keeper, life in lives.items() if keeper.stage == stage}
            for keeper in ending:
                keeper.end()
            _, late = await asyncio.wait(ending.values(), timeout=self._patience)
            for keeper, life in ending.items():
                if life in late:
                    log.error("%s did not end within %g s: killed", keeper.name, self._patience)
                    keeper.kill()
            await asyncio.wait(ending.values())


class _Keeper:
    """Lives one member's lives."""

    def __init__(
        self, member: Member, restarts: RestartPolicy, announce: Callable[[str], None]
    ) -> None:
        self._member = member
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
        """Ask the member to end, and start it no more. Asked twice it hurries."""
        self._ending.set()
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()

    def kill(self) -> None:
        """End the member now."""
        self._ending.set()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _live(self) -> int:
        """One life. Returns the code of its end, negative for a signal's number."""
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
        hearing = asyncio.create_task(self._hear(process.stdout))
        try:
            process.stdin.write(self._member.handover)
            return await process.wait()
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


@contextmanager
def held_port(host: str, port: int) -> Iterator[int]:
    """Make sure that nobody else has the port, and keep it for processes that share it.

    With ``SO_REUSEPORT`` alone a second server of the same user would come in between unnoticed
    and get every other connection. So the port is asked for first as one that is not shared.
    Sockets that are bound and don't listen take no connections.

    Yields:
        The port, the same for all addresses of ``host``; a free one for 0.

    Raises:
        OSError: As by a server that would listen there.
    """
    with ExitStack() as held:
        for family, _, _, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            place = (address[0], port, *address[2:])
            if port:
                with _bindable(family) as probe:
                    probe.bind(place)
            sharing = held.enter_context(_bindable(family))
            sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sharing.bind(place)
            port = sharing.getsockname()[1]
        yield port


def _bindable(family: socket.AddressFamily) -> socket.socket:
    bindable = socket.socket(family, socket.SOCK_STREAM)
    bindable.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # not the last server's remains
    if family == socket.AF_INET6:
        bindable.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return bindable


def _import_path() -> str:
    """What this process imports from, but for the directory that it was started in."""
    return os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)


def _exit_code(code: int) -> int:
    """A process's end as a shell would tell it."""
    return 128 - code if code < 0 else code


def _how(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _print_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
