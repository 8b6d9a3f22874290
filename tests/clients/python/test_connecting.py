"""The first connection, its refusals, and the last word."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from tests.clients.python.frames import refused, resumed
from tests.clients.python.scripted import Peer, staged
from wsserver_client import (
    Backoff,
    ConnectFailed,
    ConnectionLost,
    LinkState,
    LinkStatus,
    WireFailure,
    connect,
)


async def test_closing_is_not_answered_by_returning() -> None:
    """An intentional close ends with 1000, and what runs is stopped first."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("stream")
        await peer.start(asked)
        await peer.token("a", 1)
        assert (await peer.expect("stop_stream"))["streamId"] == "s-1"
        assert await peer.expect_nothing_until_close() == 1000

    async with staged(script) as stage:
        client = await connect(stage.url)
        stream = client.stream("x")
        async for _ in stream.updates():
            if stream.text:
                break
        pending = asyncio.create_task(stream.result())
        await asyncio.sleep(0)
        await client.close()
        await client.close()
        with pytest.raises(ConnectionLost, match="closed") as caught:
            await pending
        assert caught.value.text == "a"
    assert stage.connections == 1


async def test_closing_stops_all_work() -> None:
    """Answers and batches that nobody can read any more are stopped, begun or not."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        batch = await peer.expect("batch")
        await peer.send(
            {
                "type": "batch_start",
                "requestId": batch["requestId"],
                "batchId": "b-1",
                "total": 1,
            }
        )
        generate = await peer.expect("generate")
        begun.set()
        stops = [await peer.receive(), await peer.receive()]
        assert [stop["type"] for stop in stops] == ["stop_batch", "stop_stream"]
        assert stops[1]["requestId"] == generate["requestId"]
        assert await peer.expect_nothing_until_close() == 1000

    begun = asyncio.Event()
    async with staged(script) as stage:
        async with connect(stage.url) as client:
            batch = client.batch(["x"])
            generation = asyncio.create_task(client.generate("x"))
            await begun.wait()
            late = client.stream("never sent")
        for waiting in (batch.result(), generation):
            with pytest.raises(ConnectionLost, match="closed"):
                await waiting
        assert (await late.result()).finish_reason == "stopped"


async def test_detached_stream_outlives_the_client() -> None:
    """``on_disconnect="detach"`` is a wish to go on: closing does not stop it."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("stream")
        assert asked["options"] == {"onDisconnect": "detach"}
        await peer.start(asked)
        assert await peer.expect_nothing_until_close() == 1000

    async with staged(script) as stage, connect(stage.url) as client:
        stream = client.stream("x", on_disconnect="detach")
        async for _ in stream.updates():
            if stream.stream_id:
                break


async def test_server_that_is_not_there_is_said_so() -> None:
    """The first connection is tried once, and its failure is an exception in words."""
    with pytest.raises(ConnectFailed, match="cannot reach ws://127.0.0.1:9"):
        await connect("ws://127.0.0.1:9")
    with pytest.raises(ValueError, match="WebSocket address"):
        await connect("http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(HTTPStatus.UNAUTHORIZED, False), (HTTPStatus.SERVICE_UNAVAILABLE, True)],
)
async def test_refused_upgrade_says_why(status: HTTPStatus, retryable: bool) -> None:
    """HTTP refusals carry their status and the server's Retry-After."""

    def refuse(connection: ServerConnection, request: Request) -> Response:
        response = connection.respond(status, "not now\n")
        response.headers["Retry-After"] = "7"
        return response

    async def handler(connection: ServerConnection) -> None:
        raise AssertionError("no connection was to be made")

    async with serve(handler, "127.0.0.1", 0, process_request=refuse) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectFailed, match="not now") as caught:
            await connect(f"ws://127.0.0.1:{port}")
    assert (caught.value.status, caught.value.retryable) == (status, retryable)
    assert caught.value.retry_after == 7


async def test_wrong_credentials_are_refused_at_once() -> None:
    """An `unauthorized` is a failure of connecting, not something to retry."""

    async def script(peer: Peer) -> None:
        await peer.greet(authRequired=True)
        message = await peer.expect("authenticate")
        assert message["apiKey"] == "wrong"
        await peer.send(refused(message, "unauthorized"))
        await peer.closed()

    async with staged(script) as stage:
        with pytest.raises(WireFailure) as caught:
            await connect(stage.url, api_key="wrong")
    assert caught.value.code == "unauthorized"


async def test_token_is_asked_for_on_every_connection(at_once: Backoff) -> None:
    """Expired credentials (4004) bring the client back with a fresh token."""
    tokens = iter(["old", "new"])

    async def token() -> str:
        return next(tokens)

    async def first(peer: Peer) -> None:
        await peer.greet()
        message = await peer.expect("authenticate")
        assert message["token"] == "old"
        await peer.send({"type": "authenticated", "requestId": message["requestId"]})
        await peer.close(4004)

    async def second(peer: Peer) -> None:
        await peer.greet()
        message = await peer.expect("authenticate")
        assert message["token"] == "new"
        await peer.send({"type": "authenticated", "requestId": message["requestId"]})
        await peer.send(resumed(await peer.expect("resume")))
        await peer.expect("ping")
        await peer.closed()

    back = asyncio.Event()
    lost = False

    def on_status(status: LinkStatus) -> None:
        nonlocal lost
        lost = lost or status.state is LinkState.OFFLINE
        if lost and status.state is LinkState.ONLINE:
            back.set()

    async with (
        staged(first, second) as stage,
        connect(stage.url, token=token, backoff=at_once, on_status=on_status) as client,
    ):
        await back.wait()
        client.post({"type": "ping"})


async def test_server_that_does_not_greet_is_no_server() -> None:
    """A peer that accepts and then says nothing is given up after the open timeout."""

    async def script(peer: Peer) -> None:
        await peer.closed()

    async with staged(script) as stage:
        with pytest.raises(ConnectionLost, match="did not greet"):
            await connect(stage.url, open_timeout=0.05)
