"""Answers that are given again without an engine, over real sockets."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.wire import Wire


async def ask(wire: Wire, prompt: str, **options: Any) -> dict[str, Any]:
    reply = await wire.ask("generate", prompt=prompt, options={"maxTokens": 4, **options})
    assert reply["type"] == "generation_complete"
    result: dict[str, Any] = reply["result"]
    return result


async def test_a_deterministic_answer_is_given_again(wire: Wire) -> None:
    """The second one is the first one's text, marked as cached, with the same counts."""
    first = await ask(wire, "given again", temperature=0)
    second = await ask(wire, "given again", temperature=0)
    assert (first["cached"], second["cached"]) == (False, True)
    assert second["text"] == first["text"]
    assert second["finishReason"] == first["finishReason"]
    assert second["usage"]["completionTokens"] == first["usage"]["completionTokens"]
    assert second["usage"]["cachedTokens"] == first["usage"]["promptTokens"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {}),
        ({"temperature": 0.5}, {"temperature": 0.5}),
        ({"temperature": 0}, {"temperature": 0, "cache": False}),
        ({"temperature": 0}, {"temperature": 0, "maxTokens": 5}),
        ({"seed": 1}, {"seed": 2}),
    ],
)
async def test_what_may_differ_is_made_anew(
    wire: Wire, first: dict[str, Any], second: dict[str, Any]
) -> None:
    """Neither sampled answers nor other options nor a request against it come from the cache."""
    prompt = f"anew {first} {second}"
    await ask(wire, prompt, **first)
    assert (await ask(wire, prompt, **second))["cached"] is False


async def test_a_stream_comes_from_the_cache_whole(wire: Wire) -> None:
    """A cached stream has its start, all its text, and its one end; nothing waits for a slot."""
    options = {"maxTokens": 300, "temperature": 0}
    texts = []
    for _ in range(2):
        start = await wire.stream(prompt="a stream given again", options=options)
        end = await wire.end_of(start["streamId"])
        assert (end["type"], end["totalTokens"]) == ("stream_complete", 300)
        texts.append(wire.copy(start["streamId"]).text)
    assert texts[0] == texts[1] == "".join(f"{n} " for n in range(1, 301))
    assert end["usage"]["cachedTokens"] == end["usage"]["promptTokens"]


async def test_a_reload_forgets(wire: Wire) -> None:
    """What another load of the model has said is not given again."""
    await wire.ask_until("load_model", source="synthetic:?tps=0", id="reloaded")
    asked: dict[str, Any] = {
        "prompt": "x",
        "model": "reloaded",
        "options": {"maxTokens": 3, "temperature": 0},
    }
    await wire.ask("generate", **asked)
    assert (await wire.ask("generate", **asked))["result"]["cached"] is True
    await wire.ask("unload_model", id="reloaded")
    await wire.ask_until("load_model", source="synthetic:?tps=0", id="reloaded")
    assert (await wire.ask("generate", **asked))["result"]["cached"] is False
