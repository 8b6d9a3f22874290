"""Before a real llama-server: what its API promises, seen through the engine."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest

from tests.contracts.engine_contract import has_text
from tests.engines.driver import running
from tests.engines.openai.servers import llama_server
from tests.engines.openai.specs import spec_of
from tests.tiny_models import TinyModel, TinyModels, answer
from wsserver.core.engine import ChatMessage, Failed, FinishReason, Sampling

pytest.importorskip("aiohttp", reason="the HTTP client is not installed")

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"fox": {"enum": ["quick", "brown"]}, "dogs": {"type": "boolean"}},
    "required": ["fox", "dogs"],
    "additionalProperties": False,
}


async def test_it_is_recognised(llama_url: str) -> None:
    """Its context is that of a slot, its name is no path, its options are declared."""
    async with running(spec_of(llama_url)) as driver:
        assert driver.info is not None
        assert driver.info.context_length == 2048
        assert "/" not in driver.info.name
        assert driver.info.unsupported_options == {"banned_strings", "regex"}
        assert driver.info.capabilities == ("chat", "json_schema", "grammar", "logprobs", "tools")


async def test_character_of_several_tokens_comes_whole(llama_url: str) -> None:
    """Four byte tokens of one character are one piece that counts four."""
    async with running(spec_of(llama_url)) as driver:
        result = await driver.run("a", max_tokens=23)
        assert result.text == answer(23)
        assert [delta.tokens for delta in result.deltas if "🎻" in delta.text] == [4]


async def test_end_of_turn_is_a_stop(tiny_models: TinyModels) -> None:
    """The token that ends the turn is none of the answer's."""
    path = tiny_models.path(TinyModel(mode="sentence"))
    with llama_server(path) as url:
        async with running(spec_of(url)) as driver:
            result = await driver.run("a")
            assert result.reason is FinishReason.STOP
            assert (result.text, result.tokens) == (answer(23), 23)


async def test_second_turn_is_cached(llama_url: str) -> None:
    """The tokens of the first turn are not computed again, and that is told."""
    async with running(spec_of(llama_url)) as driver:
        first = ChatMessage(role="user", content="the fox " * 60)
        said = await driver.run("a", messages=(first,), max_tokens=4)
        turns = (
            first,
            ChatMessage(role="assistant", content=said.text),
            ChatMessage(role="user", content="and then"),
        )
        result = await driver.run("b", messages=turns, max_tokens=4)
        assert getattr(result.end, "cached_tokens", 0) > 100


async def test_log_probabilities(llama_url: str) -> None:
    """One per token, as many alternatives as asked."""
    async with running(spec_of(llama_url)) as driver:
        sampling = Sampling(temperature=0.0, logprobs=2)
        for fields in ({}, {"raw": "story"}):
            result = await driver.run(f"job {fields}", max_tokens=3, sampling=sampling, **fields)
            told = [one for delta in result.deltas for one in delta.logprobs or ()]
            assert "".join(one.token for one in told) == result.text
            assert all(len(one.top) == 2 and one.logprob <= 0 for one in told)


async def test_schema_and_seed(tiny_models: TinyModels) -> None:
    """An answer keeps to its schema; the same seed says the same; a bad grammar is refused."""
    path = tiny_models.path(TinyModel(mode="bigram", tokenizer="byte-level"))
    with llama_server(path) as url:
        async with running(spec_of(url)) as driver:
            bound = Sampling(temperature=1.0, seed=1, json_schema=SCHEMA)
            result = await driver.run("a", max_tokens=200, sampling=bound)
            assert set(json.loads(result.text)) == {"fox", "dogs"}
            seeded = Sampling(temperature=1.5, seed=7)
            texts = {(await driver.run(f"s{n}", sampling=seeded, max_tokens=20)).text for n in "12"}
            assert len(texts) == 1
            bad = Sampling(grammar="root ::= (")
            assert (await driver.run("b", sampling=bad)).failure.code == "invalid_parameters"


async def test_server_that_dies_in_mid_answer(tiny_models: TinyModels) -> None:
    """The text so far stands, and the next request says that nobody answers."""
    server = llama_server(tiny_models.path(TinyModel(mode="cycle")))
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(server)
        async with running(spec_of(url, retries=0)) as driver:
            driver.start("a", max_tokens=1_000_000)
            await driver.until("a", has_text)
            stack.close()
            await driver.wait_for(lambda: isinstance(driver.so_far("a").outputs[-1], Failed))
            result = driver.so_far("a")
            assert answer(23 * 100).startswith(result.text)
            assert (result.failure.code, result.failure.retryable) == ("generation_failed", True)
            assert (await driver.run("b")).failure.code == "overloaded"
