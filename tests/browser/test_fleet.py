"""A room over a fleet as people have it: terminals, a browser and a program, and `kill -9`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from playwright.async_api import Browser, expect

from tests.browser.rooms_page import RoomsPage
from tests.browser.test_rooms import answer_in
from tests.clients.terminal.emulator import Emulator
from tests.conftest import StartServer
from tests.integration.test_generating import counted
from tests.support.redis import RedisProcess, redis_is_installed, running_redis
from tests.support.server import ServerProcess
from tests.support.waiting import eventually, eventually_so
from wsserver_client import Joined, Left, Room, RoomEvents, connect

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not redis_is_installed(), reason="redis-server is not installed (package redis-server)"
    ),
]

TOKENS = 400
MODEL = "m=synthetic:?tps=12&ttft_ms=0"

RETURN = 40.0
"""Seconds for who has lost a gateway to be back and to see more, on a slow machine."""

TAKEOVER = 120.0
"""Seconds for a dead worker's lease to run out and another one to make the rest."""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisProcess]:
    with running_redis(tmp_path) as running:
        yield running


class Fleet:
    """The processes of `wsserver serve --processes`, and who is connected to which."""

    def __init__(self, server: ServerProcess) -> None:
        self._supervisor = psutil.Process(server.pid)
        self._port = urlsplit(server.url).port

    def members(self, role: str) -> list[psutil.Process]:
        """Those that live in a role."""
        return [one for one in self._supervisor.children() if one.cmdline()[-1:] == [role]]

    def gateway_of(self, *processes: psutil.Process) -> psutil.Process | None:
        """The gateway that some process has its connection to, None unless it is just one."""
        ours = {
            here
            for process in processes
            for here, there in self._connections(process)
            if there == self._port
        }
        found = [
            gateway
            for gateway in self.members("gateway")
            if any(there in ours for _, there in self._connections(gateway))
        ]
        return found[0] if len(ours) == len(found) == 1 else None

    async def home(self, *processes: psutil.Process) -> psutil.Process:
        """The same, waiting until it is one."""
        await eventually(lambda: self.gateway_of(*processes) is not None, RETURN)
        home = self.gateway_of(*processes)
        assert home is not None
        return home

    @staticmethod
    def _connections(process: psutil.Process) -> list[tuple[int, int]]:
        """Its own port and the other's of each."""
        return [
            (each.laddr.port, each.raddr.port)
            for each in process.net_connections("tcp")
            if each.status == psutil.CONN_ESTABLISHED
        ]


class Terminal:
    """`wsserver chat --room` of one person, until the block's end."""

    def __init__(self, folder: Path, url: str, name: str) -> None:
        arguments = (url, "--user", name, "--room", "lobby", "--set", f"max_tokens={TOKENS}")
        self.chat = Emulator(arguments, folder)
        self.process = psutil.Process(self.chat.pid)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Read what it shows, and end it with the block."""
        try:
            with self.chat.read_meanwhile():
                yield
        finally:
            self.chat.kill()

    @property
    def answer(self) -> str:
        """The answer on the screen. Its lines are broken where a space was."""
        lines = [line.strip() for line in self.chat.text.splitlines()]
        return " ".join(line for line in lines if re.fullmatch(r"\d+( \d+)*", line))

    @property
    def came(self) -> list[str]:
        """Who was said to have come, in this order."""
        return re.findall(r"— (\S+) came;", self.chat.text)

    async def seen(self) -> int:
        """Tokens of it."""
        return len(self.answer.split())

    async def sees(self, what: str) -> None:
        """Wait until it is on the screen."""
        try:
            await eventually(lambda: what in self.chat.text, RETURN)
        except TimeoutError:
            pytest.fail(f"waited for {what!r}, saw:\n{self.chat.text}")

    async def has(self, answer: str) -> None:
        """Wait until all of the answer is on the screen, and nothing else of numbers."""
        await eventually(lambda: self.answer == answer.strip(), RETURN)

    async def is_back(self) -> None:
        """Wait until it has said that it is connected again."""
        await self.sees("connected again")


class Browsing:
    """The rooms page of one person, in the only browser of the test."""

    def __init__(self, page: RoomsPage) -> None:
        self.page = page
        self.connections = 0
        page.page.on("websocket", self._connects)

    def _connects(self, _: object) -> None:
        self.connections += 1

    async def seen(self) -> int:
        """Tokens of the answer on the page."""
        return len((await self.page.text(self.page.answers.last)).split())

    async def is_back(self) -> None:
        """Wait until it is connected once more than to begin with."""
        await eventually(lambda: self.connections > 1, RETURN)
        await self.page.is_connected()

    async def copied(self) -> str:
        """The answer as its button copies it: the text itself, not how it is shown."""
        await self.page.answers.last.get_by_test_id("copy").click()
        text = await self.page.page.wait_for_function("navigator.clipboard.readText()")
        return str(await text.json_value())

    async def log(self) -> list[str]:
        """The numbers of the log's entries, in the order of the page."""
        numbers = await self.page.entries.evaluate_all("all => all.map(one => one.dataset.seq)")
        return [str(number) for number in numbers]


class Meeting:
    """Brings people into the room, each through a gateway of their own.

    The kernel chooses the gateway of a connection, so that some come in more than once. Nobody is
    told of it: who has lost a connection keeps the place for the resume window.
    """

    def __init__(self, server: ServerProcess, folder: Path, stack: ExitStack) -> None:
        self.fleet = Fleet(server)
        self.homes: list[psutil.Process] = []
        self._server = server
        self._folder = folder
        self._stack = stack

    async def by_terminal(self, name: str) -> Terminal:
        """Someone comes in by a terminal."""
        while True:
            with ExitStack() as attempt:
                terminal = Terminal(self._folder, self._server.ws_url, name)
                attempt.enter_context(terminal.opened())
                await terminal.sees("room lobby:")
                if await self._has_new_home(terminal.process):
                    self._stack.push(attempt.pop_all())
                    return terminal

    async def by_browser(self, name: str, browser: Browser) -> Browsing:
        """Someone comes in by the rooms page."""
        rights = ["clipboard-read", "clipboard-write"]
        context = await browser.new_context(reduced_motion="reduce", permissions=rights)
        person = Browsing(RoomsPage(await context.new_page()))
        while True:
            person.connections = 0
            await person.page.open(self._server.url, room="lobby", name=name)
            of_browser = psutil.Process().children(recursive=True)
            if await self._has_new_home(*(one for one in of_browser if "chrom" in one.name())):
                return person

    async def _has_new_home(self, *processes: psutil.Process) -> bool:
        home = await self.fleet.home(*processes)
        is_new = home not in self.homes
        if is_new:
            self.homes.append(home)
        return is_new


async def goes_on(person: Terminal | Browsing) -> None:
    """Wait until someone sees more of the answer than now."""
    now = await person.seen()

    async def sees_more() -> bool:
        return await person.seen() > now + 1

    await eventually_so(sees_more, RETURN)


async def until_somebody_leaves(events: RoomEvents) -> list[Joined | Left]:
    """All comings and goings up to the first going."""
    told: list[Joined | Left] = []
    async for event in events:
        if isinstance(event, Joined | Left):
            told.append(event)
        if isinstance(event, Left):
            break
    return told


async def talk_goes_on(
    ada: Terminal, bob: Terminal, cyd: Browsing, room: Room, answer: str
) -> None:
    """What is said after all that stands once, in the same place of everyone's log."""
    bob.chat.enter("Good night!")
    await ada.sees("Bob: Good night!")
    await expect(cyd.page.entries.last).to_contain_text("Good night!")
    assert await cyd.log() == ["1", "2", "3"]
    log = await room.history()
    assert [(entry.seq, entry.name, entry.text) for entry in log] == [
        (1, "Ada", "count"),
        (2, "m", answer),
        (3, "Bob", "Good night!"),
    ]
    for terminal in (ada, bob):
        assert terminal.chat.text.count("Good night!") == 1
        assert terminal.chat.text.count("count") == 1


async def test_everyone_has_the_same_text(
    redis: RedisProcess, start_server: StartServer, browser: Browser, tmp_path: Path
) -> None:
    """Two terminals and a browser on three gateways share a room, a program joins midway; each
    gateway and then the worker is killed, and all four end with the same text and the same log."""
    server = start_server("--redis-url", redis.url, "--processes", "3", "--model", MODEL)
    async with AsyncExitStack() as stack:
        meeting = Meeting(server, tmp_path, stack.enter_context(ExitStack()))
        bob = await meeting.by_terminal("Bob")
        ada = await meeting.by_terminal("Ada")
        cyd = await meeting.by_browser("Cyd", browser)
        await bob.sees("Cyd came")
        ada.chat.enter("?count")
        await bob.sees("Ada asks: count")
        people: list[Terminal | Browsing] = [bob, ada, cyd]
        for person in people:
            await goes_on(person)

        client = await stack.enter_async_context(connect(server.ws_url, user_id="py"))
        room = await client.join_room("lobby", name="Py")
        midway, events = await answer_in(room.events()), room.events()
        await eventually(lambda: len(midway.stream.text) > 20, RETURN)

        for person, home in zip(people, meeting.homes, strict=True):
            home.kill()
            await person.is_back()
            await goes_on(person)
        (worker,) = meeting.fleet.members("worker")
        assert not midway.stream.is_ended
        worker.kill()

        async with asyncio.timeout(TAKEOVER):
            result = await midway.stream.result()
        assert (result.text, result.finish_reason) == (counted(TOKENS), "length")
        await cyd.page.ends("length")
        assert await cyd.copied() == result.text
        for terminal in (ada, bob):
            await terminal.has(result.text)

        await talk_goes_on(ada, bob, cyd, room, result.text)
        bob.chat.press("d")
        await ada.sees("Bob left")
        (left,) = await until_somebody_leaves(events)
        assert isinstance(left, Left)
        assert left.user_id == "Bob"
        notices = ["Py came in", "Bob left", "Ada is an owner now"]
        await expect(cyd.page.get("notice")).to_have_text(notices)
        assert " left" not in bob.chat.text
        assert ada.came == ["Cyd", "Py"]
        assert bob.came == ["Ada", "Cyd", "Py"]
        assert ada.chat.text.count("Bob left") == 1
        assert [one for one in cyd.page.complaints if one.startswith("uncaught")] == []
