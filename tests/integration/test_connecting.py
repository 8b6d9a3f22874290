"""A connection from its handshake on: greeting, encodings, names, the small control messages."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest
from websockets.exceptions import InvalidStatus

from tests.conftest import Connect
from tests.support.server import ServerProcess
from tests.support.wire import Frame, Wire, open_wire, wired


async def test_the_server_speaks_first(wire: Wire) -> None:
    """`connected` has every field of the contract, with the limits that hold."""
    greeting = wire.connected
    assert wire.frames[0] is greeting
    assert greeting["protocolVersion"] == 1
    assert greeting["authRequired"] is False
    assert greeting["heartbeatInterval"] == 20_000
    assert greeting["clientId"] != greeting["resumeToken"]
    assert greeting["serverTime"].endswith("Z") or "+00:00" in greeting["serverTime"]
    assert set(greeting["capabilities"]) == {
        "streaming",
        "batch",
        "models",
        "rooms",
        "sessions",
        "resume",
        "binary",
    }
    assert greeting["limits"] == {
        "maxMessageBytes": 1_048_576,
        "maxBatch": 20,
        "requestsPerMinute": 0,
        "tokensPerMinute": 0,
        "maxConcurrentStreams": 1000,
    }


@pytest.mark.parametrize("path", ["/", "/ws", "/ws?token=x", "/?a=b"])
async def test_both_paths_upgrade(server: ServerProcess, path: str) -> None:
    """`/` and `/ws` are WebSocket addresses, with or without a query."""
    async with wired(server.ws_url + path) as wire:
        assert (await wire.ask("ping"))["type"] == "pong"


async def test_a_client_may_send_before_it_is_greeted(server: ServerProcess) -> None:
    """What is sent before `connected` was read is answered after it."""
    async with wired(server.ws_url, greeted=False) as wire:
        await wire.send(type="ping", requestId="early")
        assert (await wire.receive())["type"] == "connected"
        assert (await wire.receive())["requestId"] == "early"


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (None, None),
        ("wsserver.v1.json", "wsserver.v1.json"),
        ("wsserver.v1.msgpack", "wsserver.v1.msgpack"),
    ],
)
async def test_the_subprotocol_chooses_the_encoding(
    server: ServerProcess, offered: str | None, chosen: str | None
) -> None:
    """Frames go out as the accepted subprotocol says, JSON where none is offered."""
    binary = offered == "wsserver.v1.msgpack"
    async with wired(server.ws_url, binary=binary, subprotocol=offered) as wire:
        assert wire.socket.subprotocol == chosen
        assert (await wire.ask("ping"))["type"] == "pong"


async def test_only_unknown_subprotocols_are_refused(server: ServerProcess) -> None:
    """A client that speaks another protocol learns it by HTTP 400."""
    with pytest.raises(InvalidStatus) as refused:
        await open_wire(server.ws_url, subprotocol="graphql-ws")
    assert refused.value.response.status_code == 400


@pytest.mark.parametrize("binary", [False, True])
async def test_either_opcode_comes_in(server: ServerProcess, binary: bool) -> None:
    """JSON and MessagePack are read on every connection, JSON in a binary frame too."""
    message = {"type": "ping", "requestId": "x"}
    async with wired(server.ws_url, binary=binary) as wire:
        wire.rules.sent(message)
        frames: list[str | bytes] = [
            json.dumps(message),
            json.dumps(message).encode(),
            msgpack.packb(message),
        ]
        for frame in frames:
            await wire.send_raw(frame)
            assert (await wire.receive())["type"] == "pong"


async def test_every_reply_carries_its_request_id(wire: Wire) -> None:
    """A reply has the id of its request; where there was none the server makes one."""
    assert (await wire.ask("models", requestId="mine"))["requestId"] == "mine"
    await wire.send(type="models")
    made = await wire.until("models_list")
    assert made["requestId"] != "mine"


@pytest.mark.parametrize("request_id", ["日本語", "a" * 128, "🎻 with blanks"])
async def test_ids_are_printable_characters_of_any_kind(wire: Wire, request_id: str) -> None:
    """An id is the client's own, in any script."""
    assert (await wire.ask("ping", requestId=request_id))["requestId"] == request_id


@pytest.mark.parametrize("request_id", ["", "a" * 129, "line\nfeed", "nul\0", 7, ["x"], {}])
async def test_a_bad_request_id_is_named(wire: Wire, request_id: Any) -> None:
    """What is no id is refused with its field; an id that can't be an id is not sent back."""
    await wire.send(type="ping", requestId=request_id)
    error = await wire.until("error")
    assert error["code"] == "invalid_parameters"
    assert [detail["field"] for detail in error["details"]] == ["requestId"]


async def test_ping_and_status_tell_of_this_client(wire: Wire) -> None:
    """`pong` has the time; `status` says who this is and what it runs, rooms included."""
    pong = await wire.ask("ping")
    assert abs(pong["timestamp"] / 1000 - 1.7e9) < 1e9
    start = await wire.stream(model="slow", requestId="running")
    await wire.ask("join_room", roomId="status-room")
    status = await wire.ask("get_status")
    assert status["clientId"] == wire.connected["clientId"]
    assert status["userId"] == f"anon-{wire.connected['clientId']}"
    assert status["streams"] == [
        {"streamId": start["streamId"], "requestId": "running", "state": "running"}
    ]
    assert status["rooms"] == ["status-room"]
    assert status["sessionIds"] == []
    assert status["limits"]["streamsLimit"] == 1000
    assert {"requestsLimit", "tokensLimit", "resetIn"} <= set(status["limits"])


async def test_authenticate_takes_a_name(wire: Wire) -> None:
    """With authentication off the userId that is given is who a client is, with every scope."""
    reply = await wire.ask("authenticate", userId="ada", name="Ada")
    assert reply["type"] == "authenticated"
    assert reply["userId"] == "ada"
    assert reply["clientId"] == wire.connected["clientId"]
    assert {"models:write", "metrics:read"} <= set(reply["scopes"])
    assert reply["limits"] == wire.connected["limits"]
    assert (await wire.ask("get_status"))["userId"] == "ada"


async def test_authenticate_needs_nothing_where_no_proof_is_asked(wire: Wire) -> None:
    """A key or token of a client that knows other servers is taken without complaint."""
    every: list[Frame] = [{}, {"apiKey": "k"}, {"token": "t"}]
    for fields in every:
        assert (await wire.ask("authenticate", **fields))["type"] == "authenticated"


@pytest.mark.parametrize("kind", ["nonsense", "connected", "stream_token", "PING", "Stream", " "])
async def test_unknown_types_are_errors(wire: Wire, kind: str) -> None:
    """A type that nobody knows is answered under its requestId, and the connection lives."""
    error = await wire.ask(kind)
    assert (error["type"], error["code"], error["retryable"]) == ("error", "unknown_type", False)
    assert (await wire.ask("ping"))["type"] == "pong"


@pytest.mark.parametrize("kind", [None, 7, [], {}, True])
async def test_a_type_that_cannot_be_read_is_an_invalid_message(wire: Wire, kind: Any) -> None:
    """Without a readable type there is no request: `invalid_message`."""
    error = await wire.ask(kind)
    assert (error["type"], error["code"]) == ("error", "invalid_message")


async def test_snake_case_works_and_camel_case_wins(wire: Wire) -> None:
    """Both spellings come in, at the top level, in options and in messages; camelCase wins."""
    await wire.send(
        type="stream",
        request_id="snake",
        messages=[{"role": "user", "content": "one two three"}],
        options={"max_tokens": 3, "maxTokens": 2, "progress_every": 0, "token_interval": 0},
    )
    complete = await wire.until("stream_complete")
    assert complete["requestId"] == "snake"
    assert complete["totalTokens"] == 2
    assert wire.of_type("stream_progress") == []


async def test_unknown_fields_are_ignored_and_null_is_absent(wire: Wire) -> None:
    """A client of a later version is understood; null means that nothing was given."""
    reply = await wire.ask(
        "generate",
        prompt="a b",
        messages=None,
        model=None,
        sessionId=None,
        options={"maxTokens": 1, "temperature": None, "futureOption": {"x": [1]}},
        futureField=[1, {"y": 2}],
    )
    assert reply["type"] == "generation_complete"


async def test_two_connections_are_two_clients(connect: Connect) -> None:
    """Each connection is a client of its own with a token of its own."""
    one, two = await connect(), await connect()
    assert one.connected["clientId"] != two.connected["clientId"]
    assert one.connected["resumeToken"] != two.connected["resumeToken"]
