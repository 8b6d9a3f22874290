"""What a scripted server does, in the tests of the openai engine."""

from __future__ import annotations

from typing import Any

from tests.engines.openai.servers import Exchange

BUSY = {"error": {"message": "at capacity"}}


async def say_hello(exchange: Exchange) -> None:
    """A whole answer."""
    await exchange.reply("hel", "lo", prompt_tokens=5, completion_tokens=3)


async def hang(exchange: Exchange) -> None:
    """Say nothing until the other side hangs up."""
    await exchange.hung_up.wait()


async def begin_and_hang(exchange: Exchange) -> None:
    """One piece, then silence."""
    await exchange.begin()
    await exchange.tell("hel")
    await exchange.hung_up.wait()


class Steps:
    """Does another thing at each request; the last one for ever."""

    def __init__(self, *scripts: Any) -> None:
        self._scripts = list(scripts)

    async def __call__(self, exchange: Exchange) -> None:
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        await script(exchange)


def status(code: int, body: Any = None, **headers: str) -> Any:
    """A script that answers with a status."""

    async def answer(exchange: Exchange) -> None:
        await exchange.respond(code, body or {}, **headers)

    return answer
