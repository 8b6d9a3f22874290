"""The session store on Redis.

Decides which script does what, and pages through lists. Each step is one script and so atomic;
none looks through the key space (KEYS, SCAN) but `all_sessions`, which is for tools. The layout
of the keys is told in `keys`. A session past its time is invisible to every step at once, by the
sorted set of expiries; its space is freed when its owner is next seen, or by Redis itself an
hour later.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Any

from wsserver.core.sessions.model import (
    Bounds,
    Branch,
    Changes,
    Link,
    Message,
    Session,
    SessionPage,
)
from wsserver.core.sessions.store import (
    MessageNotFound,
    SessionNotFound,
    TakenUp,
    TooManySessions,
    TooMuchText,
)
from wsserver.core.wallclock import wall_ms
from wsserver.stores.redis.fields import (
    message_fields,
    message_of,
    metadata_text,
    session_fields,
    session_of,
)
from wsserver.stores.redis.keys import LISTS, owner_keys, session_keys
from wsserver.stores.redis.link import RedisLink

SEARCHED_AT_ONCE, SEARCHED_AT_MOST = 50, 500
"""Sessions looked through in one round trip, and for one page; a further page goes on."""

FIRST = "+inf"
"""The place before the first session of a list."""


class RedisSessionStore:
    """Sessions in one Redis or one cluster. Open with `RedisSessionStore.open`.

    Args:
        link: The way there, closed with the store.
        bounds: The caps and the TTL.
        clock: The time of day in milliseconds.
    """

    def __init__(self, link: RedisLink, bounds: Bounds, clock: Callable[[], int] = wall_ms) -> None:
        self._link = link
        self._bounds = bounds
        self._clock = clock
        self._ttl = round(bounds.ttl * 1000)

    @classmethod
    def open(
        cls, url: str, bounds: Bounds, clock: Callable[[], int] = wall_ms
    ) -> RedisSessionStore:
        """A store at ``url``. Nothing is asked of it yet.

        Raises:
            ValueError: If the URL is none of Redis.
        """
        return cls(RedisLink.open(url), bounds, clock)

    async def ping(self) -> None:
        """Ask whether Redis is there.

        Raises:
            StoreUnavailable: If it is not.
        """
        await self._link.ping()

    async def create(self, session: Session) -> tuple[Session, bool]:
        owner, session_id = session.owner, session.session_id
        fields = session_fields(session)
        args = [self._bounds.max_sessions, owner, *fields]
        await self._free_expired(owner)
        reply = await self._run("create", owner, session_id, *args)
        return session_of(owner, session_id, reply), reply[0] == b"ok"

    async def get(self, owner: str, session_id: str) -> Session:
        return session_of(owner, session_id, await self._run("get", owner, session_id))

    async def update(self, owner: str, session_id: str, changes: Changes, now: int) -> Session:
        given: dict[str, str | None] = {
            "title": changes.title,
            "system_prompt": changes.system_prompt,
            "model": changes.model,
        }
        if changes.metadata is not None:
            given["metadata"] = metadata_text(changes.metadata) or ""
        flat = [part for item in given.items() if item[1] is not None for part in item]
        reply = await self._run("update", owner, session_id, now, *flat)
        return session_of(owner, session_id, reply)

    async def list_sessions(
        self, owner: str, *, cursor: str | None, limit: int, query: str | None
    ) -> SessionPage:
        place = FIRST if cursor is None else str(int(cursor))
        await self._free_expired(owner)
        if query is None:
            entries = await self._entries(owner, place, limit + 1)
            page = entries[:limit]
            more = page[-1][1] if len(entries) > limit else None
            return SessionPage(await self._described(owner, [e[0] for e in page]), more)
        return await self._search(owner, place, limit, query)

    async def append(
        self,
        owner: str,
        session_id: str,
        messages: Sequence[Message],
        now: int,
        *,
        title: str | None = None,
        after_newest: bool = False,
    ) -> Session:
        bounds = self._bounds
        args: list[Any] = [now, title or "", int(after_newest)]
        args += [bounds.max_session_bytes, bounds.max_owner_bytes]
        for message in messages:
            args += [message.message_id, message.parent_id or "", *message_fields(message)]
        reply = await self._run("append", owner, session_id, *args)
        return session_of(owner, session_id, reply)

    async def revise(
        self,
        owner: str,
        session_id: str,
        message: Message,
        *,
        instead_of: Collection[str] | None = None,
    ) -> None:
        args = [message.message_id, *message_fields(message)]
        fence = () if instead_of is None else ("fenced", *instead_of)
        await self._run("revise", owner, session_id, *args, *fence)

    async def branch(
        self,
        owner: str,
        session_id: str,
        *,
        end: str | None = None,
        limit: int,
        max_bytes: int = 0,
    ) -> Branch:
        reply = await self._run("branch", owner, session_id, end or "", limit, max_bytes)
        found = [message_of(row) for row in reply[2]]
        found.reverse()
        return Branch(found, bool(reply[1]))

    async def messages(
        self, owner: str, session_id: str, *, start: int, limit: int, max_bytes: int = 0
    ) -> Branch:
        reply = await self._run("messages", owner, session_id, start, limit, max_bytes)
        return Branch([message_of(row) for row in reply[2]], bool(reply[1]))

    async def links(self, owner: str, session_id: str) -> list[Link]:
        reply = await self._run("links", owner, session_id)
        return [Link(own.decode(), parent.decode() or None) for own, parent in reply[1]]

    async def find(self, owner: str, session_id: str, message_id: str) -> Message:
        return message_of((await self._run("find", owner, session_id, message_id))[1])

    async def find_stream(self, owner: str, stream_id: str) -> tuple[str, str] | None:
        kept = await self._link.command("HGET", owner_keys(owner)[4], stream_id)
        if kept is None:
            return None
        session_id, message_id = json.loads(kept)
        try:
            await self.find(owner, session_id, message_id)
        except (SessionNotFound, MessageNotFound):
            return None
        return session_id, message_id

    async def clear(self, owner: str, session_id: str, now: int) -> None:
        await self._run("clear", owner, session_id, now)

    async def delete(self, owner: str, session_id: str) -> None:
        await self._run("delete", owner, session_id, 0)

    async def delete_owner(self, owner: str) -> int:
        count, place = 0, FIRST
        while entries := await self._entries(owner, place, 100):
            for session_id, place in entries:  # noqa: B007  # the last place is where to go on
                try:
                    await self.delete(owner, session_id)
                    count += 1
                except SessionNotFound:
                    continue
        return count

    async def expire(self) -> int:
        return 0  # Redis frees what is past its time by itself

    async def all_sessions(self) -> AsyncIterator[Session]:
        async for key in self._link.scan(LISTS):
            name = key.decode().removesuffix("list") + "owner"
            owner = await self._link.command("HGET", name, "owner")
            ids = await self._link.command("ZRANGE", key, 0, -1)
            for start in range(0, len(ids) if owner else 0, 100):
                wanted = [sid.decode() for sid in ids[start : start + 100]]
                for session in await self._described(owner.decode(), wanted):
                    yield session

    async def close(self) -> None:
        await self._link.close()

    async def _run(self, name: str, owner: str, session_id: str, *args: Any) -> list[Any]:
        keys = session_keys(owner, session_id)
        args = (self._clock(), self._ttl, session_id, *args)
        reply: list[Any] = await self._link.call(f"sessions/{name}", keys, args)
        match reply[0]:
            case b"ok" | b"exists":
                return reply
            case b"none":
                raise SessionNotFound(session_id)
            case b"no message":
                raise MessageNotFound(reply[1].decode())
            case b"taken up":
                raise TakenUp
            case b"full":
                raise TooManySessions(reply[1])
            case b"session full" | b"owner full":
                raise TooMuchText(reply[1], is_session=reply[0] == b"session full")
            case _:
                raise AssertionError(f"{name} answered {reply[0]!r}")

    async def _entries(self, owner: str, place: str, limit: int) -> list[tuple[str, str]]:
        """Ids of sessions after ``place`` in the owner's list, each with its place."""
        args = (self._clock(), self._ttl, "", place, limit)
        reply = await self._link.call("sessions/list", owner_keys(owner), args)
        return [(session_id.decode(), at.decode()) for session_id, at in reply[1]]

    async def _described(self, owner: str, ids: list[str]) -> list[Session]:
        """Sessions by their ids, those left out that have gone meanwhile. No use of them."""
        link, keys = self._link, [session_keys(owner, session_id) for session_id in ids]
        replies = await asyncio.gather(
            *(link.command("HGETALL", key[5]) for key in keys),
            *(link.command("LLEN", key[9]) for key in keys),
            *(link.command("HGET", key[3], sid) for key, sid in zip(keys, ids, strict=True)),
            *(link.command("LINDEX", key[9], -1) for key in keys),
        )
        rows = zip(
            ids, *(replies[n * len(ids) : (n + 1) * len(ids)] for n in range(4)), strict=True
        )
        return [
            session_of(
                owner, session_id, [b"ok", _flat(fields), count, size or b"0", newest or b""]
            )
            for session_id, fields, count, size, newest in rows
            if fields
        ]

    async def _search(self, owner: str, place: str, limit: int, query: str) -> SessionPage:
        found: list[str] = []
        looked = 0
        while looked < SEARCHED_AT_MOST:
            entries = await self._entries(owner, place, SEARCHED_AT_ONCE)
            now = self._clock()
            hits = await asyncio.gather(
                *(
                    self._link.call(
                        "sessions/search", session_keys(owner, sid), (now, self._ttl, sid, query)
                    )
                    for sid, _ in entries
                )
            )
            for (session_id, place), hit in zip(entries, hits, strict=True):
                looked += 1
                if hit[1]:
                    found.append(session_id)
                if len(found) == limit:
                    return SessionPage(await self._described(owner, found), place)
            if len(entries) < SEARCHED_AT_ONCE:
                return SessionPage(await self._described(owner, found), None)
        return SessionPage(await self._described(owner, found), place)

    async def _free_expired(self, owner: str) -> None:
        """Take what is past its time out of the owner's list, caps and memory."""
        key, now = owner_keys(owner)[1], self._clock()
        due = await self._link.command("ZRANGEBYSCORE", key, "-inf", f"({now}", "LIMIT", 0, 100)
        for session_id in due:
            await self._run("delete", owner, session_id.decode(), 1)


def _flat(fields: dict[bytes, bytes]) -> list[bytes]:
    """Names and values by turns, as scripts give them."""
    return [part for field in fields.items() for part in field]
