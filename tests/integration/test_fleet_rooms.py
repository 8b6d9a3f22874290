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
from tests.support.redis import RedisProcess, redis_is_installed
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


async def back(gateway: ServerProcess, former: Wire, stream_id: str, epoch: str) -> Wire:
    """A member whose gateway has died, on another one, from where it had come to."""
    wire = await open_wire(f"{gateway.ws_url}/ws")
    resumed = await wire.ask(
        "resume",
        resumeToken=former.connected["resumeToken"],
        streams={stream_id: former.copy(stream_id).offset},
        rooms={"r": {"epoch": epoch, "seq": 1}},
    )
    assert resumed["type"] == "resumed", resumed
    (room,) = resumed["rooms"]
    assert (room["recovered"], room["participants"], room["messages"]) == (True, 5, [])
    return wire


async def all_have_the_log(*wires: Wire) -> None:
    """Everyone is given the same question and answer."""
    logs = [(await wire.ask("room_history", roomId="r"))["messages"] for wire in wires]
    assert all(log == logs[0] for log in logs)
    assert [entry["seq"] for entry in logs[0]] == [1, 2]
    assert logs[0][1]["text"] == counted(TOKENS)


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
        again = await back(one, cyd, stream_id, seen["epoch"])
        await again.first_token(stream_id)

        workers[await asker.busy()].signal(signal.SIGKILL)
        for wire in (ada, bob, dan, again):
            end = await wire.end_of(stream_id, TAKEOVER)
            assert (end["type"], end["seq"]) == ("stream_complete", 2)
        for wire in (ada, bob, dan):
            assert wire.copy(stream_id).text == counted(TOKENS)
        assert cyd.copy(stream_id).text + again.copy(stream_id).text == counted(TOKENS)
        await all_have_the_log(ada, bob, dan, again)

        await eventually(lambda: bool(ada.of_type("room_user_left")), TAKEOVER)
        await bob.ask("leave_room", roomId="r")
        await ada.until("room_user_left", userId="bob")
        assert who(ada, "room_user_joined") == ["bob", "cyd", "eve", "dan"]
        assert who(ada, "room_user_left") == ["eve", "bob"]
        assert who(dan, "room_user_left") == ["eve", "bob"]
        assert who(again, "room_user_joined") == []
        for wire in (ada, bob, dan, again):
            await wire.close()


async def test_a_room_outlives_its_redis(
    redis: RedisProcess, gateways: list[ServerProcess]
) -> None:
    """Redis comes back empty: everyone is shown the room anew, unasked, and goes on talking."""
    ada, first = await member(gateways[0], "ada")
    bob, _ = await member(gateways[1], "bob")
    await ada.ask("room_message", roomId="r", text="forgotten")
    await bob.until("room_message", text="forgotten")
    redis.kill()
    redis.forget()
    redis.start()
    for wire, role in ((ada, "owner"), (bob, "member")):
        seen = await wire.until("room_joined", seconds=TAKEOVER)
        assert "requestId" not in seen
        assert (seen["recovered"], seen["messages"], seen["role"]) == (False, [], role)
        assert seen["epoch"] != first["epoch"]
    said = await bob.ask("room_message", roomId="r", text="and yet")
    assert (said["type"], said["seq"]) == ("room_message", 1)
    assert (await ada.until("room_message", text="and yet"))["seq"] == 1
    for wire in (ada, bob):
        await wire.close()
