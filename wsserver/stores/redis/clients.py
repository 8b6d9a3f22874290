"""Clients over all processes: any gateway can take a client's place up again.

| key | type | holds |
|---|---|---|
| ``wsserver:{c:<clientId>}`` | hash | see below |
| ``wsserver:{n:<nodeId>}:clients`` | set | clientIds that are, or were once, on the node |

A client's hash has ``state`` (`ClientState` as MessagePack), ``tokens`` (digests), ``node``,
``away`` (the end of its window in ms of Redis' clock; empty while it is connected), ``former``
(where it was connected before the last take) and ``gone``. A resume token names its client, so
nothing leads from tokens to clients. A node's set may hold too much and is compared with the
clients; it never holds too little, since a client enters it before it becomes the node's.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence

import msgspec

from wsserver.core.clients import MAX_TOKENS, token_digest, token_for, token_owner
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.shared.clients import ClientState, Taken
from wsserver.stores.redis.link import RedisLink

KEEP_SECONDS = 6 * 3600.0
"""Between two times that a node says of all its clients that they are connected."""

SET_MS = 7 * 86_400_000
"""For a node's set of clients, should nobody ever clear it."""

AT_ONCE = 500
"""Clients that are gone through in one step, so that thousands do not hold up everything else."""

CLIENT_ID = re.compile(r"cli_[0-9a-f]{24}")
"""What stands before the point of a token of ours; anything else is no key to look under."""

log = logging.getLogger(__name__)

_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(ClientState).decode


class RedisClients:
    """The clients of one node, and how it takes others' over. Methods raise `StoreUnavailable`.

    Args:
        link: The Redis.
        node_id: This node.
    """

    def __init__(self, link: RedisLink, node_id: str) -> None:
        self._link = link
        self._node_id = node_id
        self._entered: set[str] = set()  # in this node's set
        self._connected: set[str] = set()

    async def save(self, state: ClientState, *, is_connected: bool) -> bool:
        client_id = state.client_id
        if is_connected:
            self._connected.add(client_id)
        await self._enter(client_id)
        args = (self._node_id, _encode(state), " ".join(state.tokens), int(is_connected))
        is_ours: int = await self._link.call("clients/save", [_key(client_id)], args)
        if not is_ours:
            await self._leave(self._node_id, client_id)
        return bool(is_ours)

    async def take(self, token: str) -> Taken | None:
        client_id = token_owner(token)
        if not CLIENT_ID.fullmatch(client_id):
            return None
        successor = token_for(client_id)
        was_here = client_id in self._entered
        await self._enter(client_id)
        args = (self._node_id, token_digest(token), token_digest(successor), MAX_TOKENS)
        reply = await self._link.call("clients/take", [_key(client_id)], args)
        if reply is None:
            if not was_here:
                await self._leave(self._node_id, client_id)
            return None
        self._connected.add(client_id)
        former = reply[2].decode() or None
        if former is not None and former != self._node_id:
            await self._leave(former, client_id)
        return Taken(_state(reply), successor, former)

    async def away(self, client_id: str, window: float) -> None:
        self._connected.discard(client_id)
        args = (self._node_id, round(window * 1000))
        await self._link.call("clients/away", [_key(client_id)], args)

    async def gone(self, client_id: str) -> ClientState | None:
        reply = await self._link.call("clients/gone", [_key(client_id)], (self._node_id,))
        if reply is None:
            await self._leave(self._node_id, client_id)
            return None
        return _state(reply)

    async def forget(self, client_id: str) -> None:
        await self._link.call("clients/forget", [_key(client_id)], (self._node_id,))
        await self._leave(self._node_id, client_id)

    async def orphans(self, node_id: str, window: float) -> tuple[list[ClientState], int]:
        members = await self._link.command("SMEMBERS", _set_key(node_id))
        ids = [member.decode() for member in members]
        gone: list[ClientState] = []
        left = 0
        args = (node_id, round(window * 1000))
        for start in range(0, len(ids), AT_ONCE):
            some = ids[start : start + AT_ONCE]
            asked = (self._link.call("clients/orphan", [_key(one)], args) for one in some)
            replies = await asyncio.gather(*asked)
            gone += [_state(reply) for reply in replies if isinstance(reply, list)]
            left += sum(reply == 1 for reply in replies)
            strays = [one for one, reply in zip(some, replies, strict=True) if reply == 0]
            if strays:
                await self._link.command("SREM", _set_key(node_id), *strays)
        return gone, left

    async def keep(self) -> None:
        """Say for ever, every few hours, that this node's clients are connected. Never raises."""
        while True:
            await asyncio.sleep(KEEP_SECONDS)
            try:
                await self.refresh()  # who has lost a client learns it at his next save
            except StoreUnavailable as error:
                log.warning("clients could not be kept known: %s", error)

    async def refresh(self) -> list[str]:
        lost: list[str] = []
        ids, key = list(self._connected), _set_key(self._node_id)
        for start in range(0, len(ids), AT_ONCE):
            some = ids[start : start + AT_ONCE]
            await self._link.command("SADD", key, *some)
            asked = (self._link.call("clients/keep", [_key(i)], (self._node_id,)) for i in some)
            replies = await asyncio.gather(*asked)
            lost += [one for one, is_ours in zip(some, replies, strict=True) if not is_ours]
        await self._link.command("PEXPIRE", key, SET_MS)
        for client_id in lost:
            await self._leave(self._node_id, client_id)
        return lost

    async def _enter(self, client_id: str) -> None:
        if client_id in self._entered:
            return
        key = _set_key(self._node_id)
        await asyncio.gather(
            self._link.command("SADD", key, client_id),
            self._link.command("PEXPIRE", key, SET_MS),
        )
        self._entered.add(client_id)

    async def _leave(self, node_id: str, client_id: str) -> None:
        if node_id == self._node_id:
            self._entered.discard(client_id)
            self._connected.discard(client_id)
        await self._link.command("SREM", _set_key(node_id), client_id)


def _state(reply: Sequence[bytes]) -> ClientState:
    """A client's state, with the tokens as they are by now."""
    tokens = tuple(reply[1].decode().split())
    return msgspec.structs.replace(_decode(reply[0]), tokens=tokens)


def _key(client_id: str) -> str:
    return f"wsserver:{{c:{client_id}}}"


def _set_key(node_id: str) -> str:
    return f"wsserver:{{n:{node_id}}}:clients"
