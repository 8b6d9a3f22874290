"""A process' link to Redis: one writing a tick, redirections, and a Redis that goes away."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import psutil
import pytest
import uvloop
from redis.crc import key_slot

from tests.support.redis import RedisCluster, running_redis
from tests.support.waiting import eventually
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.stores.redis import RedisLink
from wsserver.stores.redis.hosts import Hosts
from wsserver.stores.redis.keys import owner_keys
from wsserver.stores.redis.scripts import script


async def test_commands_of_a_tick_are_answered_in_order(link: RedisLink) -> None:
    """A thousand commands asked for at once each get their own answer, whatever host has it."""
    await asyncio.gather(*(link.command("SET", f"k{n}", n) for n in range(1000)))
    values = await asyncio.gather(*(link.command("GET", f"k{n}") for n in range(1000)))
    assert values == [str(n).encode() for n in range(1000)]


def test_a_link_works_on_the_servers_own_loop(redis_url: str) -> None:
    """On uvloop, too, whose transports are of other classes than those of the standard library."""

    async def ask() -> object:
        link = RedisLink.open(redis_url)
        ear: list[bytes] = []
        await link.bells.subscribe("wsserver:b:{x}", ear.append, lambda: None)
        await link.publish("wsserver:b:{x}", b"ding")
        await eventually(lambda: ear == [b"ding"])
        await link.command("SET", "k", "v")
        reply = await link.command("GET", "k")
        await link.close()
        return reply

    assert uvloop.run(ask()) == b"v"


async def test_a_step_runs_where_its_keys_are(link: RedisLink) -> None:
    """A script that no host has seen is given to it, and known from then on."""
    args = (0, 0, "", "+inf", 10)
    for owner in ("a", "b", "c", "d", "e", "f"):
        assert await link.call("sessions/list", owner_keys(owner), args) == [b"ok", []]


async def test_scripts_survive_a_flush(link: RedisLink, redis_url: str) -> None:
    """A Redis that has forgotten all scripts is given the text again."""
    keys, args = owner_keys("a"), (0, 0, "", "+inf", 10)
    await link.call("sessions/list", keys, args)
    await link.command("SCRIPT", "FLUSH")
    assert await link.call("sessions/list", keys, args) == [b"ok", []]


async def test_refused_commands_say_why(link: RedisLink) -> None:
    """What Redis refuses fails alone; what was asked with it does not."""
    await link.command("SET", "text", "x")
    wrong = asyncio.ensure_future(link.command("LPUSH", "text", "y"))
    assert await link.command("GET", "text") == b"x"
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        await wrong


async def test_a_posted_step_is_answered_by_a_call(link: RedisLink) -> None:
    """With the reply, also of a Redis that has to be given the script, or with the refusal; what
    one who asked does with it is no affair of the others."""
    keys, args = owner_keys("a"), (0, 0, "", "+inf", 10)
    told: list[object] = []

    def fail(_: object) -> None:
        raise RuntimeError("no use for it")

    link.post("sessions/list", keys, args, told.append)  # nothing is known of Redis yet
    await eventually(lambda: told == [[b"ok", []]])
    await link.everywhere("SCRIPT", "FLUSH")
    link.post("sessions/list", keys, args, told.append)
    await eventually(lambda: told == [[b"ok", []]] * 2)
    link.post("sessions/list", keys, args, fail)
    link.post("sessions/list", keys, args[:1], told.append)
    await eventually(lambda: len(told) == 3)
    assert isinstance(told[2], StoreUnavailable)


async def test_a_posted_step_is_told_that_redis_is_away(tmp_path: Path) -> None:
    """Whether or not it ever was there, and after the link was closed."""
    told: list[object] = []
    with running_redis(tmp_path) as server:
        link = RedisLink.open(server.url)
        await link.ping()
    link.post("sessions/list", owner_keys("a"), (0, 0, "", "+inf", 10), told.append)
    await eventually(lambda: len(told) == 1)
    await link.close()
    link.post("sessions/list", owner_keys("a"), (0, 0, "", "+inf", 10), told.append)
    await eventually(lambda: len(told) == 2)
    never = RedisLink.open(f"unix://{tmp_path}/nobody.sock")
    never.post("sessions/list", owner_keys("a"), (0, 0, "", "+inf", 10), told.append)
    await eventually(lambda: len(told) == 3)
    assert all(isinstance(reply, StoreUnavailable) for reply in told)
    await never.close()


async def test_scan_finds_the_keys_of_all_hosts(link: RedisLink) -> None:
    """A tool sees every key, wherever it lies."""
    await asyncio.gather(*(link.command("SET", f"k{n}", n) for n in range(100)))
    assert {key async for key in link.scan("k*")} == {f"k{n}".encode() for n in range(100)}


async def test_moved_keys_are_followed(redis_cluster: RedisCluster) -> None:
    """A slot that went to another host, or is on its way there, costs a redirection, no error."""
    link = RedisLink.open(redis_cluster.url)
    await link.command("SET", "moving", "x")
    with redis_cluster.moving(key_slot(b"moving")) as (source, target, settle):
        source.ask("MIGRATE", "127.0.0.1", str(target.port), "moving", "0", "1000")
        assert await link.command("GET", "moving") == b"x"  # asked for there
        settle()
        assert await link.command("GET", "moving") == b"x"  # moved
        await link.command("DEL", "moving")
    await link.close()


async def test_a_cluster_costs_two_connections_a_host(redis_cluster: RedisCluster) -> None:
    """One to ask and one to hear, however often it was learnt who keeps what."""
    link = RedisLink.open(redis_cluster.url)
    for number in range(30):
        await link.bells.subscribe(f"wsserver:b:{{{number}}}", lambda _: None, lambda: None)
    await link.ping()
    for _ in range(3):
        await link.learn()

    ours = psutil.Process().net_connections("tcp")
    open_ones = [each for each in ours if each.raddr and each.status == psutil.CONN_ESTABLISHED]
    peers: list[int | None] = [each.raddr.port for each in open_ones]
    assert [peers.count(node.port) for node in redis_cluster.nodes] == [2, 2, 2]
    await link.close()


def test_who_stood_still_reads_before_it_despairs(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that stands still for longer than Redis may take gets the reply that has come
    meanwhile, also on the loop of the server, which looks at its clock before its sockets."""
    monkeypatch.setattr("wsserver.stores.redis.lane.ANSWER_SECONDS", 0.4)

    def stand_still(_: object) -> None:
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            pass

    async def ask() -> object:
        link, other = RedisLink.open(redis_url), RedisLink.open(redis_url)
        await asyncio.gather(link.command("SET", "k", 1), other.ping())
        await other.everywhere("CLIENT", "PAUSE", 200, "WRITE")
        asked = asyncio.ensure_future(link.command("INCR", "k"))
        lane = link._hosts.lane_of("k")
        await eventually(lambda: bool(lane._under_way))
        other._hosts.lane_of("k").post(("PING",), stand_still)
        try:
            return await asked
        finally:
            await link.close()
            await other.close()

    assert uvloop.run(ask()) == 2


async def test_a_link_tells_that_redis_went_and_came(tmp_path: Path) -> None:
    """Away: refused at once, and told. Back: found out without being asked."""
    with running_redis(tmp_path) as server:
        link = RedisLink.open(server.url)
        told: list[str] = []
        link.on_up.append(lambda: told.append("up"))
        link.on_down.append(lambda: told.append("down"))
        await link.command("SET", "k", "v")
        assert link.is_up
        server.stop()
        with pytest.raises(StoreUnavailable):
            await link.command("GET", "k")
        assert not link.is_up
        server.start()
        await eventually(lambda: link.is_up)
        assert told == ["down", "up"]
        assert await link.command("GET", "k") == b"v"
        await link.close()


async def test_a_hanging_redis_keeps_nobody_waiting(tmp_path: Path) -> None:
    """A Redis that accepts and says nothing is as good as gone, for all that is asked at once."""
    with running_redis(tmp_path) as server:
        link = RedisLink.open(server.url)
        await link.ping()
        server.freeze()
        began = time.monotonic()
        replies = await asyncio.gather(
            *(link.command("GET", f"k{n}") for n in range(50)), return_exceptions=True
        )
        assert all(isinstance(reply, StoreUnavailable) for reply in replies)
        with pytest.raises(StoreUnavailable):
            await link.command("GET", "k")
        assert time.monotonic() - began < 5
        server.thaw()
        await eventually(lambda: link.is_up)
        await link.close()


async def test_a_broken_connection_is_not_noticed(link: RedisLink) -> None:
    """A connection that was cut while nothing was asked costs no error."""
    own = await link.command("CLIENT", "ID")
    await link.command("CLIENT", "KILL", "ID", own, "SKIPME", "no")
    assert await link.command("CLIENT", "ID") != own


async def test_what_was_under_way_is_asked_again(link: RedisLink, redis_url: str) -> None:
    """A connection that breaks before the replies came costs no error either."""
    other = RedisLink.open(redis_url)
    await link.ping()
    await other.everywhere("CLIENT", "PAUSE", 10_000, "WRITE")
    asked = asyncio.gather(*(link.command("INCR", f"k{n}") for n in range(100)))
    await eventually(lambda: all(lane._under_way for lane in link._hosts.lanes))
    await other.everywhere("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await other.everywhere("CLIENT", "UNPAUSE")
    assert await asked == [1] * 100
    await other.close()


async def test_who_gives_up_waiting_spoils_no_reply(link: RedisLink, redis_url: str) -> None:
    """What is cancelled while its reply is under way takes no reply from others."""
    other = RedisLink.open(redis_url)
    await link.ping()
    await other.everywhere("CLIENT", "PAUSE", 10_000, "WRITE")
    asked = [asyncio.ensure_future(link.command("INCRBY", f"k{n}", n)) for n in range(100)]
    await eventually(lambda: all(lane._under_way for lane in link._hosts.lanes))
    for each in asked[::2]:
        each.cancel()
    late = asyncio.gather(*(link.command("INCRBY", f"k{n}", 1) for n in range(100)))
    await other.everywhere("CLIENT", "UNPAUSE")
    assert await late == [n + 1 for n in range(100)]
    assert await asyncio.gather(*asked[1::2]) == list(range(1, 100, 2))
    await other.close()


async def test_nobody_there_is_told_at_once(tmp_path: Path) -> None:
    """A Redis that was never there is unavailable, and closing the link is quick."""
    link = RedisLink.open(f"unix://{tmp_path}/nobody.sock")
    with pytest.raises(StoreUnavailable):
        await link.ping()
    with pytest.raises(StoreUnavailable):
        await link.bells.subscribe("wsserver:b:{x}", lambda _: None, lambda: None)
    await link.close()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", {}),
        ("redis://h:1/2", {"host": "h", "port": 1, "db": 2}),
        ("redis://me:p%40ss@h", {"host": "h", "username": "me", "password": "p@ss"}),
        ("redis://:secret@h", {"host": "h", "password": "secret"}),
        (
            "redis://h?password=x&username=me&db=3",
            {"host": "h", "username": "me", "password": "x", "db": 3},
        ),
        ("unix:///tmp/a%20b.sock?db=1", {"path": "/tmp/a b.sock", "db": 1}),
        ("rediss://h?ssl_cert_reqs=none", {"host": "h", "ssl_cert_reqs": "none"}),
    ],
)
def test_addresses(url: str, expected: dict[str, object]) -> None:
    """Each form of URL that Redis' own tools take says what it should."""
    said = Hosts(url, lambda: None)._options
    assert {name: said[name] for name in expected} == expected


@pytest.mark.parametrize(
    "url",
    [
        *("http://h", "h:6379", "redis://h/first", "redis://h?db=first", "redis://h:port"),
        "redis://h?decode_responses=true",
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    """What is no address of Redis, or would change how it is talked to, is an error at once."""
    with pytest.raises(ValueError):
        RedisLink.open(url)


def test_every_script_can_be_loaded() -> None:
    """Each step's text begins with what all share; an unknown one is an error."""
    assert "now_ms" in script("sessions/get").text
    with pytest.raises(FileNotFoundError):
        script("sessions/nothing")


async def test_what_is_insisted_upon_is_done_in_the_end(tmp_path: Path) -> None:
    """A step that met no Redis is done once it is there; a later one about the same replaces it."""
    with running_redis(tmp_path) as server:
        link = RedisLink.open(server.url)
        await link.ping()
        server.stop()
        key = "wsserver:{n:nod_1}:led"
        link.insist("led/add", [key], ("str_1", 60_000))
        link.insist("led/add", [key], ("str_2", 60_000))
        await eventually(lambda: not link.is_up)
        link.insist("led/remove", [key], ("str_1",))
        server.start()
        async with asyncio.timeout(10):
            while await members(link, key) != {b"str_2"}:
                await link.learn()
        await link.close()


async def members(link: RedisLink, key: str) -> set[bytes]:
    try:
        return set(await link.command("SMEMBERS", key))
    except StoreUnavailable:
        return set()
