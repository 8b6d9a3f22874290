"""Clients of two gateways that go from one to the other faster than these hear of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest

from tests.support.waiting import eventually
from wsserver.core.ask import Answer, Ask
from wsserver.core.clients import MAX_TOKENS, Attached, Client, token_digest, token_for
from wsserver.core.ids import new_id
from wsserver.core.shared import written
from wsserver.core.shared.clients import ClientState, Standing
from wsserver.core.shared.places import FleetClients
from wsserver.core.streams import StreamRecord
from wsserver.stores.redis import RedisClients, RedisLink
from wsserver.stores.redis import clients as redis_clients
from wsserver.stores.redis.clients import _key
from wsserver_protocol.errors import CloseCode, ErrorCode, WireError
from wsserver_protocol.options import GenerationOptions

WINDOW = 60.0


class Line:
    """A connection, as far as clients need one: it can be closed."""

    def __init__(self) -> None:
        self.closed: CloseCode | None = None

    def close(self, code: CloseCode, reason: str = "") -> None:
        self.closed = code


class Gateway:
    """The clients of one gateway; ``told`` is whom it would tell of whose return, and how often
    that one was taken."""

    def __init__(self, link: RedisLink) -> None:
        self.node = new_id("nod")
        self.told: list[tuple[str, str, int]] = []
        self.gone: list[Client] = []
        self.clearing = asyncio.Event()  # it takes until this is set
        self.clearing.set()
        self.shared = RedisClients(link, self.node, WINDOW)
        self.clients = FleetClients(
            self.shared,
            WINDOW,
            self._clear,
            node=self.node,
            on_moved=lambda client: None,
            tell=self._tell,
        )

    async def _clear(self, client: Client) -> None:
        self.gone.append(client)
        await self.clearing.wait()

    async def _tell(self, node: str, client_id: str, takes: int) -> None:
        self.told.append((node, client_id, takes))

    async def connect(self) -> tuple[Client, str, Line]:
        """A new client, its token, and its connection."""
        line = Line()
        client = self.clients.create(cast(Attached, line), "10.0.0.1")
        token = self.clients.issue_token(client)
        await self.clients.known(client)
        return client, token, line

    async def resume(self, token: str) -> tuple[Client, str, Line]:
        """The same of one that comes back."""
        client = await self.clients.recall(token)
        assert client is not None
        line = Line()
        successor = self.clients.redeem(token)
        self.clients.attach(client, cast(Attached, line))
        return client, successor, line

    async def lose(self, client: Client) -> None:
        """The client's connection is gone, and all know it."""
        self.clients.detach(client)
        await eventually(lambda: not self.clients._errands)


@pytest.fixture
async def gateways(link: RedisLink) -> AsyncIterator[list[Gateway]]:
    made = [Gateway(link) for _ in range(2)]
    yield made
    for gateway in made:
        for client in list(gateway.clients):
            if client.window is not None:
                client.window.cancel()
        await gateway.clients.closed()


async def test_who_comes_back_is_not_given_up_by_an_old_window(gateways: list[Gateway]) -> None:
    """Away here, then there and away there, then here again: the first window does not end it,
    however long its return takes."""
    here, there = gateways
    client, token, _ = await here.connect()
    await here.lose(client)
    first = client.window
    visitor, token, _ = await there.resume(token)
    await there.lose(visitor)
    again = await here.clients.recall(token)
    assert again is not None
    assert first is not None
    assert first.cancelled()
    assert again.window is not None  # and if its return fails now, it is not kept for ever
    assert again.window.when() > first.when()
    here.clients.attach(again, cast(Attached, Line()))
    assert again.window is None


async def test_a_node_hears_that_its_client_has_come_back_elsewhere(
    gateways: list[Gateway],
) -> None:
    """Also of one that was away: it sits in its rooms no more, and is not entered anew there should
    Redis lose them."""
    here, there = gateways
    client, token, _ = await here.connect()
    await here.lose(client)
    visitor, _, _ = await there.resume(token)
    await eventually(lambda: there.told == [(here.node, client.client_id, visitor.takes)])
    here.clients.moved(client.client_id, visitor.takes)
    assert here.clients.get(client.client_id) is None


async def test_late_words_of_an_earlier_move_close_nobody(gateways: list[Gateway]) -> None:
    """It went there and came back; only now it is heard here that it went, by a bell, or by the
    reply to what was written before."""
    here, there = gateways
    client, token, older = await here.connect()
    before = ClientState.of(client)
    visitor, token, _ = await there.resume(token)
    first = visitor.takes
    await eventually(lambda: there.told == [(here.node, client.client_id, first)])
    again, token, line = await here.resume(token)
    assert older.closed is CloseCode.RESUMED_ELSEWHERE
    here.clients.moved(client.client_id, first)
    here.clients._stands(again, before, Standing.TAKEN)
    assert here.clients.get(client.client_id) is again
    assert line.closed is None
    there.clients.moved(client.client_id, again.takes)
    assert len(there.clients) == 0


async def test_who_comes_back_is_who_it_was_elsewhere(gateways: list[Gateway]) -> None:
    """It took a name and entered a room there. Here nobody has heard yet that it was away, and
    what it was before does not count."""
    here, there = gateways
    client, token, _ = await here.connect()
    visitor, token, _ = await there.resume(token)
    visitor.name, visitor.room_ids = "Ada", ["lobby"]
    await there.clients.known(visitor)
    again, token, _ = await here.resume(token)
    assert (again.name, again.room_ids) == ("Ada", ["lobby"])
    again.name = "Bea"  # and if it stayed, what it is here is the newest
    assert (await here.resume(token))[0].name == "Bea"


async def test_a_stale_connection_is_closed_when_its_client_is_elsewhere(
    gateways: list[Gateway],
) -> None:
    """No bell came: what is written of it next finds out."""
    here, there = gateways
    client, token, line = await here.connect()
    await there.resume(token)
    client.name = "Ada"
    here.clients.touched(client)
    await eventually(lambda: line.closed is CloseCode.RESUMED_ELSEWHERE)
    assert here.gone == []


async def test_who_was_given_up_may_come_back_anew(
    gateways: list[Gateway], link: RedisLink
) -> None:
    """Its gateway stood still past the window: it may come back, and is not called elsewhere."""
    here, _ = gateways
    client, _, line = await here.connect()
    await link.command("HSET", _key(client.client_id), "gone", 1)
    here.clients.doubt()
    keeping = asyncio.create_task(here.clients.keep())
    await eventually(lambda: line.closed is CloseCode.GOING_AWAY)
    keeping.cancel()


async def test_a_store_that_has_lost_a_client_is_told_of_it(
    gateways: list[Gateway], link: RedisLink
) -> None:
    """Whether it is connected or away, and before anyone noticed the loss."""
    here, there = gateways
    present, token, _ = await here.connect()
    away, other_token, _ = await here.connect()
    await here.lose(away)
    for client in (present, away):
        await link.command("DEL", _key(client.client_id))
    assert await here.clients.recall(token) is present
    here.clients.doubt()
    keeping = asyncio.create_task(here.clients.keep())
    field = await link.command("HGET", _key(away.client_id), "away")
    while not field or int(field) < 1_000_000:
        field = await link.command("HGET", _key(away.client_id), "away")
    left = await link.command("PTTL", _key(away.client_id))
    keeping.cancel()
    assert left > 3_600_000 + 50_000
    assert (await there.resume(other_token))[0].client_id == away.client_id


async def test_nobody_is_unknown_before_all_were_said_to_be_there(
    gateways: list[Gateway], link: RedisLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis has lost who is where. Who comes to another gateway before his own has said that he is
    there is to come again; who is in none is unknown in the end."""
    here, there = gateways
    client, token, _ = await here.connect()
    await link.command("DEL", _key(client.client_id))
    there.clients.doubt()
    with pytest.raises(WireError) as refused:
        await there.clients.recall(token)
    assert refused.value.code is ErrorCode.STORE_UNAVAILABLE
    await here.clients._say_again()
    await here.clients.known(client)
    visitor, token, _ = await there.resume(token)
    monkeypatch.setattr(written, "SAID_WITHIN", 0.0)
    assert await there.clients.recall(token_for(visitor.client_id)) is None


async def test_a_resume_that_was_overtaken_may_be_tried_again(gateways: list[Gateway]) -> None:
    """While it looked around, the client was taken elsewhere, came back, and was answered."""
    here, there = gateways
    client, token, _ = await here.connect()
    await here.clients.recall(token)  # and looks around
    await there.resume(token)
    here.clients.moved(client.client_id, 2)
    await here.resume(token)
    with pytest.raises(WireError) as refused:
        here.clients.redeem(token)
    assert refused.value.code is ErrorCode.STORE_UNAVAILABLE
    assert (await here.resume(token))[0].client_id == client.client_id


async def test_what_is_acknowledged_is_known_to_all(
    gateways: list[Gateway], link: RedisLink
) -> None:
    """A name is there when it was said that it is; without the store nobody says so."""
    here, there = gateways
    client, token, _ = await here.connect()
    client.name = "Ada"
    await here.clients.known(client)
    visitor, _, _ = await there.resume(token)
    assert visitor.name == "Ada"
    await link.close()
    visitor.name = "Bea"
    with pytest.raises(WireError):
        await there.clients.known(visitor)


async def test_who_was_taken_for_a_reply_that_never_came_is_not_kept_for_ever(
    gateways: list[Gateway], link: RedisLink
) -> None:
    """Redis did it, and could not say so: the gateway that asked for it has a client whose window
    it must end, with the work that the client had; unless it comes back there, or elsewhere."""
    here, there = gateways
    lost: list[tuple[Client, str]] = []
    for name in ("gone", "back", "elsewhere"):
        client, token, _ = await here.connect()
        client.name = name
        await here.clients.known(client)
        await here.lose(client)
        successor = token_for(client.client_id)
        args = (there.node, token_digest(token), token_digest(successor), MAX_TOKENS)
        await link.call("clients/take", [_key(client.client_id)], args)
        there.shared._undo(client.client_id, successor)
        lost.append((client, token))
    await eventually(lambda: len(there.clients) == 3)
    assert all(client.window is not None for client in there.clients)
    back, _, _ = await there.resume(lost[1][1])
    assert (back.name, back.window) == ("back", None)
    assert (await here.resume(lost[2][1]))[0].name == "elsewhere"
    for client in list(there.clients):
        if client is not back:
            there.clients.forget(client)
    await eventually(lambda: len(there.clients) == 1)
    await eventually(lambda: [client.name for client in there.gone] == ["gone"])
    assert await link.command("EXISTS", _key(lost[2][0].client_id)) == 1


async def test_who_comes_back_while_he_is_given_up_is_not_gone(
    gateways: list[Gateway], link: RedisLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store was away when the windows ended. Back in time, to the same process or to another
    one, a client has lost nothing; who comes back later is gone, once."""
    monkeypatch.setattr(redis_clients, "PATIENCE_SECONDS", 1.0)
    here, there = gateways
    (same, token, _), (other, other_token, _), (late, late_token, _) = [
        await here.connect() for _ in range(3)
    ]
    for client in (same, other, late):
        await here.lose(client)
    for callback in link.on_up:
        callback()
    for client in (same, other, late):
        here.clients.forget(client)
    assert (await here.resume(token))[0] is same
    assert (await there.resume(other_token))[0].client_id == other.client_id
    await eventually(lambda: len(here.clients) == 1)
    await eventually(lambda: not here.clients._errands)
    assert here.gone == [late]
    assert await there.clients.recall(late_token) is None
    assert same.window is None


async def test_a_client_is_forgotten_when_what_it_left_is_cleared(
    gateways: list[Gateway], link: RedisLink
) -> None:
    """Until then whoever reaps could go on with it, should this process die."""
    here, _ = gateways
    client, _, _ = await here.connect()
    await here.lose(client)
    here.clearing.clear()
    here.clients.forget(client)
    await eventually(lambda: here.gone == [client])
    assert await link.command("HGET", _key(client.client_id), "gone") == b"1"
    here.clearing.set()
    await eventually(lambda: not here.clients._errands)
    assert await link.command("EXISTS", _key(client.client_id)) == 0


async def test_answers_have_their_askers_where_these_are(gateways: list[Gateway]) -> None:
    """What a client asked for is wanted from where it is, away or not, until it is given up; what
    goes on without it needs nobody to say so."""
    here, there = gateways
    client, token, _ = await here.connect()
    stays = GenerationOptions(on_disconnect="detach")
    for stream_id, options in (("a", GenerationOptions()), ("b", stays)):
        ask = Ask(client.identity, client.client_id, options)
        client.begin(Answer(StreamRecord(stream_id, "m", 0.0), ask))
    assert list(here.clients.asked()) == ["a"]
    await here.lose(client)
    assert list(here.clients.asked()) == ["a"]
    await there.resume(token)
    here.clients.moved(client.client_id, client.takes + 1)
    assert list(here.clients.asked()) == []
