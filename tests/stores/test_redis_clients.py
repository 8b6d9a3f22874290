"""Clients that go from one gateway to another, and those whose gateway has died."""

from __future__ import annotations

import asyncio

import pytest

from wsserver.core.clients import Client, token_digest, token_for
from wsserver.core.identity import Identity
from wsserver.core.shared.clients import ClientState, Taken
from wsserver.stores.redis import RedisClients, RedisLink
from wsserver.stores.redis.clients import _key, _set_key

ALICE = Identity.named("alice", "Alice", "10.0.0.1")


class Someone:
    """A client and its newest token, as it has them itself."""

    def __init__(self) -> None:
        self.client = Client("10.0.0.1")
        self.client.identity = ALICE
        self.client.room_ids = ["lobby"]
        self.id = self.client.client_id
        self.token = token_for(self.id)
        self.client.tokens = [token_digest(self.token)]

    def state(self) -> ClientState:
        return ClientState.of(self.client)


@pytest.fixture
def first(link: RedisLink) -> RedisClients:
    return RedisClients(link, "nod_1")


@pytest.fixture
def second(link: RedisLink) -> RedisClients:
    return RedisClients(link, "nod_2")


async def taken(clients: RedisClients, token: str) -> Taken:
    got = await clients.take(token)
    assert got is not None
    return got


async def let_pass(link: RedisLink, client_id: str) -> None:
    """Let a client's window be over."""
    await link.command("HSET", _key(client_id), "away", 1)


async def members(link: RedisLink, node_id: str) -> set[str]:
    return {m.decode() for m in await link.command("SMEMBERS", _set_key(node_id))}


async def test_a_client_comes_whole_to_another_gateway(
    first: RedisClients, second: RedisClients, link: RedisLink
) -> None:
    """Identity, name, rooms and work come along; the node where it was is told to be closed."""
    one = Someone()
    assert await first.save(one.state(), is_connected=True)
    got = await taken(second, one.token)
    assert got.former == "nod_1"
    assert got.state.tokens == (token_digest(one.token), token_digest(got.token))
    revived = got.state.revive()
    assert (revived.client_id, revived.identity, revived.room_ids) == (one.id, ALICE, ["lobby"])
    assert (await members(link, "nod_1"), await members(link, "nod_2")) == (set(), {one.id})


async def test_a_client_that_was_away_had_no_node(
    first: RedisClients, second: RedisClients
) -> None:
    """Nobody is closed for a client whose connection was lost before; twice is like once."""
    one = Someone()
    await first.save(one.state(), is_connected=True)
    await first.away(one.id, 60)
    got = await taken(second, one.token)
    assert got.former is None
    assert (await taken(first, got.token)).former == "nod_2"


async def test_a_token_dies_when_its_successor_is_used(
    first: RedisClients, second: RedisClients
) -> None:
    """A lost reply loses nothing: the old token works on, until one of its successors is used."""
    one = Someone()
    await first.save(one.state(), is_connected=True)
    lost = await taken(second, one.token)
    kept = await taken(first, one.token)
    after = await taken(second, kept.token)
    assert await first.take(one.token) is None
    assert await first.take(lost.token) is None
    assert await first.take(after.token) is not None


async def test_tokens_of_many_lost_replies_are_bounded(first: RedisClients) -> None:
    """Each lost reply leaves a token that is good; the oldest of them go, never the one in use."""
    one = Someone()
    await first.save(one.state(), is_connected=True)
    replies = [await taken(first, one.token) for _ in range(10)]
    assert len(replies[-1].state.tokens) == 8
    assert await first.take(replies[0].token) is None
    assert await first.take(one.token) is not None


async def test_one_of_many_takes_a_client(first: RedisClients, second: RedisClients) -> None:
    """Two connections with one token follow each other: the second one finds the first."""
    one = Someone()
    await first.save(one.state(), is_connected=False)
    await first.away(one.id, 60)
    both = await asyncio.gather(taken(first, one.token), taken(second, one.token))
    assert sorted(str(got.former) for got in both) in (["None", "nod_1"], ["None", "nod_2"])


async def test_a_take_done_twice_is_one(first: RedisClients, link: RedisLink) -> None:
    """A step that ran again because its reply was lost still names the former node."""
    one = Someone()
    await first.save(one.state(), is_connected=True)
    args = ("nod_2", one.client.tokens[0], token_digest("successor"), 8)
    replies = [await link.call("clients/take", [_key(one.id)], args) for _ in range(2)]
    assert replies[0] == replies[1]
    assert replies[0][2] == b"nod_1"


@pytest.mark.parametrize(
    "token", ["", "cli_1.x", "{}.x", "cli_" + "0" * 24, "cli_" + "0" * 24 + ".x"]
)
async def test_a_strange_token_finds_nothing(
    first: RedisClients, link: RedisLink, token: str
) -> None:
    """What is no token of ours is none, and leaves nothing behind."""
    assert await first.take(token) is None
    assert await members(link, "nod_1") == set()


async def test_a_gateway_that_lost_a_client_changes_nothing(
    first: RedisClients, second: RedisClients
) -> None:
    """What it still believes of the client is not written, and it learns of it."""
    one = Someone()
    await first.save(one.state(), is_connected=True)
    got = await taken(second, one.token)
    one.client.room_ids = []
    assert not await first.save(one.state(), is_connected=True)
    await first.away(one.id, 0)
    assert await first.gone(one.id) is None
    await first.forget(one.id)
    again = await taken(second, got.token)
    assert again.state.rooms == ("lobby",)
    assert again.former == "nod_2"


async def test_a_window_ends_once(
    first: RedisClients, second: RedisClients, link: RedisLink
) -> None:
    """Past its window nobody takes a client; what it was is known until it has been cleared."""
    one = Someone()
    await first.save(one.state(), is_connected=True)
    await first.away(one.id, 60)
    await let_pass(link, one.id)
    assert await second.take(one.token) is None
    for _ in range(2):  # whoever asked first may have died
        assert await first.gone(one.id) == one.state()
    assert not await first.save(one.state(), is_connected=True)
    await first.forget(one.id)
    assert await first.gone(one.id) is None
    assert [key async for key in link.scan("wsserver:*")] == []


async def test_clients_of_a_dead_node_have_their_window(
    first: RedisClients, second: RedisClients, link: RedisLink
) -> None:
    """From the moment its death is noticed; who comes back is not gone, who does not is."""
    back, lost = Someone(), Someone()
    for one in (back, lost):
        await first.save(one.state(), is_connected=True)
    assert await second.orphans("nod_1", 60) == ([], 2)
    assert (await taken(second, back.token)).former is None
    assert await second.orphans("nod_1", 60) == ([], 1)
    await let_pass(link, lost.id)
    assert await second.orphans("nod_1", 60) == ([lost.state()], 0)
    assert await second.orphans("nod_1", 60) == ([lost.state()], 0)  # not cleared yet
    await second.forget(lost.id)
    assert await second.orphans("nod_1", 60) == ([], 0)
    assert await members(link, "nod_1") == set()


async def test_a_node_believed_dead_keeps_its_clients(
    first: RedisClients, second: RedisClients, link: RedisLink
) -> None:
    """Those still connected when it comes back stay; those that are being given up are named.

    One that has been cleared, or that this Redis has lost, is nobody else's: it is written anew.
    """
    kept, lost, cleared = Someone(), Someone(), Someone()
    for one in (kept, lost, cleared):
        await first.save(one.state(), is_connected=True)
    await second.orphans("nod_1", 60)
    for one in (lost, cleared):
        await let_pass(link, one.id)
    await second.orphans("nod_1", 60)
    await second.forget(cleared.id)
    assert await first.refresh() == [lost.id]
    assert await link.command("HGET", _key(kept.id), "away") == b""
    assert await members(link, "nod_1") == {kept.id, cleared.id}
    assert await first.save(cleared.state(), is_connected=True)


async def test_every_key_of_a_client_ends_by_itself(first: RedisClients, link: RedisLink) -> None:
    """A client that nobody clears is gone an hour after its window, or a day after all died."""
    one = Someone()
    await first.save(one.state(), is_connected=True)
    assert 0 < await link.command("PTTL", _key(one.id)) <= 86_400_000
    assert 0 < await link.command("PTTL", _set_key("nod_1")) <= 7 * 86_400_000
    await first.away(one.id, 60)
    assert 0 < await link.command("PTTL", _key(one.id)) <= 3_660_000


async def test_a_client_that_was_gone_before_it_was_known_is_not_kept_for_ever(
    first: RedisClients, second: RedisClients, link: RedisLink
) -> None:
    """Its connection broke before its place was written: it may come back, and its key ends."""
    one = Someone()
    await first.away(one.id, 60)  # nobody knows of it yet
    assert await first.save(one.state(), is_connected=False)
    assert await link.command("PTTL", _key(one.id)) > 0
    await first.away(one.id, 60)
    assert (await taken(second, one.token)).state.client_id == one.id
