"""Two servers over one Redis, of which one fails or its client goes from one to the other."""

from __future__ import annotations

import asyncio
import signal

import pytest
from redis import Redis

from tests.conftest import Connect, StartServer
from tests.integration.test_fleet_batches import say_that_it_died
from tests.integration.test_generating import counted
from tests.support.redis import RedisProcess, redis_is_installed
from tests.support.redis_gate import redis_gate
from tests.support.server import ServerProcess
from tests.support.waiting import eventually
from tests.support.wire import Wire

pytestmark = pytest.mark.skipif(
    not redis_is_installed(), reason="redis-server is not installed (package redis-server)"
)


@pytest.fixture
def servers(redis: RedisProcess, start_server: StartServer) -> list[ServerProcess]:
    return [start_server("--redis-url", redis.url) for _ in range(2)]


async def ada_on(connect: Connect, server: ServerProcess) -> Wire:
    wire = await connect(to=server)
    await wire.ask("authenticate", userId="ada")
    return wire


async def test_an_answer_of_another_gateway_is_continued(
    servers: list[ServerProcess], connect: Connect
) -> None:
    """`continue` goes on from the text of an answer that this gateway has never seen."""
    here, there = [await ada_on(connect, server) for server in servers]
    start = await here.stream(options={"maxTokens": 10})
    await here.end_of(start["streamId"])
    further = await there.ask(
        "continue", streamId=start["streamId"], options={"maxTokens": 5}, seconds=20
    )
    assert (further["type"], further["continues"]) == ("stream_start", start["streamId"])
    await there.end_of(further["streamId"])
    assert there.copy(further["streamId"]).text == counted(15)[len(counted(10)) :]


async def test_a_repeated_turn_is_one_turn(servers: list[ServerProcess], connect: Connect) -> None:
    """A turn of a session that is sent again to another gateway is shown there, and stands in the
    history once."""
    here, there = [await ada_on(connect, server) for server in servers]
    await here.ask("open_session", sessionId="s")
    turn = {"sessionId": "s", "requestId": "turn-1", "options": {"maxTokens": 60}}
    start = await here.stream("say it once", **turn)
    again = await there.stream("say it once", **turn)
    assert again["streamId"] == start["streamId"]
    for wire in (here, there):
        assert (await wire.end_of(start["streamId"]))["type"] == "stream_complete"
        assert wire.copy(start["streamId"]).text == counted(60)
    history = await there.ask("get_history", sessionId="s")
    assert [m["content"] for m in history["messages"]] == ["say it once", counted(60)]
    second = await there.stream("and go on", sessionId="s", options={"maxTokens": 5})
    assert (await there.end_of(second["streamId"]))["type"] == "stream_complete"


async def test_two_resumes_at_once_are_one_client(
    servers: list[ServerProcess], connect: Connect
) -> None:
    """Who loses his connection in the midst of a resume comes again with the same token: both
    are answered, and the last one has his place."""
    first = await ada_on(connect, servers[0])
    token = first.connected["resumeToken"]
    await first.cut()
    tries = [await connect(to=servers[1]) for _ in range(2)]
    replies = await asyncio.gather(*(w.ask("resume", resumeToken=token) for w in tries))
    assert [reply["type"] for reply in replies] == ["resumed", "resumed"]
    assert {reply["clientId"] for reply in replies} == {first.connected["clientId"]}
    assert await tries[0].closed() == 4507
    assert (await tries[1].ask("get_status"))["userId"] == "ada"


async def test_a_gateway_that_was_believed_dead_keeps_its_clients(
    redis: RedisProcess, servers: list[ServerProcess], connect: Connect
) -> None:
    """The lease of a node ran out and its clients were counted as away: once it is back, they are
    not, so that nobody clears what they have."""
    wire = await ada_on(connect, servers[0])
    client = f"wsserver:{{c:{wire.connected['clientId']}}}"
    await eventually(lambda: redis.ask("HGET", client, "node").startswith("$28"))
    redis.ask("HSET", client, "away", "99999999999999")
    redis.ask("DEL", "wsserver:{nodes}:leases")
    await eventually(lambda: redis.ask("HGET", client, "away") == "$0\r\n\r\n", 15)
    assert (await wire.ask("get_status"))["type"] == "status"


async def test_a_server_ends_in_order_without_its_redis(
    redis: RedisProcess, start_server: StartServer
) -> None:
    """SIGTERM while Redis is away: it ends with 0 all the same, and soon."""
    server = start_server("--redis-url", redis.url)
    await asyncio.to_thread(redis.kill)
    server.signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.wait, 20) == 0


async def test_nothing_is_made_for_the_clients_of_a_gateway_that_has_ended(
    redis: RedisProcess, start_server: StartServer, connect: Connect
) -> None:
    """SIGTERM of a gateway whose client never comes back: when his window is over his answer is
    stopped, though the process that knew him has gone."""
    window = ("--set", "resume.window_seconds=1")
    ending, staying = [start_server("--redis-url", redis.url, *window) for _ in range(2)]
    ada = await ada_on(connect, ending)
    start = await ada.stream(options={"maxTokens": 100_000})
    await ada.first_token(start["streamId"])
    ending.signal(signal.SIGTERM)
    assert await asyncio.to_thread(ending.wait, 20) == 0
    key = f"wsserver:{{g:{start['streamId']}}}:m"
    await eventually(lambda: "ended" in redis.ask("HGET", key, "state"), 25)
    back = await ada_on(connect, staying)
    await back.send(type="watch_stream", streamId=start["streamId"])
    end = await back.end_of(start["streamId"])
    assert (end["type"], end["reason"]) == ("stream_stopped", "disconnect")


async def test_an_answer_that_is_being_made_outlives_who_lined_it_up(
    redis: RedisProcess, start_server: StartServer, connect: Connect
) -> None:
    """The gateway dies before it has noted that the answer is in line: whoever clears what it left
    lets the answer go on."""
    staying = start_server("--redis-url", redis.url)
    async with redis_gate(redis) as gate:
        arguments = ("--set", "models.start=[]", "--redis-url", gate.url)
        dying = await asyncio.to_thread(start_server, *arguments)
        ada = await ada_on(connect, dying)
        gate.shut_at("led/remove")
        await ada.send(type="stream", requestId="r", prompt="go on", options={"maxTokens": 100_000})
        await gate.shut.wait()
        dying.kill()
    with Redis.from_url(redis.url) as asked:
        (led,) = asked.keys("wsserver:{n:*}:led")
        (stream_id,) = (member.decode() for member in asked.smembers(led))
        await say_that_it_died(redis)
        await eventually(lambda: not asked.exists(led), 25)
    back = await ada_on(connect, staying)
    await back.send(type="watch_stream", streamId=stream_id)
    await back.send(type="stop_stream", streamId=stream_id)
    assert (await back.end_of(stream_id))["type"] == "stream_stopped"
