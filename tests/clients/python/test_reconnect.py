"""Losing the connection: what goes on, what is sent again, what is lost, and when not to return."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from tests.clients.python.scripted import CONNECTED, Message, Peer, staged
from wsserver_client import (
    Backoff,
    ConnectFailed,
    ConnectionLost,
    LinkState,
    LinkStatus,
    RequestTimeout,
    WireFailure,
    connect,
)


def resumed(message: Message, **more: object) -> Message:
    return {
        "type": "resumed",
        "requestId": message["requestId"],
        "clientId": "c-1",
        "resumeToken": "token-2",
        "streams": [],
        "rooms": [],
        **more,
    }


def refused(message: Message, code: str) -> Message:
    return {
        "type": "error",
        "requestId": message["requestId"],
        "code": code,
        "error": code,
        "retryable": False,
    }


async def begin_and_cut(peer: Peer) -> None:
    """A first connection on which a stream begins and the network breaks."""
    await peer.greet()
    asked = await peer.expect("stream")
    await peer.start(asked)
    await peer.token("Zwölf", 6)
    await peer.expect("ping")  # the client has the text
    peer.cut()


async def test_stream_goes_on_to_the_byte(at_once: Backoff) -> None:
    """After a cut the client resumes with its offsets, and the reader sees one unbroken text."""

    async def second(peer: Peer) -> None:
        await peer.greet(clientId="c-2", resumeToken="token-other")
        resume = await peer.expect("resume")
        assert resume["resumeToken"] == "token-1"
        assert resume["streams"] == {"s-1": 6}
        await peer.send(
            resumed(
                resume,
                streams=[{"streamId": "s-1", "requestId": "r", "state": "running", "offset": 14}],
            )
        )
        await peer.send(
            {
                "type": "stream_snapshot",
                "streamId": "s-1",
                "text": " Boxkämpfer"[:4],
                "fromOffset": 6,
                "offset": 10,
                "position": 4,
                "state": "running",
            }
        )
        await peer.token("kämpfer", 18)
        peer.cut()

    async def third(peer: Peer) -> None:
        await peer.greet(clientId="c-3", resumeToken="token-third")
        resume = await peer.expect("resume")
        assert resume["resumeToken"] == "token-2"
        await peer.send(
            resumed(
                resume,
                streams=[{"streamId": "s-1", "requestId": "r", "state": "ended", "offset": 18}],
            )
        )
        await peer.token("kämpfer", 18)
        await peer.complete(18)
        await peer.closed()

    async with (
        staged(begin_and_cut, second, third) as stage,
        connect(stage.url, backoff=at_once) as client,
    ):
        pieces = []
        async for piece in client.stream("x"):
            pieces.append(piece)
            if len(pieces) == 1:
                client.post({"type": "ping"})
        assert "".join(pieces) == "Zwölf Boxkämpfer"
        assert client.client_id == "c-1"


@pytest.mark.parametrize("code", ["resume_expired", "unknown_type"])
async def test_stream_that_cannot_be_resumed_is_lost_with_its_text(
    at_once: Backoff, code: str
) -> None:
    """A server that does not have the stream any more ends it here, and the text is not lost."""

    async def second(peer: Peer) -> None:
        await peer.greet(clientId="c-2")
        await peer.send(refused(await peer.expect("resume"), code))
        await peer.expect("ping")
        await peer.closed()

    async with (
        staged(begin_and_cut, second) as stage,
        connect(stage.url, backoff=at_once) as client,
    ):
        stream = client.stream("x")
        with pytest.raises(ConnectionLost) as caught:
            async for _ in stream:
                client.post({"type": "ping"})
        client.post({"type": "ping"})  # the connection goes on as a new client
        assert client.client_id == "c-2"
        assert client.connection.state is LinkState.ONLINE
    assert (caught.value.text, caught.value.stream_id) == ("Zwölf", "s-1")


async def test_stream_gone_after_resume_is_lost(at_once: Backoff) -> None:
    """``gone`` in ``resumed`` ends the stream, and so does being forgotten there."""

    async def second(peer: Peer) -> None:
        await peer.greet()
        resume = await peer.expect("resume")
        await peer.send(
            resumed(
                resume,
                streams=[{"streamId": "s-1", "requestId": "r", "state": "gone", "offset": 0}],
            )
        )
        await peer.closed()

    async with (
        staged(begin_and_cut, second) as stage,
        connect(stage.url, backoff=at_once) as client,
    ):
        stream = client.stream("x")
        with pytest.raises(ConnectionLost, match="no longer has"):
            async for _ in stream:
                client.post({"type": "ping"})


async def test_known_user_watches_instead_of_resuming(at_once: Backoff) -> None:
    """Where the window is over but the user is known, the stream is taken up by watching it."""

    async def first(peer: Peer) -> None:
        await peer.greet()
        await authenticate(peer)
        asked = await peer.expect("stream")
        await peer.start(asked)
        await peer.token("one ", 4)
        await peer.expect("ping")
        peer.cut()

    async def second(peer: Peer) -> None:
        await peer.greet(clientId="c-2")
        await authenticate(peer)
        await peer.send(refused(await peer.expect("resume"), "resume_expired"))
        watch = await peer.expect("watch_stream")
        assert (watch["streamId"], watch["fromOffset"]) == ("s-1", 4)
        await peer.send(
            {
                "type": "stream_snapshot",
                "requestId": watch["requestId"],
                "streamId": "s-1",
                "text": "two",
                "fromOffset": 4,
                "offset": 7,
                "position": 2,
                "state": "running",
            }
        )
        await peer.complete(7)
        await peer.closed()

    async with (
        staged(first, second) as stage,
        connect(stage.url, backoff=at_once, user_id="ann", name="Ann") as client,
    ):
        stream = client.stream("x")
        pieces = []
        async for piece in stream:
            pieces.append(piece)
            if len(pieces) == 1:
                client.post({"type": "ping"})
        assert "".join(pieces) == "one two"


async def authenticate(peer: Peer) -> None:
    message = await peer.expect("authenticate")
    assert (message["userId"], message["name"]) == ("ann", "Ann")
    await peer.send(
        {
            "type": "authenticated",
            "requestId": message["requestId"],
            "userId": "ann",
            "clientId": "c",
            "scopes": [],
            "tier": "default",
            "limits": CONNECTED["limits"],
        }
    )


async def test_requests_are_repeated_where_that_is_safe(at_once: Backoff) -> None:
    """Unanswered requests go out again under the same id; what might happen twice is lost."""
    first_ids: dict[str, str] = {}

    async def first(peer: Peer) -> None:
        await peer.greet()
        for _ in range(4):
            message = await peer.receive()
            first_ids[message["type"]] = message["requestId"]
        peer.cut()

    async def second(peer: Peer) -> None:
        await peer.greet()
        await peer.send(resumed(await peer.expect("resume")))
        models = await peer.expect("models")
        assert models["requestId"] == first_ids["models"]
        generate = await peer.expect("generate")
        assert generate["requestId"] == first_ids["generate"]
        stream = await peer.expect("stream")
        assert stream["requestId"] == first_ids["stream"]
        await peer.send({"type": "models_list", "requestId": models["requestId"], "models": []})
        await peer.send(
            {
                "type": "generation_complete",
                "requestId": generate["requestId"],
                "result": {
                    "text": "whole",
                    "tokens": 1,
                    "model": "m",
                    "latency": 3,
                    "cached": False,
                    "finishReason": "stop",
                    "usage": {
                        "promptTokens": 1,
                        "completionTokens": 1,
                        "totalTokens": 2,
                        "cachedTokens": 0,
                    },
                },
            }
        )
        await peer.start(stream)
        await peer.complete(0)
        await peer.closed()

    async with (
        staged(first, second) as stage,
        connect(stage.url, backoff=at_once) as client,
    ):
        models = asyncio.create_task(client.models())
        generation = asyncio.create_task(client.generate("x"))
        await asyncio.sleep(0)
        stream = client.stream("x")
        load = client.load_model("m.gguf")
        with pytest.raises(ConnectionLost):
            await load
        assert await models == ()
        assert (await generation).text == "whole"
        assert (await stream.result()).finish_reason == "stop"


async def test_anonymous_work_is_not_begun_twice(at_once: Backoff) -> None:
    """A new identity's requestIds mean nothing: an unanswered generate is lost, not run again."""

    async def first(peer: Peer) -> None:
        await peer.greet()
        await peer.expect("generate")
        peer.cut()

    async def second(peer: Peer) -> None:
        await peer.greet(clientId="c-2")
        await peer.send(refused(await peer.expect("resume"), "resume_expired"))
        assert await peer.expect_nothing_until_close() == 1000

    async with (
        staged(first, second) as stage,
        connect(stage.url, backoff=at_once) as client,
    ):
        with pytest.raises(ConnectionLost):
            await client.generate("x")


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
    assert offline == ["nothing heard from the server for 0 s"]


async def test_quiet_server_that_answers_pings_is_kept() -> None:
    """An idle connection stays, as long as its pings are answered."""
    answered = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet(heartbeatInterval=60)
        for _ in range(4):
            await peer.expect("ping")
            await peer.send({"type": "pong", "timestamp": 1})
        answered.set()
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        await answered.wait()
        assert client.connection.state is LinkState.ONLINE


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
