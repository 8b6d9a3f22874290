"""A room over a fleet: real gateways, workers and Redis, some of which are killed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.session_steps import sign_in
from tests.integration.test_generating import counted
from tests.integration.test_rooms import join
from tests.support.redis import RedisProcess, redis_is_installed, running_redis
from tests.support.server import ServerProcess, running_server, server_arguments
from tests.support.waiting import eventually
from tests.support.wire import Frame, Wire, open_wire
from tests.support.workers import asking, running_workers

pytestmark = pytest.mark.skipif(
    not redis_is_installed(), reason="redis-server is not installed (package redis-server)"
)

TOKENS = 400
SOURCE = "synthetic:?tps=40&slots=2&ttft_ms=0"

TAKEOVER = 60.0
"""Seconds for leases to run out and others to take over, on a slow machine."""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisProcess]:
    with running_redis(tmp_path) as running:
        yield running


@pytest.fixture
def gateways(redis: RedisProcess, tmp_path: Path) -> Iterator[list[ServerProcess]]:
    """Three gateways without engines."""
    given = ["--redis-url", redis.url, "--set", "resume.window_seconds=5"]
    given += ["--set", "models.start=[]"]
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                running_server(
                    tmp_path / f"gateway{number}",
                    server_arguments(given, model=None),
                    ready=False,
                )
            )
            for number in range(3)
        ]


async def member(gateway: ServerProcess, user: str) -> tuple[Wire, Frame]:
    """A user who joins the room through a gateway, and the reply."""
    wire = await open_wire(f"{gateway.ws_url}/ws")
    await sign_in(wire, user)
    return wire, await join(wire, "r")


def who(wire: Wire, kind: str) -> list[str]:
    """The users that were told to have come or gone."""
    return [frame.get("member", frame)["userId"] for frame in wire.of_type(kind)]


async def test_a_room_outlives_the_processes_it_is_on(
    redis: RedisProcess, gateways: list[ServerProcess], tmp_path: Path
) -> None:
    """Members on three gateways see one answer, a fourth joins midway; a gateway is killed, and
    then the worker: all end with the same text and the same log, and who is gone left once."""
    one, two, three = gateways
    async with (
        asking(redis.url) as asker,
        running_workers(tmp_path / "workers", redis.url, 2, SOURCE) as workers,
    ):
        await asker.ready(slots=4)
        ada, _ = await member(one, "ada")
        bob, _ = await member(two, "bob")
        cyd, seen = await member(three, "cyd")
        eve, _ = await member(three, "eve")
        start = await ada.stream(roomId="r", options={"maxTokens": TOKENS})
        stream_id = start["streamId"]
        for wire in (bob, cyd):
            assert (await wire.until("stream_start"))["seq"] == start["seq"] == 1
        for wire in (ada, bob, cyd, eve):
            await wire.first_token(stream_id)
        dan, midway = await member(two, "dan")
        (active,) = midway["activeStreams"]
        assert (active["streamId"], active["clientId"]) == (stream_id, ada.connected["clientId"])
        await dan.until("stream_snapshot", streamId=stream_id)
        await dan.first_token(stream_id)

        three.kill()
        await cyd.closed()
        have = cyd.copy(stream_id)
        again = await open_wire(f"{one.ws_url}/ws")
        resumed = await again.ask(
            "resume",
            resumeToken=cyd.connected["resumeToken"],
            streams={stream_id: have.offset},
            rooms={"r": {"epoch": seen["epoch"], "seq": 1}},
        )
        assert resumed["type"] == "resumed", resumed
        (room,) = resumed["rooms"]
        assert (room["recovered"], room["participants"], room["messages"]) == (True, 5, [])
        await again.first_token(stream_id)

        workers[await asker.busy()].signal(signal.SIGKILL)
        for wire in (ada, bob, dan, again):
            end = await wire.end_of(stream_id, TAKEOVER)
            assert (end["type"], end["seq"]) == ("stream_complete", 2)
        for wire in (ada, bob, dan):
            assert wire.copy(stream_id).text == counted(TOKENS)
        assert have.text + again.copy(stream_id).text == counted(TOKENS)

        logs = [await wire.ask("room_history", roomId="r") for wire in (ada, bob, dan, again)]
        assert all(log["messages"] == logs[0]["messages"] for log in logs)
        assert [entry["seq"] for entry in logs[0]["messages"]] == [1, 2]
        assert logs[0]["messages"][1]["text"] == counted(TOKENS)

        await eventually(lambda: bool(ada.of_type("room_user_left")), TAKEOVER)
        await bob.ask("leave_room", roomId="r")
        await ada.until("room_user_left", userId="bob")
        assert who(ada, "room_user_joined") == ["bob", "cyd", "eve", "dan"]
        assert who(ada, "room_user_left") == ["eve", "bob"]
        assert who(dan, "room_user_left") == ["eve", "bob"]
        assert who(again, "room_user_joined") == []
        for wire in (ada, bob, dan, again):
            await wire.close()
