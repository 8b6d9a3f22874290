"""What may be left of a storm when everybody has gone: nothing.

No slot, no lease, no job, no member of a room, no node that is not alive, no key that would stay
for ever; and in each process no descriptor and no task that it had not before the first client.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.request import urlopen

from scripts.chaos.book import Book
from scripts.chaos.fleet import Fleet, Member
from scripts.chaos.member import AWAITED

PATIENCE = 75.0
"""Seconds for the last lease to run out and the last of the dead to be buried."""

LOOK_EVERY, REST = 0.5, 1.0

COUNTED = (
    'wsserver_slots{model="m",state="busy"}',
    "wsserver_queue_depth",
    "wsserver_streams_active",
)
"""What every gateway must count none of."""

MORE_LINKS = 2
"""Connections to a node of Redis that a process may have more than at first: one that was given up
may not be closed yet. Of all else it has as many as before."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a process holds: descriptors by what they are, tasks by their coroutines."""

    descriptors: Counter[str]
    tasks: Counter[str]


async def holdings(fleet: Fleet) -> dict[str, Holdings]:
    """What each member holds just now."""
    return {member.name: await _holdings(member) for member in fleet.members}


async def at_rest(fleet: Fleet) -> dict[str, Holdings]:
    """What each member holds when nothing begins or ends any more."""
    before, now = None, await holdings(fleet)
    while before != now:
        await asyncio.sleep(REST)
        before, now = now, await holdings(fleet)
    return now


async def _holdings(member: Member) -> Holdings:
    tasks = Counter[str]()
    for chain, count in (await member.tasks()).items():
        tasks[chain.split(AWAITED)[0]] += count
    return Holdings(member.descriptors(), tasks)


async def nothing_is_left(fleet: Fleet, book: Book, before: dict[str, Holdings]) -> None:
    """Wait until nothing is left; what is in the end is a violation."""
    client = fleet.store.client()
    checks: list[Callable[[], Awaitable[list[str]]]] = [
        lambda: _busy(fleet),
        lambda: _work(client),
        lambda: _nodes(client, fleet),
        lambda: _held(fleet, before),
    ]
    deadline = time.monotonic() + PATIENCE
    left = ["not looked"]
    while left and time.monotonic() < deadline:
        await asyncio.sleep(LOOK_EVERY)
        left = [what for check in checks for what in await check()]
    for what in left:
        book.wrong("left behind", what)
    for key in await _everlasting(client):
        book.wrong("a key without an end", key)
    await client.aclose()


async def _busy(fleet: Fleet) -> list[str]:
    """Slots that are taken, and work that waits, as each gateway sees it."""
    found = []
    for member in fleet.of("gateway", "both"):
        text = await _metrics(member)
        counts = {name: _value(text, name) for name in COUNTED}
        found += [f"{member.name} has {name} {n:g}" for name, n in counts.items() if n]
        if not _value(text, 'wsserver_slots{model="m",state="free"}'):
            found.append(f"{member.name} sees no slot")
    return found


async def _work(client: Any) -> list[str]:
    """Jobs, claims, places of limits, turns, and answers that still run.

    Two kinds may outlive a process that was killed between an answer's end and a step after it, and
    are given up by whoever meets them: the place of a turn whose lease has run out, and that of an
    ended answer among those of its asker.
    """
    found = []
    async for key in client.scan_iter("wsserver:*"):
        name = key.decode()
        if re.fullmatch(r"wsserver:\{q:.*:(waiting|line|jobs|notes|leases)", name) or re.fullmatch(
            r"wsserver:\{n:.*:led", name
        ):
            found.append(name)
        elif re.fullmatch(r"wsserver:\{r:.*:[oca]", name):
            found.append(f"{name} is not empty")  # members, seats, open questions
        elif re.fullmatch(r"wsserver:\{t:.*:leases", name):
            leases = await client.hvals(name)
            if any(float(lease) > 1000 * time.time() for lease in leases):
                found.append(f"{name} is held")
        elif re.fullmatch(r"wsserver:\{l:.*:places", name):
            places: Any = await client.zrange(name, 0, -1)
            held = [f"wsserver:{{g:{place.decode()}}}:m" for place in places]
            states = [await client.hget(key, "state") for key in held]
            if any(state not in (b"ended", None) for state in states):
                found.append(f"{name} is held")
        elif re.fullmatch(r"wsserver:\{g:.*:m", name):
            state = await client.hget(name, "state")
            if state != b"ended":
                found.append(f"{name} is {state!r}")
    return found


async def _nodes(client: Any, fleet: Fleet) -> list[str]:
    """Nodes that are not buried, beyond one for each process."""
    leases = await client.zcard("wsserver:{nodes}:leases")
    return [f"{leases} nodes of {len(fleet.members)}"] if leases != len(fleet.members) else []


async def _everlasting(client: Any) -> list[str]:
    return [key.decode() async for key in client.scan_iter("*") if await client.pttl(key) == -1]


async def _held(fleet: Fleet, before: dict[str, Holdings]) -> list[str]:
    """Descriptors and tasks that a process has more of than before."""
    found = []
    for name, now in (await holdings(fleet)).items():
        descriptors = now.descriptors - before[name].descriptors
        if 0 < descriptors["redis"] <= MORE_LINKS * len(fleet.store.nodes):
            del descriptors["redis"]
        found += [f"{name} has {n} more of {what} open" for what, n in descriptors.items()]
        tasks = now.tasks - before[name].tasks
        found += [f"{name} has {n} more of the task {what}" for what, n in tasks.items()]
        if not now.tasks:
            found.append(f"{name} does not say which tasks it has")
    return found


async def _metrics(member: Member) -> str:
    def get() -> str:
        with urlopen(f"http://{member.host}:{member.port}/metrics", timeout=10) as reply:
            text: str = reply.read().decode()
            return text

    return await asyncio.to_thread(get)


def _value(text: str, name: str) -> float:
    """The sum of a series, over all labels that are not given."""
    pattern = re.escape(name) + r"(?:\{[^}]*\})? (\S+)$"
    return sum(float(value) for value in re.findall("^" + pattern, text, re.M))
