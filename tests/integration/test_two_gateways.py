"""Two gateways of one fleet: a caller is the same on both, and so is what he asked for."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.conftest import Connect, StartServer
from tests.integration.session_steps import sign_in
from tests.integration.test_generating import counted
from tests.support.redis import RedisProcess
from tests.support.server import ServerProcess
from tests.support.waiting import eventually
from tests.support.wire import Frame, Wire

StartPair = Callable[..., tuple[ServerProcess, ServerProcess]]

MODEL = ("--model", "m=synthetic:?tps=100&ttft_ms=0&slots=8")


@pytest.fixture
def start_pair(redis: RedisProcess, start_server: StartServer) -> StartPair:
    """Starts two gateways over one Redis; the first has the only worker."""

    def start(*arguments: str) -> tuple[ServerProcess, ServerProcess]:
        shared = ("--set", f"redis.url={redis.url}", *arguments)
        first = start_server(*MODEL, *shared)
        return first, start_server("--set", "models.start=[]", *shared)

    return start


async def named(connect: Connect, server: ServerProcess, user: str) -> Wire:
    wire = await connect(to=server)
    await wire.ask("authenticate", userId=user)
    return wire


async def test_limits_hold_over_both(start_pair: StartPair, connect: Connect) -> None:
    """Requests a minute and answers at once are counted together."""
    here, there = start_pair(
        *("--set", "limits.requests_per_minute=4", "--set", "limits.max_concurrent_streams=2")
    )
    one, two = await connect(to=here), await connect(to=there)
    starts = [await wire.stream(options={"maxTokens": 100_000}) for wire in (one, two)]
    for wire in (one, two):
        refused = await wire.ask("stream", prompt="x")
        assert (refused["type"], refused["code"]) == ("stream_error", "too_many_streams")
    await one.send(type="stop_stream", streamId=starts[0]["streamId"])
    await one.end_of(starts[0]["streamId"])
    third = await two.ask_until("generate", prompt="x", options={"maxTokens": 1})
    assert third["type"] in ("generation_complete", "generation_error")
    left = (await one.ask("get_status"))["limits"]
    assert left == (await two.ask("get_status"))["limits"] | {"resetIn": left["resetIn"]}
    refused = await one.ask("batch", prompts=["x"] * 4)
    assert (refused["type"], refused["code"]) == ("batch_error", "rate_limited")
    refusals = b'wsserver_rate_limited_total{limit="%s"}'
    assert refusals % b"requests_per_minute" in metrics(here)
    for server in (here, there):
        assert refusals % b"max_concurrent_streams" in metrics(server)
    await two.ask("interrupt")


async def test_a_request_is_the_same_on_both(start_pair: StartPair, connect: Connect) -> None:
    """Sent again to the other gateway it brings the first one's answer; another body is refused."""
    here, there = start_pair()
    one, two = [await named(connect, server, "ada") for server in (here, there)]
    body: Frame = {"prompt": "x", "requestId": "same", "options": {"maxTokens": 50}}
    first = await one.ask("stream", **body)
    again = await two.ask("stream", **body)
    assert again["streamId"] == first["streamId"]
    for wire in (one, two):
        assert (await wire.end_of(first["streamId"]))["type"] == "stream_complete"
        assert wire.copy(first["streamId"]).text == counted(50)
    other = await two.ask("stream", **(body | {"prompt": "y"}))
    assert (other["type"], other["code"]) == ("stream_error", "duplicate_request")


async def test_a_client_stops_on_one_what_it_began_on_the_other(
    start_pair: StartPair, connect: Connect
) -> None:
    """It comes back to another gateway, and stops by its own requestId and by the streamId."""
    here, there = start_pair()
    one = await connect(to=here)
    starts = [await one.stream(requestId=f"r{n}", options={"maxTokens": 100_000}) for n in range(2)]
    await one.first_token(starts[1]["streamId"])
    await one.cut()
    back = await connect(to=there)
    back.rules.sent_ids |= {"r0", "r1"}
    streams = {start["streamId"]: 0 for start in starts}
    resumed = await back.ask("resume", resumeToken=one.connected["resumeToken"], streams=streams)
    assert [s["requestId"] for s in resumed["streams"]] == ["r0", "r1"]
    await back.send(type="stop_stream", requestId="r0")
    await back.send(type="stop_stream", streamId=starts[1]["streamId"])
    for start in starts:
        end = await back.end_of(start["streamId"])
        assert (end["type"], end["reason"]) == ("stream_stopped", "client")
        assert end["stoppedBy"] == one.connected["clientId"]
        assert end["offset"] == len(back.copy(start["streamId"]).text)
    await eventually(lambda: b'wsserver_slots{model="m",state="busy"} 0.0' in metrics(there))


@pytest.mark.parametrize("kind", ["stream", "generate"])
async def test_a_request_is_stopped_by_its_id_on_any_gateway(
    start_pair: StartPair, connect: Connect, kind: str
) -> None:
    """Another device of the same user, on another gateway, that never heard of it: both are told
    its end. Others' ids are their own."""
    here, there = start_pair()
    one, two, other = await connect(to=here), await connect(to=there), await connect(to=there)
    for wire, user in ((one, "stopper"), (two, "stopper"), (other, "other")):
        await sign_in(wire, user)
    await one.send(type=kind, requestId="mine", prompt="x", options={"maxTokens": 100_000})
    await eventually(lambda: b'wsserver_slots{model="m",state="busy"} 1.0' in metrics(here))
    assert (await other.ask("stop_stream", requestId="mine"))["code"] == "stream_not_found"
    end = await two.ask("stop_stream", requestId="mine")
    assert end["type"] == {"stream": "stream_stopped", "generate": "generation_complete"}[kind]
    assert (await one.until(end["type"], requestId="mine"))["requestId"] == "mine"
    assert (await two.ask("stop_stream", requestId="mine"))["code"] == "stream_not_found"


async def test_a_turn_that_waits_is_stopped_from_elsewhere(
    start_pair: StartPair, connect: Connect
) -> None:
    """It is in no line yet, and led by another gateway, which hears of the stop and ends it at
    once; the session's next turn has its turn."""
    here, there = start_pair()
    one, two = [await named(connect, server, "ada") for server in (here, there)]
    await one.ask("open_session", sessionId="s")
    first = await one.stream("first", sessionId="s", options={"maxTokens": 100_000})
    waiting = await two.stream("second", sessionId="s")
    await one.send(type="stop_stream", streamId=waiting["streamId"])
    end = await two.end_of(waiting["streamId"])
    assert (end["type"], end["stoppedBy"]) == ("stream_stopped", one.connected["clientId"])
    third = await one.stream("third", sessionId="s", options={"maxTokens": 5})
    await one.send(type="stop_stream", streamId=first["streamId"])
    assert (await one.end_of(third["streamId"]))["type"] == "stream_complete"


async def test_a_gateway_without_a_worker_is_not_ready(
    start_pair: StartPair, connect: Connect
) -> None:
    """Its workers' end is seen by `/readyz`; it lives, and says why it can't answer."""
    here, there = start_pair()
    wire = await connect(to=there)
    assert there.get("/readyz")[0] == 200
    assert b"wsserver_workers 1.0" in metrics(there)  # who loads nothing at its start is none
    assert here.stop() == 0
    await eventually(lambda: there.get("/readyz")[0] == 503, 10)
    assert there.get("/healthz")[0] == 200
    assert b"wsserver_workers 0.0" in metrics(there)
    refused = await wire.ask("load_model", source="synthetic:")
    assert (refused["type"], refused["code"]) == ("model_load_error", "model_not_ready")
    error = await wire.ask("stream", prompt="x")
    assert (error["type"], error["code"], error["retryable"]) == (
        "stream_error",
        "model_not_ready",
        True,
    )


def metrics(server: ServerProcess) -> bytes:
    return server.get("/metrics")[2]


async def test_a_stop_that_redis_loses_is_asked_for_again(
    redis: RedisProcess, start_pair: StartPair, connect: Connect
) -> None:
    """The answer's worker stands still when its stop comes and goes; then it ends all the same."""
    here, there = start_pair()
    wire = await connect(to=there)
    start = await wire.stream(options={"maxTokens": 100_000})
    await wire.first_token(start["streamId"])
    here.signal(signal.SIGSTOP)
    try:
        key = f"wsserver:{{g:{start['streamId']}}}:m"
        await wire.send(type="stop_stream", streamId=start["streamId"])
        await eventually(lambda: redis.ask("HDEL", key, "cancel", "cancelled_by") == ":2\r\n")
        await eventually(lambda: redis.ask("HEXISTS", key, "cancel") == ":1\r\n", 15)
    finally:
        here.signal(signal.SIGCONT)
    end = await wire.end_of(start["streamId"], 30)
    assert (end["type"], end["reason"]) == ("stream_stopped", "client")
