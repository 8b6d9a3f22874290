"""What a load finds out, and why it fails."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engines.driver import Driver, running
from tests.engines.openai.scripts import Steps, say_hello, status
from tests.engines.openai.servers import Exchange, scripted
from tests.engines.openai.specs import ClosedPort, spec_of
from wsserver.core.engine import ModelLoadError, ModelSpec

pytest.importorskip("aiohttp", reason="the HTTP client is not installed")


async def failure_of(spec: ModelSpec) -> str:
    """Why a load fails."""
    with pytest.raises(ModelLoadError) as caught:
        await Driver(spec).load()
    return str(caught.value)


async def test_model_and_context_are_asked_of_the_server() -> None:
    """The one model it serves, and how long its context is; a smaller setting counts."""
    async with scripted(say_hello, models=("org/name-7b",), max_model_len=4096) as server:
        async with running(spec_of(server.url)) as driver:
            assert driver.info is not None
            assert driver.info.name == "name-7b"
            assert driver.info.context_length == 4096
            assert driver.info.slots == 8
            assert driver.info.capabilities == ("chat", "json_schema", "logprobs", "tools")
        async with running(spec_of(server.url, ctx=512, slots=3)) as driver:
            assert driver.info is not None
            assert (driver.info.context_length, driver.info.slots) == (512, 3)


async def test_unknown_context_is_the_setting_or_a_default() -> None:
    """A server that does not tell."""
    async with scripted(say_hello, max_model_len=None) as server:
        for settings, context in (({}, 8192), ({"ctx": 100_000}, 100_000)):
            async with running(spec_of(server.url, **settings)) as driver:
                assert driver.info is not None
                assert driver.info.context_length == context


async def test_no_endpoint_that_answers_is_said_with_each_reason(closed_port: ClosedPort) -> None:
    """All of them, by their numbers: clients read the reason, and need no addresses."""
    async with scripted(say_hello, on_list=status(502)) as server:
        reason = await failure_of(spec_of(closed_port.url, server.url))
    assert "no endpoint answers" in reason
    assert "endpoint 1: connection refused" in reason
    assert "endpoint 2: status 502" in reason
    assert "127.0.0.1" not in reason


async def test_one_endpoint_that_answers_is_enough(closed_port: ClosedPort) -> None:
    """The other one rests until it is found well."""
    async with (
        scripted(say_hello) as server,
        running(spec_of(closed_port.url, server.url, retries=0)) as driver,
    ):
        for number in range(3):
            assert (await driver.run(f"{number}")).text == "hello"


async def test_server_that_still_loads_is_waited_for() -> None:
    """llama-server and others answer 503 until their model is there."""

    async def listed(exchange: Exchange) -> None:
        await exchange.respond(200, {"data": [{"id": "m"}]})

    steps = Steps(status(503), listed)
    async with (
        scripted(say_hello, on_list=steps) as server,
        running(spec_of(server.url)) as driver,
    ):
        assert (await driver.run("a")).text == "hello"
    async with scripted(say_hello, on_list=status(503)) as server:
        assert "503" in await failure_of(spec_of(server.url, load_timeout=0.0))


@pytest.mark.parametrize(
    ("fields", "settings", "reason"),
    [
        ({"on_list": status(401)}, {}, "asks for an API key"),
        ({"on_list": status(403)}, {"api_key": "sk-123"}, "refuses the API key"),
        ({"on_list": status(200, b"<html>")}, {}, "speaks no OpenAI API"),
        ({"models": ("a", "b")}, {}, "which model of"),
        ({"models": ()}, {}, "it lists none"),
        ({"owner": "vllm"}, {"model": "other"}, "does not serve 'other'; it serves m"),
    ],
)
async def test_load_that_can_not_serve_says_why(
    fields: dict[str, Any], settings: dict[str, Any], reason: str
) -> None:
    """In words for the operator, without the key."""
    async with scripted(say_hello, **fields) as server:
        failure = await failure_of(spec_of(server.url, **settings))
    assert reason in failure
    assert "sk-123" not in failure


async def test_server_without_a_model_list_serves_by_name() -> None:
    """Some gateways have none; then the name must be given."""
    async with (
        scripted(say_hello, on_list=status(404)) as server,
        running(spec_of(server.url, model="gpt")) as driver,
    ):
        await driver.run("a")
        assert server.requests[0].body["model"] == "gpt"


async def test_endpoints_with_different_models_need_a_name() -> None:
    """They would answer as two models under one name."""
    async with scripted(say_hello) as first, scripted(say_hello, models=("n",)) as second:
        assert "different models" in await failure_of(spec_of(first.url, second.url))


async def test_operator_may_say_what_a_server_lacks() -> None:
    """An option that its kind has, and this build has not, is refused by name."""
    async with scripted(say_hello, owner="vllm") as server:
        spec = spec_of(server.url, unsupported=["grammar"])
        async with running(spec) as driver:
            assert driver.info is not None
            lacking = {"grammar", "typical_p", "banned_strings"}
            assert driver.info.unsupported_options == lacking


async def test_kind_of_a_server_may_be_said() -> None:
    """A proxy in front of a vLLM lists models under its own name."""
    async with (
        scripted(say_hello, owner="proxy") as server,
        running(spec_of(server.url, server="vllm")) as driver,
    ):
        assert driver.info is not None
        assert "regex" in driver.info.capabilities


async def test_address_without_its_version_is_found_out() -> None:
    """A base that is one part short fails the load, and not every request after it."""
    async with scripted(status(404)) as server:
        spec = spec_of(server.url.removesuffix("/v1"), model="m")
        assert "often ends with 'v1'" in await failure_of(spec)
