"""What must be so when everything has healed and everyone has what he asked for.

Nothing is left of what has ended: no slot, no lease, no job, no node that is not alive, no key
that would stay for ever, no descriptor or task that was not there before the storm. Whoever looks
at an answer again, through any gateway, gets the same text and end; histories have each turn once.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.request import urlopen

import redis.asyncio as redis_client

from scripts.chaos import truth
from scripts.chaos.book import Asked, Book, Frame
from scripts.chaos.client import Surroundings
from scripts.chaos.device import Device
from scripts.chaos.fleet import Fleet, Member

PATIENCE = 75.0
"""Seconds for the last lease to run out and the last of the dead to be buried."""

LOOK_EVERY = 0.5

RETAINED_SECONDS = 500.0
"""Ended answers are asked for again up to this age; the server keeps them for 600 s."""

LOOKS_A_SECOND = 25.0
"""Of one client, which may send 50 frames a second."""

COUNTED = (
    'wsserver_slots{model="m",state="busy"}',
    "wsserver_queue_depth",
    "wsserver_streams_active",
)
"""What every gateway must count none of."""

MORE_DESCRIPTORS = 12
"""How many more there may be than before the first client: connections to Redis come and go."""


async def descriptors(fleet: Fleet) -> dict[str, int]:
    """Open files and sockets of each member."""
    return {member.name: member.descriptors() for member in fleet.members}


async def watch_again(around: Surroundings, book: Book) -> None:
    """Have every answer's end told once more, from its beginning, to a new client of its user."""
    since = time.monotonic() - RETAINED_SECONDS
    by_user: dict[str, list[Asked]] = defaultdict(list)
    for asked in book.answers.values():
        # Whose asker is gone for good may still run, and would, for whoever looks at it now.
        if asked.end is not None and asked.began > since and not book.may_have_lost(asked):
            by_user[asked.user].append(asked)
    await asyncio.gather(*(_watch_all(around, user, all) for user, all in by_user.items()))


async def _watch_all(around: Surroundings, user: str, answers: list[Asked]) -> None:
    device = Device(around, user, f"{user}.audit", random.Random(user))
    try:
        for asked in answers:
            await device.watch(asked.stream_id or "")
            await asyncio.sleep(1 / LOOKS_A_SECOND)
        with suppress(TimeoutError):
            async with asyncio.timeout(20):
                for view in device.screen.views.values():
                    await view.over.wait()
        device.complain()
    finally:
        await device.close()


async def histories(around: Surroundings, book: Book) -> None:
    """Each session has each of its turns once, with the text that its asker was told."""
    turns: dict[tuple[str, str], list[Asked]] = defaultdict(list)
    for asked in book.asked.values():
        if asked.session_id is not None and asked.end is not None:
            turns[asked.user, asked.session_id].append(asked)
    await asyncio.gather(
        *(_read_history(around, user, session, all) for (user, session), all in turns.items())
    )


async def _read_history(
    around: Surroundings, user: str, session_id: str, turns: list[Asked]
) -> None:
    book = around.book
    if any(book.may_have_lost(asked) for asked in turns):
        return
    device = Device(around, user, f"{user}.reader", random.Random(user))
    messages: list[Frame] = []
    try:
        before: dict[str, Any] = {}
        while True:
            page = await device.ask("get_history", sessionId=session_id, limit=50, **before)
            if page["type"] == "error":
                book.wrong("a history can't be read", session_id, page)
                return
            messages[:0] = page["messages"]
            if not page["hasMore"]:
                break
            before = {"before": page["messages"][0]["messageId"]}
    finally:
        await device.close()
    _compare(book, turns, messages)


def _compare(book: Book, turns: list[Asked], messages: list[Frame]) -> None:
    asked_times = Counter(m["content"] for m in messages if m["role"] == "user")
    answers = {m["messageId"]: m for m in messages if m["role"] == "assistant"}
    for asked in turns:
        end = asked.end or {}
        if asked.stream_id is None or end.get("saved") is False:
            continue  # refused, or said to be missing
        if asked_times[asked.prompt] == 2:
            book.known["a question is twice in its history"] += 1
        elif asked_times[asked.prompt] != 1:
            book.wrong(f"a question is {asked_times[asked.prompt]} times in its history", asked)
        answer = answers.get(asked.message_id or "")
        if answer is None:
            book.wrong("an answer is missing in its history", asked)
            continue
        said = answer["content"].encode()
        book.bytes_compared += len(said)
        if said != truth.text(1, 0, end.get("offset") or 0):
            book.wrong("a history has another text", asked, answer)
        if answer.get("streamId") is not None:
            book.wrong("a history says that an ended answer is being made", asked, answer)


async def nothing_is_left(fleet: Fleet, book: Book, before: dict[str, int]) -> None:
    """Wait until nothing is left; what is in the end is a violation."""
    client = redis_client.Redis(host="127.0.0.1", port=fleet.redis.port or 0)
    checks: list[Callable[[], Awaitable[list[str]]]] = [
        lambda: _busy(fleet),
        lambda: _work(client),
        lambda: _nodes(client, fleet),
        lambda: _descriptors(fleet, before),
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


async def _work(client: redis_client.Redis) -> list[str]:
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


async def _nodes(client: redis_client.Redis, fleet: Fleet) -> list[str]:
    """Nodes that are not buried, beyond one for each process."""
    leases = await client.zcard("wsserver:{nodes}:leases")
    return [f"{leases} nodes of {len(fleet.members)}"] if leases != len(fleet.members) else []


async def _everlasting(client: redis_client.Redis) -> list[str]:
    return [key.decode() async for key in client.scan_iter("*") if await client.pttl(key) == -1]


async def _descriptors(fleet: Fleet, before: dict[str, int]) -> list[str]:
    now = await descriptors(fleet)
    return [
        f"{name} has {count} descriptors, {before[name]} before"
        for name, count in now.items()
        if count > before[name] + MORE_DESCRIPTORS
    ]


async def _metrics(member: Member) -> str:
    def get() -> str:
        with urlopen(f"http://127.0.0.1:{member.port}/metrics", timeout=10) as reply:
            text: str = reply.read().decode()
            return text

    return await asyncio.to_thread(get)


def _value(text: str, name: str) -> float:
    """The sum of a series, over all labels that are not given."""
    pattern = re.escape(name) + r"(?:\{[^}]*\})? (\S+)$"
    return sum(float(value) for value in re.findall("^" + pattern, text, re.M))
