"""One run: a fleet, its clients, faults by a plan, and the reckoning."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from scripts.chaos import audit, remains, room_audit
from scripts.chaos.book import Asked, Book
from scripts.chaos.device import Device
from scripts.chaos.faults import Blows
from scripts.chaos.fleet import Fleet
from scripts.chaos.guests import HOMES, rooms_for
from scripts.chaos.links import Links
from scripts.chaos.network import Network
from scripts.chaos.pace import Pace
from scripts.chaos.people import Person
from scripts.chaos.recovery import Recoveries
from scripts.chaos.schedule import plan
from scripts.chaos.store import running_store
from scripts.chaos.surroundings import Surroundings

GATEWAYS, WORKERS, BOTH = 2, 2, 1

TOKENS_A_SECOND = 25

WARM_UPS = 12
"""Answers asked of each gateway before the storm: enough to meet each node of a cluster."""

SETTLE_SECONDS = 90.0
"""For every request to have its end, once nothing breaks any more."""


@dataclass(frozen=True)
class Plan:
    """What a run is like; all of it is in its result."""

    seed: int
    seconds: float
    clients: int
    faults: Sequence[str]
    every: float
    cluster: bool = False
    """Three nodes of Redis; a fault meets one of them."""

    is_apart: bool = False
    """Each member has a network of its own."""

    has_rooms: bool = True
    """People go into rooms, too."""

    window: float = 12.0
    """Seconds for which a client's place is kept: short, so that a run sees it end."""


@dataclass
class Run:
    """A run under way.

    Attributes:
        plan: What it is like.
        folder: Where logs and Redis' files are.
    """

    plan: Plan
    folder: Path
    book: Book = field(init=False)
    faults: Counter[str] = field(default_factory=Counter)
    recoveries: Recoveries = field(default_factory=Recoveries)
    people: list[Person] = field(default_factory=list)
    bells: tuple[int, int] = (0, 0)
    busy: float = 0.0  # share of the processors' time, in the storm

    def __post_init__(self) -> None:
        self.book = Book(self.plan.window)

    async def go(self) -> None:
        """All of it. Whatever is wrong is in ``book.violations`` in the end."""
        with running_store(self.folder, is_cluster=self.plan.cluster) as store:
            # Nodes of a cluster say where the others are: past any proxy.
            links = None if store.is_cluster else await Links.start(store.ports[0], self.plan.seed)
            network = Network(is_apart=self.plan.is_apart)
            fleet = Fleet(self.folder, network, links, store)
            try:
                await self._start(fleet)
                before = await self._warm_up(fleet)
                await self._storm(fleet)
                await self._reckon(fleet, before)
                if links is not None:
                    self.bells = await links.bells()
                await self._end(fleet)
            finally:
                fleet.kill()
                if links is not None:
                    await links.close()
                network.close()

    async def _start(self, fleet: Fleet) -> None:
        slots = max(4, self.plan.clients // 4)
        for role, count in (("gateway", GATEWAYS), ("worker", WORKERS), ("both", BOTH)):
            for _ in range(count):
                await fleet.add(role, tps=TOKENS_A_SECOND, slots=slots, window=self.plan.window)
        await fleet.start()

    async def _warm_up(self, fleet: Fleet) -> dict[str, remains.Holdings]:
        """Have each gateway answer, so that all have what they need for that and then keep.

        Returns:
            What each process holds then.
        """
        for number, address in enumerate(fleet.addresses):
            around = replace(self._around(fleet), addresses=[address])
            device = Device(around, f"first{number}", f"first{number}", random.Random(number))
            await asyncio.gather(*(self._warm_up_once(device) for _ in range(WARM_UPS)))
            await device.close()
        return await remains.at_rest(fleet)

    async def _warm_up_once(self, device: Device) -> None:
        asked = Asked(device.new_id(), "stream", device.user, 3, f"{device.name} warms up")
        fields = {"requestId": asked.request_id, "options": {"maxTokens": asked.limit}}
        await device.ask("stream", asked=self.book.ask(asked), prompt=asked.prompt, **fields)

    def _around(self, fleet: Fleet) -> Surroundings:
        plan_ = self.plan
        return Surroundings(
            *(self.book, fleet.addresses, plan_.window, self.recoveries), Pace(plan_.clients)
        )

    async def _storm(self, fleet: Fleet) -> None:
        """Clients and blows, until the time is over and everyone has what he asked for."""
        plan_ = self.plan
        self.around = self._around(fleet)
        rng = random.Random(plan_.seed)
        rooms = rooms_for(plan_.clients)
        homes = HOMES if plan_.has_rooms else 0
        self.people = [
            Person(self.around, f"p{n}", rng.sample(rooms, homes), random.Random(rng.random()))
            for n in range(plan_.clients)
        ]
        until = time.monotonic() + plan_.seconds
        living = [asyncio.create_task(person.live(until)) for person in self.people]
        await self._break(fleet)
        await asyncio.wait_for(asyncio.gather(*living), SETTLE_SECONDS)
        self.busy = self.around.pace.busy()
        _say("healed; waiting for every request's end")
        await fleet.ready()
        await self._settle(fleet)

    async def _break(self, fleet: Fleet) -> None:
        blows = Blows(fleet, self.book, random.Random(self.plan.seed), self._on_death, self.faults)
        began = time.monotonic()
        striking = []
        for blow in plan(self.plan.seed, self.plan.seconds, self.plan.faults, self.plan.every):
            await asyncio.sleep(max(0.0, began + blow.at - time.monotonic()))
            _say(f"[{blow.at:7.2f}] {blow.kind}")
            striking.append(asyncio.create_task(blows.strike(blow.kind)))
        await asyncio.gather(*striking)

    async def _tell_tasks(self, fleet: Fleet) -> None:
        """Keep beside the logs what each member is waiting for, where someone waits for ever."""
        for member in fleet.members:
            tasks = json.dumps(await member.tasks(), indent=1, sort_keys=True)
            (self.folder / f"{member.name}.tasks").write_text(tasks)

    async def _settle(self, fleet: Fleet) -> None:
        settling = [asyncio.create_task(person.settle()) for person in self.people]
        _, late = await asyncio.wait(settling, timeout=SETTLE_SECONDS)
        for task in late:
            task.cancel()
        if late:
            await self._tell_tasks(fleet)
        for person, task in zip(self.people, settling, strict=True):
            for device in person.devices if task in late else ():
                device.complain()
            for failure in person.failures:
                raise failure

    async def _reckon(self, fleet: Fleet, before: dict[str, remains.Holdings]) -> None:
        _say("looking at every answer again")
        await audit.watch_again(self.around, self.book)
        await audit.histories(self.around, self.book)
        await room_audit.rooms(self.people, self.book)
        await asyncio.gather(*(person.close() for person in self.people))
        _say("waiting until nothing is left")
        await remains.nothing_is_left(fleet, self.book, before)

    async def _end(self, fleet: Fleet) -> None:
        for name, code in (await fleet.close()).items():
            if code:
                self.book.wrong(f"{name} ended with {code}")
        for member in fleet.members:
            for error in member.errors():
                self.book.wrong(f"{member.name} logged an error", error)

    def _on_death(self, kind: str) -> None:
        readers = {
            (device.screen, view.stream_id)
            for person in self.people
            for device in person.devices
            for view in device.screen.open
            if view.have
        }
        self.recoveries.begin(kind, readers)

    def result(self) -> dict[str, Any]:
        """What is to be known of the run."""
        book = self.book
        return {
            "seed": self.plan.seed,
            "seconds": self.plan.seconds,
            "clients": self.plan.clients,
            "processes": {
                "gateways": GATEWAYS,
                "workers": WORKERS,
                "both": BOTH,
                "redis": 3 if self.plan.cluster else 1,
            },
            "network": "a namespace for each process" if self.plan.is_apart else "one for all",
            "faults": sum(self.faults.values()),
            "faults_by_kind": dict(sorted(self.faults.items())),
            "bells": {"lost": self.bells[0], "doubled": self.bells[1]},
            "requests": len(book.asked),
            "outcomes": dict(sorted(book.counts.items())),
            "errors": dict(sorted(book.errors.items())),
            "connections": sum(
                device.connections for p in self.people for device in (*p.devices, *p.left)
            ),
            "bytes_compared": book.bytes_compared,
            "rooms": {
                "rooms": len(rooms_for(self.plan.clients)),
                "messages": len(book.rooms.said),
                "questions": sum(asked.room_id is not None for asked in book.asked.values()),
                "entries_compared": book.rooms.entries_compared,
            },
            "processors_busy": round(self.busy, 2),
            "recovery": self.recoveries.summary(),
            "violations": len(book.violations),
        }


def run(plan_: Plan, folder: Path | None = None) -> Run:
    """Run once. Keeps the logs in ``folder``, or nowhere."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        chaos = Run(plan_, folder)
        asyncio.run(chaos.go())
        return chaos
    with TemporaryDirectory() as temporary:
        chaos = Run(plan_, Path(temporary))
        asyncio.run(chaos.go())
        return chaos


def _say(what: str) -> None:
    print(what, flush=True)
