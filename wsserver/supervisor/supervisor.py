"""Processes of a server: started, kept alive, ended together.

The supervisor serves nobody: it has no socket that listens, no store and no engine, so that there
is nothing in it to crash. It starts the gateways, which share one port, and the worker with the
engines, or the worker alone; what ends by itself is started again. Its signals are passed on: the
gateways first, the worker when they have drained, since it makes what they still send.

A member finds its configuration on its standard input, and the name of each life that has ended
here: the fleet would miss it only when its leases run out, so who lives tells it at once, and who
takes its place tells it again. The end of that pipe is the end of the supervisor, and the member's
own. Its first line on standard output says that it is ready. It has a process group of its own: a
terminal's Ctrl-C reaches it once, from here.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from wsserver.config import Config
from wsserver.config.handover import death_notice, pack
from wsserver.core.restarts import RestartPolicy
from wsserver.core.stopping import Stopping
from wsserver.observe.logging import log_to
from wsserver.supervisor.keeper import Keeper, Member
from wsserver.supervisor.ports import held_port

log = logging.getLogger(__name__)

CLOSE_SECONDS = 20.0
"""What a member may take to end, beside the drain that the configuration grants, before it is
killed."""

RESTARTS = RestartPolicy(first_delay=0.5, max_delay=30.0)
"""Pauses between the lives of a member that keeps dying. It is never given up: what kills it may
be another host's fault, and over tomorrow."""


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
        handing = partial(pack, msgspec.structs.replace(config, server=settled))
        members = [
            Member(
                name=f"gateway {number}",
                command=[*command, "gateway"],
                handing=handing,
                is_heard=number == 1,
            )
            for number in range(1, server.processes + 1)
        ]
        if config.models.start:
            worker = [*command, "worker"]
            members.append(Member(name="worker", command=worker, handing=handing, stage=1))
        return _keep(config, members)


def supervise_worker(config: Config, command: Sequence[str]) -> int:
    """Keep a worker alive until SIGINT or SIGTERM. Returns the exit code.

    Args:
        config: What it is given.
        command: Starts a member; its role, ``worker``, is added.
    """
    worker = [*command, "worker"]
    with log_to(config.log):
        handing = partial(pack, config)
        return _keep(
            config, [Member(name="worker", command=worker, handing=handing, is_heard=True)]
        )


def _keep(config: Config, members: Sequence[Member]) -> int:
    patience = config.server.drain_seconds + CLOSE_SECONDS
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
        self._keepers = [
            Keeper(member, restarts, announce, self._tell_of_death) for member in members
        ]
        self._stopping = Stopping()

    async def run(self) -> int:
        """Start all members; end when all have ended.

        Returns:
            0, or the exit code of a member that could not start or did not end in order.
        """
        self._stopping.listen()
        lives = {keeper: asyncio.create_task(keeper.run()) for keeper in self._keepers}
        stopping = asyncio.create_task(self._stopping.begun.wait())
        hurrying = asyncio.create_task(self._hurry())
        try:
            # A keeper ends by itself only if its member could not start at all.
            ends = {stopping, *lives.values()}
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            await self._end(lives)
        finally:
            stopping.cancel()
            hurrying.cancel()
            for keeper in self._keepers:
                keeper.kill()
            await asyncio.wait(lives.values())
        by_itself_first = sorted(lives.values(), key=lambda life: life not in done)
        codes = [life.result() for life in by_itself_first]
        return next((code for code in codes if code), 0)

    async def _hurry(self) -> None:
        await self._stopping.hurried.wait()
        for keeper in self._keepers:
            keeper.hurry()

    def _tell_of_death(self, node: str) -> None:
        """Tell all members that live. It may be told twice, and more is safer than less."""
        for keeper in self._keepers:
            keeper.tell(death_notice(node))

    async def _end(self, lives: dict[Keeper, asyncio.Task[int]]) -> None:
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


def _print_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
