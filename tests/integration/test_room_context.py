"""What the model is given in a room, over real sockets."""

from __future__ import annotations

from tests.conftest import StartServer
from tests.support.wire import wired


async def test_a_long_log_is_cut_to_the_context(start_server: StartServer) -> None:
    """However long people have talked, an ask fits into a small model's context."""
    server = start_server("--model", "synthetic:?tps=0&ctx=64")
    async with wired(server.ws_url) as wire:
        await wire.ask("join_room", roomId="r", name="Ann")
        for number in range(40):
            await wire.ask("room_message", roomId="r", text=f"word {number} and some more words")
        for _ in range(3):
            start = await wire.stream("and what now", roomId="r", options={"maxTokens": 8})
            end = await wire.end_of(start["streamId"])
            assert (end["type"], end["finishReason"]) == ("stream_complete", "length")
            assert end["usage"]["promptTokens"] <= 56


async def test_an_ask_too_long_for_the_model_says_so(start_server: StartServer) -> None:
    """A single ask over the context ends with the numbers; its entry stays in the log."""
    server = start_server("--model", "synthetic:?tps=0&ctx=64")
    async with wired(server.ws_url) as wire:
        await wire.ask("join_room", roomId="r", name="Ann")
        start = await wire.stream("word " * 100, roomId="r", options={"maxTokens": 8})
        end = await wire.end_of(start["streamId"])
        assert (end["type"], end["code"]) == ("stream_error", "context_length_exceeded")
        page = await wire.ask("room_history", roomId="r")
        assert [m["role"] for m in page["messages"]] == ["user", "assistant"]
