"""Hostile input of every type over real sockets: an error that names the field, and life goes on.

Hypothesis makes the messages: fields of the wrong kind, missing, huge, deep, in either spelling, in
both encodings. Whatever comes, each message has its answer, the connection and the server live,
nothing of the host is shown and the log has no error (the server's fixture and the connection's
rules look at each frame).
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import StartServer
from tests.support.server import ServerProcess
from tests.support.wire import Frame, Wire, open_wire
from wsserver_protocol.errors import ERROR_EVENT_BY_REQUEST
from wsserver_protocol.requests import REQUEST_TYPES

# Not those that would end the test's own connection or let it wait for long.
TYPES = sorted(set(REQUEST_TYPES) - {"resume", "authenticate"})

OPTION_NAMES = (
    *("maxTokens", "temperature", "topP", "topK", "minP", "typicalP", "seed", "stop", "cache"),
    *("repetitionPenalty", "presencePenalty", "frequencyPenalty", "bannedStrings", "logitBias"),
    *("jsonSchema", "grammar", "regex", "logprobs", "priority", "timeout", "progressEvery"),
    *("tokenInterval", "onDisconnect", "max_tokens", "top_p", "on_disconnect", "unknownOption"),
)
FIELD_NAMES = (
    *("prompt", "messages", "system", "raw", "model", "sessionId", "parentId", "regenerate"),
    *("roomId", "streamId", "batchId", "fromOffset", "prompts", "text", "data", "source", "id"),
    *("format", "immediate", "force", "name", "state", "invite", "lastSeq", "limit", "cursor"),
    *("title", "systemPrompt", "metadata", "before", "branch", "settings", "userId", "role"),
    *("stream_id", "from_offset", "room_id", "session_id", "last_seq", "expiresIn", "unknownField"),
)

text = st.text(st.characters(codec="utf-8"), max_size=40)
numbers = st.one_of(
    st.integers(-3, 30),
    st.sampled_from([2**31, 2**53, -(2**53) - 1, 2**63, 2**64 - 1, -(2**63), 10**15]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1e308, 5e-324, 1.5]),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, text)
messages = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {}, optional={"role": st.one_of(scalars, st.just("user")), "content": scalars}
        ),
        scalars,
    ),
    max_size=3,
)


def deep(levels: int) -> Any:
    """A list in a list in a list."""
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


values = st.one_of(
    scalars,
    st.lists(scalars, max_size=4),
    st.dictionaries(text, scalars, max_size=3),
    messages,
    st.sampled_from([deep(10), deep(70), deep(250), deep(500), {"a": {"b": deep(100)}}]),
    st.sampled_from(["x" * 129, "x" * 5000, "\0", "\u2028", "🎻" * 200, "../..", "/etc/passwd"]),
)
options = st.one_of(st.dictionaries(st.sampled_from(OPTION_NAMES), values, max_size=4), values)
hostile = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES)},
    optional={"options": options, "prompt": text, "messages": messages},
).flatmap(
    lambda base: st.dictionaries(st.sampled_from(FIELD_NAMES), values, max_size=5).map(
        lambda fields: fields | base
    )
)


class Line:
    """One connection on a loop of its own, for tests that hypothesis drives."""

    def __init__(self, server: ServerProcess, *, binary: bool) -> None:
        self._runner = asyncio.Runner()
        self._server = server
        self.binary = binary
        self.wire: Wire = self._runner.run(open_wire(server.ws_url, binary=binary))

    def exchange(self, fields: Frame) -> list[Frame]:
        """Send a message, stop what it may have begun, and return all that came."""
        return self._runner.run(self._exchange(fields))

    async def _exchange(self, fields: Frame) -> list[Frame]:
        wire = self.wire
        before = len(wire.frames)
        request_id = fields["requestId"]
        await wire.send(**fields)
        while (await wire.receive()).get("requestId") != request_id:
            pass
        await wire.ask("interrupt")
        await wire.settle()
        return wire.frames[before:]

    def raw(self, data: str | bytes) -> list[Frame]:
        """Send a frame as it is, and return what came before the answer to a `ping`."""
        return self._runner.run(self._raw(data))

    async def _raw(self, data: str | bytes) -> list[Frame]:
        before = len(self.wire.frames)
        self.wire.rules.sent_ids |= {f"b{number}" for number in range(30)}
        await self.wire.send_raw(data)
        await self.wire.settle()
        return self.wire.frames[before:]

    def renew(self) -> None:
        """Go on with a new connection."""
        self._runner.run(self.wire.close())
        self.wire = self._runner.run(open_wire(self._server.ws_url, binary=self.binary))

    def close(self) -> None:
        """Close the connection and the loop."""
        self._runner.run(self.wire.close())
        self._runner.close()


@pytest.fixture(scope="module")
def tough_server(start_module_server: StartServer) -> ServerProcess:
    """A server that a flood of bad messages does not make slower by its limits."""
    return start_module_server(
        *("--model", "synthetic:?tps=0&ctx=1000"),
        *("--set", "limits.frames_per_second=1000000"),
        *("--set", "limits.frames_burst=1000000"),
        *("--set", "resume.window_seconds=0"),
    )


@pytest.fixture(scope="module", params=[False, True], ids=["json", "msgpack"])
def line(tough_server: ServerProcess, request: pytest.FixtureRequest) -> Iterator[Line]:
    """A connection in each encoding, kept over all examples: none may end it."""
    line = Line(tough_server, binary=request.param)
    yield line
    line.close()


def is_sendable(fields: Frame, *, binary: bool) -> bool:
    """Whether the encoder of the test itself can write it."""
    try:
        msgpack.packb(fields) if binary else json.dumps(fields)
    except (ValueError, RecursionError, OverflowError):
        return False
    return True


@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(fields=hostile)
def test_whatever_comes_has_an_answer(line: Line, fields: Frame) -> None:
    """A message of any type with any fields works or is refused by an error with words."""
    if fields["type"] == "load_model" and str(fields.get("source", "")).startswith("synthetic"):
        return
    if not is_sendable(fields, binary=line.binary):
        return
    request_id = line.wire.new_id()
    frames = line.exchange(fields | {"requestId": request_id})
    own = [frame for frame in frames if frame.get("requestId") == request_id]
    for frame in own:
        if "code" in frame and frame["type"] != "batch_item":
            assert frame["type"] in (ERROR_EVENT_BY_REQUEST[fields["type"]], "error")
            assert frame["code"] != "internal_error", (fields, frame)
            assert frame["error"]
            if frame["code"] == "invalid_parameters":
                assert frame["details"], (fields, frame)
                assert all(d["field"] and d["message"] for d in frame["details"])


json_values = st.recursive(
    scalars | st.sampled_from([float("nan"), float("inf")]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=10,
)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(value=json_values, binary=st.booleans())
def test_any_value_as_a_frame(line: Line, value: Any, binary: bool) -> None:
    """Any JSON or MessagePack value in a frame of either opcode is answered by one error."""
    frames = line.raw(msgpack.packb(value) if binary else json.dumps(value))
    (error, _) = frames
    assert error["code"] in ("invalid_message", "unknown_type")
    # Twenty of these within ten seconds would end the connection, so that it is a new one each.
    if error["code"] == "invalid_message":
        line.renew()


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.binary(max_size=60) | st.text(max_size=60))
def test_any_bytes_as_a_frame(line: Line, data: str | bytes) -> None:
    """Bytes that mean nothing are answered by one error."""
    frames = line.raw(data)
    assert [frame["type"] for frame in frames[:-1]] == ["error"]
    line.renew()


NASTY: list[tuple[str, dict[str, Any]]] = [
    ("stream", {"prompt": "x", "unknown": base64.b64decode("AAEC"), "requestId": "b1"}),
    ("stream", {"prompt": "x", "unknown": {"k": b"\xff"}, "requestId": "b2"}),
    ("stream", {"prompt": b"bytes", "requestId": "b3"}),
    ("generate", {"prompt": "x", "unknown": msgpack.Timestamp(1), "requestId": "b4"}),
    ("generate", {"prompt": "x", "unknown": [msgpack.Timestamp(1)], "requestId": "b5"}),
    ("generate", {"prompt": "x", "unknown": deep(300), "requestId": "b6"}),
    ("generate", {"prompt": "x", "unknown": {1: {2: 3}}, "requestId": "b7"}),
    ("generate", {"prompt": "x", "unknown": float("nan"), "requestId": "b8"}),
    ("generate", {"prompt": "x", "options": {"temperature": float("nan")}, "requestId": "b9"}),
    ("generate", {"prompt": "x", "options": {"temperature": float("inf")}, "requestId": "b10"}),
    ("generate", {"prompt": "x", "options": {"logitBias": {1: 5}}, "requestId": "b11"}),
    ("generate", {"prompt": "x", "options": {"jsonSchema": {b"a": 1}}, "requestId": "b12"}),
    ("room_message", {"roomId": "r", "data": b"\x00", "requestId": "b13"}),
    ("room_message", {"roomId": "r", "data": {1: 2}, "requestId": "b14"}),
    ("room_message", {"roomId": "r", "data": float("nan"), "requestId": "b15"}),
    ("room_message", {"roomId": "r", "data": 2**64 - 1, "requestId": "b16"}),
    ("room_message", {"roomId": "r", "data": deep(65), "requestId": "b17"}),
    ("join_room", {"roomId": "r", "state": {"x": [msgpack.Timestamp(5)]}, "requestId": "b18"}),
    ("load_model", {"source": "x.gguf", "options": {"x": b"\x00"}, "requestId": "b19"}),
    ("batch", {"prompts": ["a", b"b"], "requestId": "b20"}),
    ("resume", {"resumeToken": b"x", "requestId": "b21"}),
    ("resume", {"resumeToken": "x", "streams": {1: 2}, "requestId": "b22"}),
    ("resume", {"resumeToken": "x", "rooms": {"r": {"epoch": 5}}, "requestId": "b23"}),
    ("authenticate", {"userId": b"x", "requestId": "b24"}),
]


@pytest.mark.parametrize(("kind", "fields"), NASTY)
def test_what_only_messagepack_can_say(
    tough_server: ServerProcess, kind: str, fields: dict[str, Any]
) -> None:
    """Bytes, timestamps, integer keys, NaN: refused or ignored, never a fault of the server."""
    line = Line(tough_server, binary=True)
    frames = line.raw(msgpack.packb({"type": kind, **fields}))
    line.close()
    codes = [frame["code"] for frame in frames if "code" in frame]
    assert "internal_error" not in codes
    assert frames[0]["type"] != "pong" or kind in ("generate", "stream")


def test_the_same_key_twice(tough_server: ServerProcess) -> None:
    """Of a key that occurs twice the last value counts."""
    line = Line(tough_server, binary=False)
    frames = line.raw('{"type":"models","type":"ping","requestId":"a","requestId":"b1"}')
    assert (frames[0]["type"], frames[0]["requestId"]) == ("pong", "b1")
    line.close()
