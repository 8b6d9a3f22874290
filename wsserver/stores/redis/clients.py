"""Clients over all processes: any gateway can take a client's place up again.

| key | type | holds |
|---|---|---|
| ``wsserver:{c:<clientId>}`` | hash | see below |
| ``wsserver:{n:<nodeId>}:clients`` | set | clientIds that are, or were once, on the node |

A client's hash has ``state`` (`ClientState` as MessagePack), ``tokens`` (digests), ``node``,
``takes`` (the number of its last take: a time in ms), ``before`` (that of the one before), ``away``
(the end of its window in ms of Redis' clock; empty while it is connected), ``said`` (when it was
last said to be), ``former`` (the node that had it before the last take), ``barred`` (successors
of takes that shall not happen any more) and ``gone``. Until it is gone it may come back: its window
is ended by the node that has it or, should that have died, by whoever reaps; by neither where Redis
was away a moment ago. A resume token names its client, so nothing leads from tokens to clients. A
node's set may hold too much and is compared with the clients; it never holds too little, since a
client enters it before it becomes the node's.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Sequence

import msgspec

from wsserver.core.clients import MAX_TOKENS, token_digest, token_for, token_owner
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.shared.clients import ClientState, Standing, Taken
from wsserver.stores.redis.link import RedisLink
from wsserver.stores.redis.nodes import KEYS as NODES

SET_MS = 7 * 86_400_000
"""For a node's set of clients, should nobody ever clear it."""

AT_ONCE = 200
"""Clients that are gone through in one step, so that thousands do not hold up everything else."""

PATIENCE_SECONDS = 5.0
"""After Redis was away nobody is given up for so long: who could not come back meanwhile does so
first. It is more than the ``retryAfter`` that they were told."""

CLIENT_ID = re.compile(r"cli_[0-9a-f]{24}")
"""What stands before the point of a token of ours; anything else is no key to look under."""

_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(ClientState).decode


class RedisClients:
    """The clients of one node, and how it takes others' over. Methods raise `StoreUnavailable`.

    Args:
        link: The Redis.
        node_id: This node.
        window: Seconds for which a client's place is kept that a take has left here unknown.

    Attributes:
        on_stranded: Called with such a client, once it is known that it is here.
    """

    def __init__(self, link: RedisLink, node_id: str, window: float) -> None:
        self._link = link
        self._node_id = node_id
        self._window_ms = round(window * 1000)
        self._takes: dict[str, int] = {}  # of the clients in this node's set
        self._patient_until = 0.0
        self.on_stranded: Callable[[ClientState], None] = _nothing
        link.on_up.append(self._be_patient)

    async def save(self, state: ClientState, *, is_connected: bool) -> Standing:
        client_id, takes = state.client_id, state.takes
        await self._enter(client_id, takes)
        tokens = " ".join(state.tokens)
        args = (self._node_id, _encode(state), tokens, takes, int(is_connected))
        standing = Standing(await self._link.call("clients/save", [_key(client_id)], args))
        if standing is not Standing.OURS:
            await self.left(client_id, takes)
        return standing

    async def take(self, token: str) -> Taken | None:
        client_id = token_owner(token)
        if not CLIENT_ID.fullmatch(client_id):
            return None
        successor = token_for(client_id)
        key, was_here = _key(client_id), client_id in self._takes
        await self._enter(client_id, 0)
        args = (self._node_id, token_digest(token), token_digest(successor), MAX_TOKENS)
        try:
            reply = await self._link.call("clients/take", [key], args)
        except StoreUnavailable:
            self._undo(client_id, successor)
            raise
        if reply is None:
            if not was_here:
                await self.left(client_id, 0)
            return None
        state = _state(reply)
        await self._enter(client_id, state.takes)  # it may have been found to have left meanwhile
        return Taken(state, successor, reply[3].decode(), int(reply[4]))

    async def away(self, client_id: str, takes: int, window: float) -> None:
        args = (self._node_id, takes, round(window * 1000))
        await self._link.call("clients/away", [_key(client_id)], args)

    async def left(self, client_id: str, takes: int) -> None:
        # Only the node itself knows whether it has come back since.
        if self._takes.get(client_id, 0) <= takes:
            self._takes.pop(client_id, None)
            await self._link.command("SREM", _set_key(self._node_id), client_id)

    async def gone(self, client_id: str, takes: int) -> ClientState | None:
        args = (self._node_id, takes)
        await self._patience()
        reply = await self._link.call("clients/gone", [_key(client_id)], args)
        if reply is None:
            await self.left(client_id, takes)
            return None
        return _state(reply)

    async def is_known(self, client_id: str) -> bool:
        return bool(await self._link.command("EXISTS", _key(client_id)))

    async def forget(self, client_id: str) -> None:
        await self._link.call("clients/forget", [_key(client_id)], (self._node_id,))
        self._takes.pop(client_id, None)
        await self._link.command("SREM", _set_key(self._node_id), client_id)

    async def refresh(self, states: Sequence[ClientState]) -> list[Standing]:
        found: list[Standing] = []
        key, ids = _set_key(self._node_id), list(self._takes)
        for start in range(0, len(ids), AT_ONCE):
            await self._link.command("SADD", key, *ids[start : start + AT_ONCE])
        await self._link.command("PEXPIRE", key, SET_MS)
        for start in range(0, len(states), AT_ONCE):
            some = states[start : start + AT_ONCE]
            found += map(Standing, await asyncio.gather(*(self._keep(state) for state in some)))
        for state, standing in zip(states, found, strict=True):
            if standing in (Standing.TAKEN, Standing.GIVEN_UP):
                await self.left(state.client_id, state.takes)
        return found

    async def orphans(self, node_id: str, window: float) -> tuple[list[ClientState], int]:
        await self._patience()
        # Whoever asks may have stood still since he saw that the node was dead.
        seen_dead = await self._link.call("nodes/over", NODES, (node_id,))
        if not seen_dead:
            return [], 1
        members = await self._link.command("SMEMBERS", _set_key(node_id))
        ids = [member.decode() for member in members]
        gone: list[ClientState] = []
        left = 0
        args = (node_id, round(window * 1000), seen_dead)
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

    def _undo(self, client_id: str, successor: str) -> None:
        args = (token_digest(successor), self._node_id, self._window_ms, MAX_TOKENS)
        self._link.insist("clients/undo", [_key(client_id)], args, self._undone)

    def _undone(self, reply: Sequence[bytes] | None) -> None:
        if reply is not None:
            self.on_stranded(_state(reply))

    def _be_patient(self) -> None:
        self._patient_until = asyncio.get_running_loop().time() + PATIENCE_SECONDS

    async def _patience(self) -> None:
        if (rest := self._patient_until - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(rest)

    async def _keep(self, state: ClientState) -> int:
        seen = hashlib.sha1(_encode(state), usedforsecurity=False).hexdigest()
        args = (self._node_id, state.takes, seen)
        standing: int = await self._link.call("clients/keep", [_key(state.client_id)], args)
        return standing

    async def _enter(self, client_id: str, takes: int) -> None:
        is_known = client_id in self._takes
        if not is_known:
            key = _set_key(self._node_id)
            await asyncio.gather(
                self._link.command("SADD", key, client_id),
                self._link.command("PEXPIRE", key, SET_MS),
            )
        self._takes[client_id] = max(takes, self._takes.get(client_id, 0))


def _nothing(state: ClientState) -> None:
    pass


def _state(reply: Sequence[bytes]) -> ClientState:
    """A client's state, with its tokens and takes as they are by now."""
    tokens = tuple(reply[1].decode().split())
    return msgspec.structs.replace(_decode(reply[0]), tokens=tokens, takes=int(reply[2]))


def _key(client_id: str) -> str:
    return f"wsserver:{{c:{client_id}}}"


def _set_key(node_id: str) -> str:
    return f"wsserver:{{n:{node_id}}}:clients"
