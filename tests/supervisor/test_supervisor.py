"""The supervisor with real processes: started, killed, started again, ended in order."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.support.waiting import eventually
from wsserver.core.restarts import RestartPolicy
from wsserver.supervisor import Member, Supervisor, held_port
from wsserver.supervisor.keeper import Handing

ROOT = Path(__file__).parents[2]
QUICK = RestartPolicy(first_delay=0.01, max_delay=0.05)


def member(
    name: str,
    port: int,
    fault: str = "",
    *,
    stage: int = 0,
    handing: Handing | None = None,
) -> Member:
    command = [
        sys.executable,
        "-m",
        "tests.support.member",
        name,
        str(port),
        *filter(None, [fault]),
    ]
    found = Member(name=name, command=command, stage=stage, is_heard=name == "one" or stage == 1)
    return found if handing is None else replace(found, handing=handing)


class Running:
    """A supervisor under test, and what it announced."""

    def __init__(self, members: Sequence[Member], port: int, patience: float) -> None:
        self.lines: list[str] = []
        self.on_line: Callable[[], None] = lambda: None
        self.port = port
        self.supervisor = Supervisor(
            members, patience=patience, restarts=QUICK, announce=self._hear
        )

    def _hear(self, line: str) -> None:
        self.lines.append(line)
        self.on_line()

    def has_heard(self, line: str) -> bool:
        return line in self.lines

    def has_another(self, name: str, old: int | None) -> bool:
        return self.pids().get(name) not in (None, old)

    def pids(self) -> dict[str, int]:
        """The names and process ids that answer on the port, of many connections."""
        found = {}
        for _ in range(40):
            try:
                with socket.create_connection(("127.0.0.1", self.port), 5) as asked:
                    words = asked.recv(100).split()
            except OSError:
                continue
            if len(words) == 2:  # else it died in between
                found[words[0].decode()] = int(words[1])
        return found


@asynccontextmanager
async def running(
    members: Sequence[Member], port: int, patience: float = 10.0
) -> AsyncIterator[tuple[Running, asyncio.Task[int]]]:
    case = Running(members, port, patience)
    life = asyncio.create_task(case.supervisor.run())
    try:
        yield case, life
    finally:
        life.cancel()
        await asyncio.wait({life})


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


async def test_members_share_one_port_and_end_with_the_supervisor() -> None:
    """Both answer on the port; one SIGTERM ends both, and the exit code is 0."""
    with held_port("127.0.0.1", 0) as port:
        async with running([member("one", port), member("two", port)], port) as (case, life):
            await eventually(lambda: case.pids().keys() == {"one", "two"})
            pids = case.pids().values()
            os.kill(os.getpid(), signal.SIGTERM)
            assert await life == 0
    assert case.lines == ["one is ready", "one ends"]
    assert not any(psutil.pid_exists(pid) for pid in pids)


async def test_what_is_killed_starts_again() -> None:
    """kill -9 of a member: the other one goes on, and soon there are two again."""
    with held_port("127.0.0.1", 0) as port:
        async with running([member("one", port), member("two", port)], port) as (case, life):
            await eventually(lambda: case.pids().keys() == {"one", "two"})
            before = case.pids()
            for _ in range(3):
                victim = case.pids().get("one")
                if victim is not None:
                    os.kill(victim, signal.SIGKILL)
                await eventually(partial(case.has_another, "one", victim))
            assert case.pids()["two"] == before["two"]
            os.kill(os.getpid(), signal.SIGINT)
            assert await life == 0
    assert case.lines == ["one is ready"]  # its later lives are not announced again


async def test_a_death_is_told_to_who_lives() -> None:
    """Each life has a name. The others are told the name of one that has ended, and so is who takes
    its place, until the fleet must have missed it."""
    begun: list[tuple[str, tuple[str, ...]]] = []

    def hand(node: str, dead: tuple[str, ...]) -> bytes:
        begun.append((node, dead))
        return b""

    with held_port("127.0.0.1", 0) as port:
        members = [member("one", port), member("two", port, handing=hand)]
        async with running(members, port) as (case, life):
            await eventually(lambda: case.pids().keys() == {"one", "two"})
            for number in (1, 2):
                victim = case.pids()["two"]
                os.kill(victim, signal.SIGKILL)
                name = begun[number - 1][0]
                await eventually(partial(case.has_heard, f"one is told {name}"))
                await eventually(partial(case.has_another, "two", victim))
            os.kill(os.getpid(), signal.SIGTERM)
            assert await life == 0
    names = [node for node, _ in begun]
    assert len(set(names)) == 3
    assert [dead for _, dead in begun] == [(), (names[0],), (names[0], names[1])]


async def test_a_hurry_is_passed_on_as_what_it_is() -> None:
    """Ctrl-C after a SIGTERM: a member that takes its time gets an interrupt, too."""
    with held_port("127.0.0.1", 0) as port:
        async with running([member("one", port, "slow")], port) as (case, life):
            await eventually(lambda: case.lines == ["one is ready"])
            os.kill(os.getpid(), signal.SIGTERM)
            await eventually(partial(case.has_heard, "one takes its time"))
            assert not life.done()
            os.kill(os.getpid(), signal.SIGINT)
            assert await life == 0
    assert case.lines[-1] == "one ends"


async def test_what_can_not_start_ends_all() -> None:
    """A fault of the first start is told at once by the exit code, and nothing is left behind."""
    with held_port("127.0.0.1", 0) as port:
        members = [member("one", port), member("two", port, "broken")]
        async with running(members, port) as (case, life):
            assert await life == 3
            assert case.pids() == {}


async def test_what_does_not_end_is_killed() -> None:
    """A member that is deaf to SIGTERM costs the patience, not for ever."""
    with held_port("127.0.0.1", 0) as port:
        async with running([member("one", port, "deaf")], port, patience=0.2) as (case, life):
            await eventually(lambda: case.lines == ["one is ready"])
            os.kill(os.getpid(), signal.SIGTERM)
            assert await life == 128 + signal.SIGKILL
            assert case.pids() == {}


async def test_stages_end_in_order() -> None:
    """The worker lives until the gateways have ended: it makes what they still send."""
    with held_port("127.0.0.1", 0) as port:
        members = [member("one", port, "deaf"), member("two", port, stage=1)]
        async with running(members, port, patience=0.5) as (case, life):
            await eventually(lambda: len(case.lines) == 2 and len(case.pids()) == 2)
            gateway = case.pids()["one"]
            lives: list[bool] = []
            case.on_line = lambda: lives.append(psutil.pid_exists(gateway))
            os.kill(os.getpid(), signal.SIGTERM)
            assert await life == 128 + signal.SIGKILL
    assert case.lines[2:] == ["two ends"]
    assert lives == [False]


async def test_a_killed_supervisor_takes_its_members_along(tmp_path: Path) -> None:
    """kill -9 of the supervisor: the members find their pipe at its end, and end."""
    script = tmp_path / "supervise.py"
    script.write_text(
        "import asyncio, sys\n"
        "from wsserver.supervisor import Member, Supervisor\n"
        "command = [sys.executable, '-m', 'tests.support.member', 'one', '0']\n"
        "member = Member(name='one', command=command, is_heard=True)\n"
        "asyncio.run(Supervisor([member], patience=5).run())\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(script)),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"one is ready\n"
    children = psutil.Process(process.pid).children()
    assert len(children) == 1
    process.kill()
    await process.wait()
    gone, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []


def test_a_port_in_use_is_refused() -> None:
    """Also one that its holder shares: a second server must not come in between unnoticed."""
    with held_port("127.0.0.1", 0) as port, socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen()
        with pytest.raises(OSError, match="in use"), held_port("127.0.0.1", port):
            pass


def test_a_port_is_the_same_for_every_address() -> None:
    """A free port is chosen once: a name with two addresses is one server."""
    with held_port("localhost", 0) as port:
        assert port > 0
        for family, *_, address in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM):
            with socket.socket(family) as other, pytest.raises(OSError, match="in use"):
                other.bind(address)
