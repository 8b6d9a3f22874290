"""Single requests, and what happens at the edge of the protocol."""

from __future__ import annotations

import pytest

from tests.clients.python.scripted import Peer, staged
from wsserver_client import (
    ConnectionLost,
    UnexpectedReply,
    WireFailure,
    connect,
)


async def test_single_requests_give_the_protocols_structs() -> None:
    """One message, one typed reply."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        models = await peer.expect("models")
        await peer.send(
            {
                "type": "models_list",
                "requestId": models["requestId"],
                "models": [
                    {
                        "id": "m",
                        "name": "M",
                        "type": "gguf",
                        "status": "ready",
                        "size": 5,
                        "capabilities": ["chat"],
                        "contextLength": 1024,
                        "engine": "llamacpp",
                        "replicas": 1,
                        "slots": 2,
                        "activeStreams": 0,
                        "default": True,
                        "ofTheFuture": 1,
                    }
                ],
            }
        )
        count = await peer.expect("count_tokens")
        assert count["text"] == "a b"
        await peer.send({"type": "token_count", "requestId": count["requestId"], "tokens": 2})
        stop = await peer.expect("interrupt")
        await peer.send(
            {
                "type": "interrupted",
                "requestId": stop["requestId"],
                "streamIds": ["s"],
                "batchIds": [],
            }
        )
        unload = await peer.expect("unload_model")
        assert unload["id"] == "m" and unload["force"] is True
        await peer.send({"type": "model_unloaded", "requestId": unload["requestId"], "id": "m"})
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        (model,) = await client.models()
        assert (model.id, model.context_length, model.default) == ("m", 1024, True)
        assert await client.count_tokens("a b") == 2
        assert (await client.interrupt()).stream_ids == ("s",)
        await client.unload_model("m", force=True)


async def test_session_is_opened() -> None:
    """What an application keeps with a session goes out as it is: its keys are its own."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        opened = await peer.expect("open_session")
        assert opened["systemPrompt"] == "Be brief." and opened["metadata"] == {"my_key": 1}
        await peer.send(
            {
                "type": "session_opened",
                "requestId": opened["requestId"],
                "session": {
                    "sessionId": "ses",
                    "title": None,
                    "createdAt": 1,
                    "updatedAt": 2,
                    "messageCount": 0,
                    "systemPrompt": "Be brief.",
                    "model": None,
                    "owner": "ann",
                },
            }
        )
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        session = await client.open_session(system_prompt="Be brief.", metadata={"my_key": 1})
        assert session.session_id == "ses"


async def test_reply_of_another_kind_is_an_error() -> None:
    """A reply that does not fit the request, or lacks fields, is not passed on as if it did."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        models = await peer.expect("models")
        await peer.send({"type": "pong", "requestId": models["requestId"], "timestamp": 1})
        models = await peer.expect("models")
        await peer.send({"type": "models_list", "requestId": models["requestId"], "models": 5})
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        with pytest.raises(UnexpectedReply, match="pong"):
            await client.models()
        with pytest.raises(UnexpectedReply):
            await client.models()


async def test_any_message_can_be_sent() -> None:
    """`request` takes a message as the wire has it and gives the reply the same way."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("of_the_future")
        assert asked == {"type": "of_the_future", "requestId": "mine", "someField": [1]}
        await peer.send({"type": "future_reply", "requestId": "mine", "x": 1})
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        reply = await client.request(
            {"type": "of_the_future", "requestId": "mine", "someField": [1]}
        )
    assert reply == {"type": "future_reply", "requestId": "mine", "x": 1}


async def test_unreadable_frames_do_no_harm() -> None:
    """Frames that cannot be read, and events of the future, are passed over."""

    async def script(peer: Peer) -> None:
        await peer.send_raw("not json")
        await peer.send_raw(b"\xc1")
        await peer.send_raw("[1]")
        await peer.send_raw('{"no": "type"}')
        await peer.send_raw('{"type": 5}')
        await peer.greet()
        await peer.send({"type": "of_the_future", "roomId": "r", "streamId": "s"})
        await peer.token("nobody's", 8, "s-unknown")
        await peer.send({"type": "error", "code": "rate_limited", "error": "too many frames"})
        await peer.expect("stream")
        await peer.send({"type": "stream_start", "requestId": peer.received[-1]["requestId"]})
        await peer.send({"type": "server_draining", "reconnectAfter": "soon"})
        ping = await peer.expect("ping")
        await peer.send({"type": "pong", "requestId": ping["requestId"], "timestamp": 1})
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        client.stream("x")
        assert await client.ping() < 5


async def test_message_that_is_too_large_stays_here() -> None:
    """A message over the server's limit fails here; the connection lives."""

    async def script(peer: Peer) -> None:
        await peer.greet(limits={"maxMessageBytes": 500})
        ping = await peer.expect("ping")
        await peer.send({"type": "pong", "requestId": ping["requestId"], "timestamp": 1})
        await peer.closed()

    async with staged(script) as stage, connect(stage.url) as client:
        with pytest.raises(WireFailure) as caught:
            await client.stream("x" * 600).result()
        assert caught.value.code == "payload_too_large"
        await client.ping()


async def test_body_that_fails_closes_the_client() -> None:
    """An exception in the ``async with`` body closes the connection and passes on."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        assert await peer.expect_nothing_until_close() == 1000

    async with staged(script) as stage:
        with pytest.raises(ZeroDivisionError):
            async with connect(stage.url) as client:
                assert client.session.heartbeat_interval == 20
                _ = 1 / 0
        with pytest.raises(ConnectionLost):
            await client.ping()
