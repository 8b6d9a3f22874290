"""Losing the connection: when to return, and when not to."""

from __future__ import annotations

import asyncio

import pytest

from tests.clients.python.frames import begin_and_cut, resumed
from tests.clients.python.scripted import CONNECTED, Peer, staged
from wsserver_client import (
    Backoff,
    ConnectionLost,
    LinkState,
    LinkStatus,
    RequestTimeout,
    connect,
)


async def test_no_resume_where_the_server_has_none(at_once: Backoff) -> None:
    """A server that says it cannot resume is not asked to."""
    capabilities = {**CONNECTED["capabilities"], "resume": False}

    async def first(peer: Peer) -> None:
        await peer.greet(capabilities=capabilities)
        await peer.expect("ping")
        peer.cut()

    async def second(peer: Peer) -> None:
        await peer.greet(capabilities=capabilities)
        ping = await peer.expect("ping")
        await peer.send({"type": "pong", "requestId": ping["requestId"], "timestamp": 1})
        assert await peer.expect_nothing_until_close() == 1000

    async with (
        staged(first, second) as stage,
        connect(stage.url, backoff=at_once) as client,
    ):
        assert 0 <= await client.ping() < 5  # repeated on the second connection


@pytest.mark.parametrize("code", [1000, 1008, 1009, 4501, 4503, 4505, 4506, 4507, 4999])
async def test_final_close_codes_are_final(code: int, at_once: Backoff) -> None:
    """After these the client does not come back, and everything that was awaited is settled."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.expect("stream")
        await peer.expect("models")
        await peer.close(code, "enough")

    async with (
        staged(script) as stage,
        connect(stage.url, backoff=at_once) as client,
    ):
        stream = client.stream("x")
        with pytest.raises(ConnectionLost) as caught:
            await client.models()
        assert caught.value.code == code
        with pytest.raises(ConnectionLost, match="enough"):
            await stream.result()
        assert client.connection.state is LinkState.CLOSED
        with pytest.raises(ConnectionLost):
            client.stream("y")
        with pytest.raises(ConnectionLost):
            await client.ping()
    assert stage.connections == 1


@pytest.mark.parametrize("code", [1001, 1011, 1012, 1013, 4001, 4002, 4005, 4400])
async def test_other_close_codes_bring_the_client_back(code: int, at_once: Backoff) -> None:
    """These say: come back."""

    async def first(peer: Peer) -> None:
        await peer.greet()
        await peer.close(code)

    async def second(peer: Peer) -> None:
        await peer.greet()
        await peer.send(resumed(await peer.expect("resume")))
        await peer.expect("ping")
        await peer.closed()

    back = asyncio.Event()
    seen: list[LinkState] = []

    def on_status(status: LinkStatus) -> None:
        seen.append(status.state)
        if seen.count(LinkState.ONLINE) == 2:
            back.set()

    async with (
        staged(first, second) as stage,
        connect(stage.url, backoff=at_once, on_status=on_status) as client,
    ):
        await back.wait()
        client.post({"type": "ping"})
    assert seen == [
        LinkState.ONLINE,
        LinkState.OFFLINE,
        LinkState.CONNECTING,
        LinkState.ONLINE,
        LinkState.CLOSED,
    ]


async def test_draining_server_says_when_to_return(at_once: Backoff) -> None:
    """The delay after ``server_draining`` is the server's, not the usual range."""

    async def first(peer: Peer) -> None:
        await peer.greet()
        await peer.send(
            {"type": "server_draining", "reconnectAfter": 70, "spread": 50, "deadline": 10}
        )
        await peer.close(1001)

    async def second(peer: Peer) -> None:
        await peer.greet()
        await peer.send(resumed(await peer.expect("resume")))
        await peer.closed()

    delays: list[float | None] = []
    back = asyncio.Event()

    def on_status(status: LinkStatus) -> None:
        if status.state is LinkState.OFFLINE:
            delays.append(status.retry_in)
        if status.state is LinkState.ONLINE and delays:
            back.set()

    async with (
        staged(first, second) as stage,
        connect(stage.url, backoff=at_once, on_status=on_status),
    ):
        await back.wait()
    assert delays == [0.07]


async def test_without_reconnect_everything_ends_with_the_connection() -> None:
    """``reconnect=False``: a drop is the end, at once."""
    async with (
        staged(begin_and_cut) as stage,
        connect(stage.url, reconnect=False) as client,
    ):
        stream = client.stream("x")
        with pytest.raises(ConnectionLost):
            async for _ in stream:
                client.post({"type": "ping"})
        assert client.connection.state is LinkState.CLOSED


async def test_silent_server_is_given_up(at_once: Backoff) -> None:
    """Nothing for a heartbeat: the client pings; nothing for half of one more: it leaves."""

    async def first(peer: Peer) -> None:
        await peer.greet(heartbeatInterval=100)
        await peer.expect("ping")
        await peer.closed()

    async def second(peer: Peer) -> None:
        await peer.greet()
        await peer.send(resumed(await peer.expect("resume")))
        await peer.closed()

    offline: list[str] = []
    back = asyncio.Event()

    def on_status(status: LinkStatus) -> None:
        if status.state is LinkState.OFFLINE:
            offline.append(status.reason)
        elif status.state is LinkState.ONLINE and offline:
            back.set()

    async with (
        staged(first, second) as stage,
        connect(stage.url, backoff=at_once, on_status=on_status),
    ):
        await back.wait()
    assert len(offline) == 1 and offline[0].startswith("nothing heard from the server for")


async def test_quiet_server_that_answers_pings_is_kept() -> None:
    """An idle connection stays, as long as its pings are answered."""
    answered = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet(heartbeatInterval=400)
        for _ in range(4):
            await peer.expect("ping")
            await peer.send({"type": "pong", "timestamp": 1})
        answered.set()
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        await answered.wait()
        assert client.connection.state is LinkState.ONLINE


async def test_timed_out_request_is_forgotten() -> None:
    """A reply that comes too late belongs to nobody and disturbs nothing."""
    late = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet()
        models = await peer.expect("models")
        await late.wait()
        await peer.send({"type": "models_list", "requestId": models["requestId"], "models": []})
        ping = await peer.expect("ping")
        await peer.send({"type": "pong", "requestId": ping["requestId"], "timestamp": 1})
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        with pytest.raises(RequestTimeout, match="models"):
            await client.request({"type": "models"}, timeout=0.05)
        late.set()
        await client.ping()


async def test_stream_asked_for_while_offline_waits_for_the_connection(at_once: Backoff) -> None:
    """A request made between two connections is sent on the next one, once."""

    async def first(peer: Peer) -> None:
        await peer.greet()
        peer.cut()

    async def second(peer: Peer) -> None:
        await peer.greet()
        await peer.send(resumed(await peer.expect("resume")))
        asked = await peer.expect("stream")
        await peer.start(asked)
        await peer.complete(0)
        assert await peer.expect_nothing_until_close() == 1000

    offline = asyncio.Event()

    def on_status(status: LinkStatus) -> None:
        if status.state is LinkState.OFFLINE:
            offline.set()

    async with (
        staged(first, second) as stage,
        connect(stage.url, backoff=at_once, on_status=on_status) as client,
    ):
        await offline.wait()
        assert (await client.stream("x").result()).finish_reason == "stop"
