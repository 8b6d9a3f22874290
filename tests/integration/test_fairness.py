"""Many callers, few slots: who waits for whom, over real sockets."""

from __future__ import annotations

from tests.conftest import StartServer
from tests.support.wire import wired

ONE_SLOT = "synthetic:?slots=1&tps=0&ttft_ms=0"
MANY = ("--set", "limits.max_concurrent_streams=2000", "--set", "limits.frames_burst=2000")


async def test_a_flood_delays_a_stranger_by_one_turn(start_server: StartServer) -> None:
    """One user has 500 requests waiting; another's single request is the next that is begun."""
    server = start_server("--model", "synthetic:?slots=1&tps=50", *MANY)
    async with wired(server.ws_url) as flood, wired(server.ws_url) as single:
        await flood.ask("authenticate", userId="flood")
        await single.ask("authenticate", userId="single")
        running = await flood.stream(options={"maxTokens": 100_000})
        await flood.first_token(running["streamId"])
        for number in range(500):
            await flood.send(
                type="stream", prompt="x", requestId=f"f{number}", options={"maxTokens": 100_000}
            )
        await flood.until("stream_start", requestId="f499")
        asked = await single.stream(options={"maxTokens": 3})
        assert asked["queuePosition"] <= 2  # the running one's owner may be told as next
        await flood.send(type="stop_stream", streamId=running["streamId"])
        end = await single.end_of(asked["streamId"])
        assert end["type"] == "stream_complete"
        begun = {frame["streamId"] for frame in flood.of_type("stream_token")}
        assert begun <= {running["streamId"]}
        await flood.send(type="interrupt", requestId="all")
        await flood.until("interrupted")


async def test_who_waits_too_long_is_told(start_server: StartServer) -> None:
    """A request that finds no slot in time ends as overloaded, with when to come back."""
    server = start_server("--model", ONE_SLOT, *MANY, "--set", "limits.queue_seconds=0.2")
    async with wired(server.ws_url) as wire:
        await wire.stream(options={"maxTokens": 1_000_000, "tokenInterval": 1000})
        waiting = await wire.stream(options={"maxTokens": 5})
        end = await wire.end_of(waiting["streamId"])
        assert (end["type"], end["code"], end["retryable"]) == ("stream_error", "overloaded", True)
        assert end["retryAfter"] > 0
        await wire.ask("interrupt")


async def test_a_full_queue_refuses(start_server: StartServer) -> None:
    """Past the bound a request is refused at once, and what waits goes on waiting."""
    server = start_server("--model", ONE_SLOT, *MANY, "--set", "limits.queue_per_model=2")
    async with wired(server.ws_url) as wire:
        options = {"maxTokens": 1_000_000, "tokenInterval": 1000}
        starts = [await wire.stream(options=options) for _ in range(3)]
        refused = await wire.ask("stream", prompt="x")
        assert (refused["type"], refused["code"]) == ("stream_error", "overloaded")
        assert refused["retryAfter"] > 0
        assert [start["type"] for start in starts] == ["stream_start"] * 3
        await wire.ask("interrupt")
