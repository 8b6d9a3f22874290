"""Before a scripted server: cancels, stops and silence close the connection."""

from __future__ import annotations

import asyncio

import pytest

from tests.contracts.engine_contract import has_text
from tests.engines.driver import running
from tests.engines.openai.scripts import BUSY, Steps, begin_and_hang, hang, say_hello, status
from tests.engines.openai.servers import Exchange, scripted
from tests.engines.openai.specs import spec_of
from wsserver.core.engine import FinishReason, Sampling
from wsserver.engines.host import Timing

pytest.importorskip("aiohttp", reason="the HTTP client is not installed")


async def test_no_first_token_in_time_is_a_timeout() -> None:
    """The connection is closed, and the slot free."""
    async with (
        scripted(Steps(hang, say_hello)) as server,
        running(spec_of(server.url, first_token_timeout=0.2)) as driver,
    ):
        failure = (await driver.run("a")).failure
        assert (failure.code, failure.retryable) == ("timeout", True)
        await server.requests[0].hung_up.wait()
        assert (await driver.run("b")).text == "hello"


async def test_silence_in_the_middle_ends_the_answer() -> None:
    """The text so far stands."""
    async with (
        scripted(begin_and_hang) as server,
        running(spec_of(server.url, token_timeout=0.2)) as driver,
    ):
        result = await driver.run("a")
        assert result.text == "hel"
        assert result.failure.code == "generation_failed"
        await server.requests[0].hung_up.wait()


async def test_cancel_before_the_head_closes_the_connection() -> None:
    """Wherever the request waits on the server, its end is seen there."""
    async with scripted(hang) as server, running(spec_of(server.url)) as driver:
        driver.start("a")
        exchange = await server.request()
        driver.host.cancel("a")
        assert (await driver.ended("a")).reason is FinishReason.CANCELLED
        await exchange.hung_up.wait()


async def test_cancel_midway_closes_the_connection() -> None:
    """The text so far stands, the server stops."""
    async with scripted(begin_and_hang) as server, running(spec_of(server.url)) as driver:
        driver.start("a")
        await driver.until("a", has_text)
        driver.host.cancel("a")
        result = await driver.ended("a")
        assert (result.text, result.reason) == ("hel", FinishReason.CANCELLED)
        await server.requests[0].hung_up.wait()


async def test_cancel_between_two_attempts() -> None:
    """A pause is no place to be stuck in."""
    async with (
        scripted(status(429, BUSY, Retry_After="7")) as server,
        running(spec_of(server.url)) as driver,
    ):
        driver.start("a")
        await server.request()
        driver.host.cancel("a")
        async with asyncio.timeout(5):
            assert (await driver.ended("a")).reason is FinishReason.CANCELLED


async def test_stop_string_closes_the_connection() -> None:
    """What comes after it is of no use to anyone."""

    async with scripted(begin_and_hang) as server, running(spec_of(server.url)) as driver:
        result = await driver.run("a", sampling=Sampling(stop=("el",)))
        assert (result.text, result.reason) == ("h", FinishReason.STOP_STRING)
        await server.requests[0].hung_up.wait()


async def test_server_that_thinks_long_is_no_dead_child() -> None:
    """A child waits for its server longer than for a sign of life, and lives."""

    async def late(exchange: Exchange) -> None:
        await asyncio.sleep(1.5)  # longer than the hang below
        await say_hello(exchange)

    async with (
        scripted(late) as server,
        running(spec_of(server.url), Timing(hang=0.8)) as driver,
    ):
        assert (await driver.run("a")).text == "hello"
        assert driver.exits == []
