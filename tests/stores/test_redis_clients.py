"""Clients that go from one gateway to another, and those whose gateway has died."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.waiting import eventually_so
from wsserver.core.clients import Client, token_digest, token_for
from wsserver.core.identity import Identity
from wsserver.core.shared.clients import ClientState, Standing, Taken
from wsserver.stores.redis import RedisClients, RedisLink
from wsserver.stores.redis.clients import _key, _set_key
from wsserver.stores.redis.nodes import KEYS as NODES

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
    return RedisClients(link, "nod_1", 60.0)


@pytest.fixture
def second(link: RedisLink) -> RedisClients:
    return RedisClients(link, "nod_2", 60.0)


def ours(standing: Standing) -> bool:
    return standing is Standing.OURS


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
    assert ours(await first.save(one.state(), is_connected=True))
    got = await taken(second, one.token)
    assert got.former == "nod_1"
    assert got.state.tokens == (token_digest(one.token), token_digest(got.token))
    revived = got.state.revive()
    assert (revived.client_id, revived.identity, revived.room_ids) == (one.id, ALICE, ["lobby"])
    await first.left(one.id, 0)
    assert (await members(link, "nod_1"), await members(link, "nod_2")) == (set(), {one.id})


async def test_a_client_that_was_away_had_a_node(first: RedisClients, second: RedisClients) -> None:
    """Where its window runs, and its seats in rooms are, until that node hears of its return."""
    one = Someone()
    await first.save(one.state(), is_connected=True)
    await first.away(one.id, 0, 60)
    got = await taken(second, one.token)
    assert got.former == "nod_1"
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
    await first.away(one.id, 0, 60)
    both = await asyncio.gather(taken(first, one.token), taken(second, one.token))
    assert sorted(got.former for got in both) in (["nod_1", "nod_1"], ["nod_1", "nod_2"])


async def test_a_take_done_twice_is_one(first: RedisClients, link: RedisLink) -> None:
    """A step that ran again because its reply was lost still names the former node."""
    one = Someone()
    await first.save(one.state(), is_connected=True)
    args = ("nod_2", one.client.tokens[0], token_digest("successor"), 8)
    replies = [await link.call("clients/take", [_key(one.id)], args) for _ in range(2)]
    assert replies[0] == replies[1]
    assert replies[0][3:] == [b"nod_1", b"0"]


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
    assert not ours(await first.save(one.state(), is_connected=True))
    await first.away(one.id, 0, 0)
    assert await first.gone(one.id, 0) is None
    await first.forget(one.id)
    again = await taken(second, got.token)
    assert again.state.rooms == ("lobby",)
    assert again.former == "nod_2"


async def test_a_window_ends_once(
    first: RedisClients, second: RedisClients, link: RedisLink
) -> None:
    """Once a client is given up nobody takes it; what it was is known until it has been cleared."""
    one = Someone()
    await first.save(one.state(), is_connected=True)
    await first.away(one.id, 0, 60)
    for _ in range(2):  # whoever asked first may have died
        assert await first.gone(one.id, 0) == one.state()
    assert await second.take(one.token) is None
    assert not ours(await first.save(one.state(), is_connected=True))
    await first.forget(one.id)
    assert await first.gone(one.id, 0) is None
    assert [key async for key in link.scan("wsserver:*")] == []


async def test_clients_of_a_dead_node_have_their_window(
    first: RedisClients, second: RedisClients, link: RedisLink
) -> None:
    """From the moment its death is noticed; who comes back is not gone, who does not is."""
    back, lost = Someone(), Someone()
    for one in (back, lost):
        await first.save(one.state(), is_connected=True)
    assert await second.orphans("nod_1", 60) == ([], 2)
    assert (await taken(second, back.token)).former == "nod_1"
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
    states = [one.state() for one in (kept, lost, cleared)]
    found = await first.refresh(states)
    assert found == [Standing.OURS, Standing.GIVEN_UP, Standing.STALE]
    assert await link.command("HGET", _key(kept.id), "away") == b""
    assert await members(link, "nod_1") == {kept.id, cleared.id}
    assert ours(await first.save(cleared.state(), is_connected=True))


async def test_every_key_of_a_client_ends_by_itself(first: RedisClients, link: RedisLink) -> None:
    """A client that nobody clears is gone an hour after its window, or a day after all died."""
    one = Someone()
    await first.save(one.state(), is_connected=True)
    assert 0 < await link.command("PTTL", _key(one.id)) <= 86_400_000
    assert 0 < await link.command("PTTL", _set_key("nod_1")) <= 7 * 86_400_000
    await first.away(one.id, 0, 60)
    assert 0 < await link.command("PTTL", _key(one.id)) <= 3_660_000


async def test_a_client_that_was_gone_before_it_was_known_is_not_kept_for_ever(
    first: RedisClients, second: RedisClients, link: RedisLink
) -> None:
    """Its connection broke before its place was written: it may come back, and its key ends."""
    one = Someone()
    await first.away(one.id, 0, 60)  # nobody knows of it yet
    assert ours(await first.save(one.state(), is_connected=False))
    assert await link.command("PTTL", _key(one.id)) > 0
    await first.away(one.id, 0, 60)
    assert (await taken(second, one.token)).state.client_id == one.id


async def test_a_take_that_redis_has_lost_is_no_other_s(
    first: RedisClients, second: RedisClients, link: RedisLink
) -> None:
    """A client comes back, Redis forgets that, and it comes back elsewhere: what is said of the one
    is not said of the other, and the later one counts."""
    one = Someone()
    await first.save(one.state(), is_connected=True)
    before = await link.command("DUMP", _key(one.id))
    lost = await taken(first, one.token)
    await link.command("RESTORE", _key(one.id), 60_000, before, "REPLACE")

    async def is_later() -> bool:  # a millisecond at least: a Redis takes longer to come back
        seconds, more = (await link.everywhere("TIME"))[0]
        return int(seconds) * 1000 + int(more) // 1000 > lost.state.takes

    await eventually_so(is_later)
    last = await taken(second, one.token)
    assert lost.state.takes < last.state.takes
    assert await first.save(lost.state, is_connected=True) is Standing.TAKEN
    await first.away(one.id, lost.state.takes, 0)
    assert await second.save(last.state, is_connected=True) is Standing.OURS


async def test_what_is_said_of_an_earlier_time_does_not_count(
    first: RedisClients, second: RedisClients, link: RedisLink
) -> None:
    """A client goes away, elsewhere, and comes back: what its node had asked for before, and Redis
    does only now, changes nothing."""
    one = Someone()
    await first.save(one.state(), is_connected=True)
    there = await taken(second, one.token)
    back = await taken(first, there.token)
    assert (there.before, back.before) == (0, there.state.takes)
    for takes in (0, there.state.takes):
        await first.away(one.id, takes, 0)
        assert await first.gone(one.id, takes) is None
    assert await first.save(one.state(), is_connected=False) is Standing.TAKEN
    assert await link.command("HGET", _key(one.id), "away") == b""
    assert await members(link, "nod_1") == {one.id}
    assert await first.save(back.state, is_connected=True) is Standing.OURS
    assert await first.refresh([back.state]) == [Standing.OURS]
    assert (await taken(second, back.token)).former == "nod_1"


async def test_a_take_whose_reply_never_came_leaves_nobody_behind(
    first: RedisClients, second: RedisClients, link: RedisLink
) -> None:
    """Redis did it: the client is away there. Redis does it later: it does nothing any more."""
    done, late = Someone(), Someone()
    for one in (done, late):
        await first.save(one.state(), is_connected=True)
    for one, steps in ((done, ("take", "undo")), (late, ("undo", "take"))):
        successor = token_digest(f"lost {one.id}")
        args: dict[str, tuple[str | int, ...]] = {
            "take": ("nod_2", one.client.tokens[0], successor, 8),
            "undo": (successor, "nod_2", 60_000, 8),
        }
        for step in steps:
            await link.call(f"clients/{step}", [_key(one.id)], args[step])
    assert await link.command("HGET", _key(done.id), "node") == b"nod_2"
    assert await link.command("HGET", _key(done.id), "away") != b""
    assert await link.command("HMGET", _key(late.id), "node", "away") == [b"nod_1", b""]
    for one in (done, late):
        assert (await taken(second, one.token)).state.client_id == one.id


async def test_a_late_reaper_takes_nothing_from_a_node_that_lives(
    first: RedisClients, second: RedisClients, link: RedisLink
) -> None:
    """It saw that the node was dead, stood still, and goes on when the node has long been back and
    has said whom it has."""
    one = Someone()
    await first.save(one.state(), is_connected=True)
    args = ("nod_1", 60_000)
    now = await link.call("nodes/over", NODES, ("nod_1",))
    await first.refresh([one.state()])
    assert await link.call("clients/orphan", [_key(one.id)], (*args, now - 1)) == 1
    assert await link.command("HGET", _key(one.id), "away") == b""
    await link.call("nodes/beat", NODES, ("nod_1", 60_000))
    assert await second.orphans("nod_1", 60) == ([], 1)
    assert await link.command("HGET", _key(one.id), "away") == b""


async def test_a_redis_that_lost_its_last_second_is_told_again(
    first: RedisClients, second: RedisClients, link: RedisLink
) -> None:
    """It knows the client as it was before its last return, or not at all: whoever has it says so,
    and its newest token is good."""
    one, gone = Someone(), Someone()
    for each in (one, gone):
        await second.save(each.state(), is_connected=True)
    before = await link.command("DUMP", _key(one.id))
    got = [await taken(first, each.token) for each in (one, gone)]
    await link.command("RESTORE", _key(one.id), 0, before, "REPLACE")
    await link.command("DEL", _key(gone.id))
    states = [each.state for each in got]
    assert await first.refresh(states) == [Standing.STALE] * 2
    for state, token in zip(states, [each.token for each in got], strict=True):
        assert await first.save(state, is_connected=True) is Standing.OURS
        assert (await taken(second, token)).former == "nod_1"
