"""Bells: heard once subscribed, doubted whenever one may have been lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from redis.crc import key_slot

from tests.support.redis import RedisCluster, running_redis
from tests.support.waiting import eventually
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.stores.redis import RedisLink, bells

CHANNEL = "wsserver:b:{x}"


class Ear:
    """A listener that notes all."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.doubts = 0

    def doubt(self) -> None:
        self.doubts += 1

    async def listen(self, link: RedisLink, channel: str = CHANNEL) -> Callable[[], None]:
        return await link.bells.subscribe(channel, self.heard.append, self.doubt)


async def test_a_bell_is_heard_by_all_who_listen(link: RedisLink, redis_url: str) -> None:
    """Also by those of another process, and by nobody who has left."""
    other = RedisLink.open(redis_url)
    near, far, gone = Ear(), Ear(), Ear()
    await near.listen(link)
    leave = await gone.listen(link)
    await far.listen(other)
    leave()
    leave()
    await link.publish(CHANNEL, b"ding")
    await eventually(lambda: near.heard == far.heard == [b"ding"])
    assert gone.heard == []
    assert near.doubts == far.doubts == 0
    await other.close()


async def test_channels_lie_anywhere(link: RedisLink) -> None:
    """Many channels, on all hosts of a cluster, each with its own bells only."""
    ears = [Ear() for _ in range(60)]
    for number, ear in enumerate(ears):
        await ear.listen(link, f"wsserver:b:{{{number}}}")
    for number in range(60):
        await link.publish(f"wsserver:b:{{{number}}}", str(number).encode())
    await eventually(lambda: all(ear.heard for ear in ears))
    assert [ear.heard for ear in ears] == [[str(n).encode()] for n in range(60)]


async def test_leaving_and_coming_back_misses_nothing(link: RedisLink) -> None:
    """Who subscribes just after the last one left hears every bell from its confirmation on."""
    ear = Ear()
    for number in range(50):
        leave = await ear.listen(link)
        leave()
        again = await ear.listen(link)
        await link.publish(CHANNEL, str(number).encode())
        await eventually(lambda: len(ear.heard) == number + 1)  # noqa: B023  # waited for here
        again()
    assert ear.doubts == 0


async def test_a_cut_line_is_made_anew_and_doubted(link: RedisLink) -> None:
    """Every listener is told that bells may be lost, once it hears again."""
    ear = Ear()
    await ear.listen(link)
    await link.command("CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes")
    await link.everywhere("CLIENT", "KILL", "TYPE", "pubsub")
    await eventually(lambda: ear.doubts == 1)
    await link.publish(CHANNEL, b"ding")
    await eventually(lambda: ear.heard == [b"ding"])


async def test_a_deaf_line_is_found_by_the_probe(
    link: RedisLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that stays open and carries nothing is cut after one probe; its listeners doubt."""
    monkeypatch.setattr(bells, "PROBE_SECONDS", 0.05)
    monkeypatch.setattr(bells, "HEARD_SECONDS", 0.3)
    ear = Ear()
    await ear.listen(link)
    (line,) = link.bells._lines.values()
    monkeypatch.setattr(line._pipe, "hear", lambda _: None)
    await eventually(lambda: ear.doubts == 1)
    await link.publish(CHANNEL, b"ding")
    await eventually(lambda: ear.heard == [b"ding"])
    assert ear.doubts == 1


async def test_a_channel_that_moves_is_followed(redis_cluster: RedisCluster) -> None:
    """Its bells are heard from its new host, and were doubted in between."""
    link = RedisLink.open(redis_cluster.url)
    ear = Ear()
    await ear.listen(link, "wsserver:b:{moving}")
    with redis_cluster.moving(key_slot(b"moving")) as (_, _, settle):
        settle()
        await eventually(lambda: ear.doubts > 0)
        await link.publish("wsserver:b:{moving}", b"ding")
        await eventually(lambda: ear.heard == [b"ding"])
    await link.close()


async def test_bells_come_back_with_redis(tmp_path: Path) -> None:
    """While Redis is away nobody can begin to listen; afterwards all who did hear again."""
    with running_redis(tmp_path) as server:
        link = RedisLink.open(server.url)
        ear, late = Ear(), Ear()
        await ear.listen(link)
        server.stop()
        with pytest.raises(StoreUnavailable):
            await late.listen(link, "wsserver:b:{y}")
        server.start()
        await eventually(lambda: ear.doubts > 0 and link.is_up)
        await late.listen(link, "wsserver:b:{y}")
        await asyncio.gather(link.publish(CHANNEL, b"1"), link.publish("wsserver:b:{y}", b"2"))
        await eventually(lambda: (ear.heard, late.heard) == ([b"1"], [b"2"]))
        await link.close()


async def test_a_failing_listener_deafens_nobody(
    link: RedisLink, caplog: pytest.LogCaptureFixture
) -> None:
    """What one listener raises is logged; the others are called."""

    def fail(_: bytes) -> None:
        raise RuntimeError("deaf")

    ear = Ear()
    await link.bells.subscribe(CHANNEL, fail, lambda: None)
    await ear.listen(link)
    await link.publish(CHANNEL, b"ding")
    await eventually(lambda: ear.heard == [b"ding"])
    assert "a listener of a bell failed" in caplog.text
