"""What a dead gateway leaves is cleared by one of the living, once nobody can come back to it."""

from __future__ import annotations

import pytest

from tests.stores.test_redis_clients import Someone, let_pass, taken
from tests.stores.test_redis_nodes import let_lapse
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.shared.clients import ClientState
from wsserver.core.shared.reaper import Reaper, clear_clients
from wsserver.stores.redis import RedisClients, RedisLink, RedisNodes


class Gateway:
    """A node with its clients and its reaper; ``cleared`` is what that has cleared."""

    def __init__(self, link: RedisLink) -> None:
        self.nodes = RedisNodes(link)
        self.clients = RedisClients(link, self.nodes.node_id, 60.0)
        self.cleared: list[str] = []
        self.rooms: set[str] = set()  # dead nodes that have left something of another kind
        self.reaper = Reaper(
            self.nodes, [clear_clients(self.clients, 60.0, self.clear), self.clear_rooms]
        )

    async def clear(self, state: ClientState) -> None:
        self.cleared.append(state.client_id)

    async def clear_rooms(self, node_id: str) -> bool:
        return node_id not in self.rooms


@pytest.fixture
async def gateways(link: RedisLink) -> list[Gateway]:
    made = [Gateway(link) for _ in range(3)]
    for gateway in made:
        await gateway.nodes.beat()
    return made


async def test_the_clients_of_a_dead_gateway_leave_once(
    gateways: list[Gateway], link: RedisLink
) -> None:
    """Who comes back within the window does not leave, who does not leaves once, on one node."""
    dead, *living = gateways
    back, lost = Someone(), Someone()
    for one in (back, lost):
        await dead.clients.save(one.state(), is_connected=True)
    await let_lapse(link, dead.nodes)
    for gateway in living:
        await gateway.reaper.go_round()
    await taken(living[0].clients, back.token)
    await let_pass(link, lost.id)
    for _ in range(3):
        for gateway in living:
            await gateway.reaper.go_round()
    assert [gateway.cleared for gateway in living].count([lost.id]) == 1
    assert sum(len(gateway.cleared) for gateway in living) == 1
    assert await living[0].nodes.dead() == []


async def test_a_node_is_not_buried_while_something_is_left(
    gateways: list[Gateway], link: RedisLink
) -> None:
    """Whatever kind it is, what could not be cleared is tried again in the next round."""
    dead, reaper, _ = gateways
    await let_lapse(link, dead.nodes)
    reaper.rooms.add(dead.nodes.node_id)
    await reaper.reaper.go_round()
    assert await reaper.nodes.dead() == [dead.nodes.node_id]
    reaper.rooms.clear()
    await reaper.reaper.go_round()
    assert await reaper.nodes.dead() == []


async def test_a_reaper_that_dies_is_replaced(gateways: list[Gateway], link: RedisLink) -> None:
    """What it had marked as gone and not cleared, its successor clears."""
    dead, first, second = gateways
    lost = Someone()
    await dead.clients.save(lost.state(), is_connected=True)
    await let_lapse(link, dead.nodes)
    await first.reaper.go_round()
    await let_pass(link, lost.id)
    assert (await first.clients.orphans(dead.nodes.node_id, 60))[1] == 0  # and there it dies
    await second.reaper.go_round()
    assert second.cleared == []
    await first.nodes.leave()
    await second.reaper.go_round()
    assert second.cleared == [lost.id]


async def test_a_reaper_without_redis_does_nothing(link: RedisLink) -> None:
    """A round that can't ask who is dead ends, and clears nobody."""
    gateway = Gateway(link)
    await link.close()
    with pytest.raises(StoreUnavailable):
        await gateway.reaper.go_round()
    assert gateway.cleared == []
