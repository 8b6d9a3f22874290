"""The engine before a scripted server: attempts, faults, cancels, balance."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.contracts.engine_contract import has_text
from tests.engines.driver import running
from tests.engines.openai.scripts import BUSY, Steps, begin_and_hang, say_hello, status
from tests.engines.openai.servers import Exchange, scripted
from tests.engines.openai.specs import ClosedPort, spec_of
from wsserver.core.engine import ChatMessage, FinishReason

pytest.importorskip("aiohttp", reason="the HTTP client is not installed")


async def test_request_says_model_key_and_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model's name, the key as a bearer, and the usage that is wanted."""
    monkeypatch.setenv("UPSTREAM_KEY", "sk-123")
    async with scripted(say_hello) as server:
        spec = spec_of(server.url, api_key_env="UPSTREAM_KEY")
        async with running(spec) as driver:
            result = await driver.run("a", max_tokens=3)
        (exchange,) = server.requests
    assert exchange.path == "/v1/chat/completions"
    assert exchange.headers["authorization"] == "Bearer sk-123"
    assert exchange.body["model"] == "m"
    assert exchange.body["max_tokens"] == 3
    assert exchange.body["stream_options"] == {"include_usage": True}
    assert (result.text, result.tokens, result.reason) == ("hello", 2, FinishReason.STOP)
    assert getattr(result.end, "prompt_tokens", None) == 5


async def test_stream_in_the_smallest_pieces() -> None:
    """Lines, characters and CRLFs cut anywhere, with comments in between."""

    async def drip(exchange: Exchange) -> None:
        await exchange.begin()
        text = (
            ": hello\r\n\r\n"
            'data: {"choices":[{"index":0,"delta":{"content":"🎻 "}}]}\r\n\r\n'
            'data: {"choices":[{"index":0,"delta":{"content":"é"},\r\n'
            'data: "finish_reason":"stop"}]}\r\n\r\ndata: [DONE]\r\n\r\n'
        )
        for byte in text.encode():
            await exchange.send(bytes([byte]))

    async with scripted(drip) as server, running(spec_of(server.url)) as driver:
        result = await driver.run("a")
        assert result.text == "🎻 é"
        assert result.reason is FinishReason.STOP


async def test_busy_server_is_asked_again_before_the_first_token() -> None:
    """503, then a broken connection, then the answer: said once, no fault shown."""

    async def hang_up(exchange: Exchange) -> None:
        exchange.writer.close()

    steps = Steps(status(503, BUSY), hang_up, say_hello)
    async with scripted(steps) as server, running(spec_of(server.url)) as driver:
        result = await driver.run("a")
        assert result.text == "hello"
        assert len(server.requests) == 3


async def test_attempts_are_bounded() -> None:
    """With ``retries`` used up the last fault is the answer."""
    async with scripted(status(503, BUSY)) as server:
        async with running(spec_of(server.url, retries=1)) as driver:
            failure = (await driver.run("a")).failure
        assert (failure.code, failure.retryable) == ("overloaded", True)
        assert len(server.requests) == 2


async def test_retry_after_that_is_too_long_is_not_waited_for() -> None:
    """The client hears at once that the server is busy."""
    async with scripted(status(429, BUSY, Retry_After="3600")) as server:
        async with running(spec_of(server.url)) as driver:
            failure = (await driver.run("a")).failure
        assert (failure.code, failure.retryable) == ("overloaded", True)
        assert len(server.requests) == 1


async def test_another_endpoint_is_asked_first(closed_port: ClosedPort) -> None:
    """A server that is gone costs its requests nothing but the attempt."""
    async with scripted(say_hello) as server:
        spec = spec_of(closed_port.url, server.url, retries=1)
        async with running(spec) as driver:
            for number in range(3):
                assert (await driver.run(f"job {number}")).text == "hello"


async def test_nothing_is_asked_again_once_text_came() -> None:
    """A stream cut off in the middle fails with the text it had; nothing is said twice."""

    async def cut(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.tell("hel")

    async with scripted(cut) as first, scripted(say_hello) as second:
        async with running(spec_of(first.url, second.url)) as driver:
            result = await driver.run("a")
        assert result.text == "hel"
        assert (result.failure.code, result.failure.retryable) == ("generation_failed", True)
        assert len(first.requests) + len(second.requests) == 1


async def test_stream_cut_off_before_text_is_asked_again() -> None:
    """A head and nothing after it is no answer."""

    async def cut(exchange: Exchange) -> None:
        await exchange.begin()

    async with (
        scripted(Steps(cut, say_hello)) as server,
        running(spec_of(server.url)) as driver,
    ):
        assert (await driver.run("a")).text == "hello"


@pytest.mark.parametrize(
    ("code", "body", "expected"),
    [
        (400, {"error": {"message": "maximum context length is 5"}}, "context_length_exceeded"),
        (400, {"error": {"message": "bad"}}, "invalid_parameters"),
        (401, {"error": {"message": "bad key sk-123"}}, "generation_failed"),
        (404, {"error": {"message": "no such model"}}, "model_not_found"),
        (500, {"error": {"message": "out of memory"}}, "generation_failed"),
    ],
)
async def test_refusals_are_told_once_and_without_secrets(
    code: int, body: Any, expected: str
) -> None:
    """Another attempt would say the same."""
    async with scripted(status(code, body)) as server:
        async with running(spec_of(server.url, api_key="sk-123")) as driver:
            failure = (await driver.run("a")).failure
        assert failure.code == expected
        assert "sk-123" not in failure.message
        assert len(server.requests) == 1


async def test_redirect_is_not_followed() -> None:
    """The key would go to whoever the server names."""
    async with scripted(say_hello) as elsewhere:
        there = elsewhere.url + "/chat/completions"
        async with (
            scripted(status(307, None, Location=there)) as server,
            running(spec_of(server.url, api_key="sk-123")) as driver,
        ):
            failure = (await driver.run("a")).failure
        assert failure.code == "generation_failed"
        assert elsewhere.requests == []


async def test_page_in_place_of_a_stream_is_a_fault() -> None:
    """A proxy's 200 with a page for people is no answer."""

    async def page(exchange: Exchange) -> None:
        await exchange.respond(200, b"<html>hello</html>", Content_Type="text/html")

    async with scripted(page) as server, running(spec_of(server.url, retries=0)) as driver:
        assert (await driver.run("a")).failure.code == "generation_failed"


async def test_endpoint_that_fails_in_a_row_rests_and_comes_back() -> None:
    """After two faults nobody asks it, until one request finds it well."""
    steps = Steps(status(503, BUSY), status(503, BUSY), say_hello)
    async with scripted(steps) as server:
        spec = spec_of(server.url, retries=0, breaker_failures=2, breaker_pause=0.5)
        async with running(spec) as driver:
            for job in ("a", "b", "c", "d"):
                assert (await driver.run(job)).failure.code == "overloaded"
            assert len(server.requests) == 2
            number = 0
            while (result := await driver.run(f"later {number}")).text != "hello":
                assert result.failure.code == "overloaded"
                await asyncio.sleep(0.05)  # the pause is the child's, on its own clock
                number += 1
            assert len(server.requests) == 3
            assert (await driver.run("e")).text == "hello"


async def test_bad_requests_of_one_leave_the_way_open_to_others() -> None:
    """No number of refused requests opens the breaker."""
    steps = Steps(*[status(400, {"error": "bad"})] * 8, say_hello)
    async with (
        scripted(steps) as server,
        running(spec_of(server.url, breaker_failures=2)) as driver,
    ):
        for number in range(8):
            assert (await driver.run(f"{number}")).failure.code == "invalid_parameters"
        assert (await driver.run("good")).text == "hello"


async def test_requests_go_to_the_least_busy_endpoint() -> None:
    """Four at once are two each."""
    async with (
        scripted(begin_and_hang) as first,
        scripted(begin_and_hang) as second,
        running(spec_of(first.url, second.url)) as driver,
    ):
        for number in range(4):
            driver.start(f"{number}")
            await driver.until(f"{number}", has_text)
        assert (len(first.requests), len(second.requests)) == (2, 2)


async def test_generic_server_can_not_go_on_with_a_chat() -> None:
    """Refused in words, rather than said twice; a raw prompt goes on."""
    async with scripted(say_hello) as server, running(spec_of(server.url)) as driver:
        failure = (await driver.run("a", prior="so", prior_tokens=1)).failure
        assert failure.code == "generation_failed"
        assert "begun before" in failure.message
        assert server.requests == []
        assert (await driver.run("b", raw="x", prior="so", prior_tokens=1)).text == "hello"
        assert server.requests[0].body["prompt"] == "xso"


async def test_chat_goes_on_within_the_last_message() -> None:
    """White space that a template trims is not shown twice."""

    async def go_on(exchange: Exchange) -> None:
        await exchange.reply("\n", "\nit is")

    async with scripted(go_on, owner="vllm") as server, running(spec_of(server.url)) as driver:
        result = await driver.run("a", prior="so\n\n", prior_tokens=2)
        assert result.text == "it is"
        assert server.requests[0].body["messages"][-1] == {"role": "assistant", "content": "so"}


async def test_tokens_are_counted_by_the_server_or_estimated() -> None:
    """vLLM's tokenizer is asked; a server without one is estimated by, and says so."""

    async def tokenize(exchange: Exchange) -> None:
        assert exchange.path == "/tokenize"
        await exchange.respond(200, {"count": 42, "max_model_len": 8192, "tokens": [1] * 42})

    turns = (ChatMessage(role="user", content="x" * 30),)
    async with scripted(tokenize, owner="vllm") as server, running(spec_of(server.url)) as driver:
        assert await driver.host.count_tokens(messages=turns) == 42
        assert server.requests[0].body["messages"] == [{"role": "user", "content": "x" * 30}]
        assert driver.info is not None
        assert driver.info.description is None
    async with scripted(say_hello) as server, running(spec_of(server.url)) as driver:
        assert await driver.host.count_tokens(messages=turns) == 14
        assert await driver.host.count_tokens(text="") == 0
        assert driver.info is not None
        assert "estimates" in (driver.info.description or "")
        assert server.requests == []
