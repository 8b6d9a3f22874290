"""A fallback's answer, as clients see it."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import StartServer
from tests.support.wire import wired

MODELS = """
[[models.model]]
id = "main"
source = "synthetic:?slots=1&tps=50&ttft_ms=0"
fallbacks = ["spare"]
[[models.model]]
id = "spare"
source = "synthetic:?tps=0"
"""


async def test_the_answer_says_who_gave_it(start_server: StartServer, tmp_path: Path) -> None:
    """Where the queue is full or the model unloaded, `model` is the one that answers and
    `requestedModel` the one that was asked; else there is no such field."""
    config = tmp_path / "fallbacks.toml"
    config.write_text(MODELS + "[limits]\nqueue_per_model = 0\n")
    server = start_server("--config", str(config))
    async with wired(server.ws_url) as wire:
        own = await wire.stream(model="main", options={"maxTokens": 20})
        assert (own["model"], "requestedModel" in own) == ("main", False)
        await wire.first_token(own["streamId"])
        other = await wire.stream(model="main", options={"maxTokens": 5})
        assert (other["model"], other["requestedModel"]) == ("spare", "main")
        end = await wire.end_of(other["streamId"])
        assert (end["model"], end["requestedModel"]) == ("spare", "main")
        assert wire.copy(other["streamId"]).text == "1 2 3 4 5 "
        end = await wire.end_of(own["streamId"])
        assert (end["type"], "model" in end) == ("stream_complete", False)
        assert (await wire.ask("unload_model", id="main"))["type"] == "model_unloaded"
        reply = await wire.ask("generate", prompt="x", model="main", options={"maxTokens": 1})
        assert (reply["result"]["model"], reply["result"]["requestedModel"]) == ("spare", "main")
        await wire.ask("unload_model", id="spare")
        refused = await wire.ask("generate", prompt="x", model="main")
        assert refused["code"] == "model_not_ready"
        assert "'main'" in refused["error"]


async def test_a_full_line_tells_when_to_come_back(start_server: StartServer) -> None:
    """`retryAfter` of `overloaded` follows how fast answers have ended lately."""
    server = start_server(
        *("--model", "m=synthetic:?slots=1&tps=100&ttft_ms=0"),
        *("--set", "limits.queue_per_model=0"),
    )
    async with wired(server.ws_url) as wire:
        for _ in range(5):
            await wire.ask("generate", prompt="x", options={"maxTokens": 40})
        start = await wire.stream(options={"maxTokens": 1000})
        await wire.first_token(start["streamId"])
        refused = await wire.ask("generate", prompt="x")
        assert (refused["code"], refused["retryable"]) == ("overloaded", True)
        assert 300 < refused["retryAfter"] < 1000
