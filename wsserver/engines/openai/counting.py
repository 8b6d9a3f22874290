"""How many tokens a prompt has, asked of the server, or estimated.

Decides where a count comes from. The rule: a server with a tokenizer is asked; only where it has
none, or does not answer, the count is an estimate from the length of the text, and that is said
in the model's description.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from wsserver.core.engine import ChatMessage, RequestRefused, Sampling
from wsserver.engines.calls import as_turns
from wsserver.engines.openai import faults
from wsserver.engines.openai.client import Client
from wsserver.engines.openai.dialect import Counting
from wsserver.engines.openai.endpoints import Endpoint

# UTF-8 bytes to a token: rather too many tokens than too few, since contexts are cut by it.
_BYTES_PER_TOKEN: Final = 3
_MESSAGE_TOKENS: Final = 4  # that a template puts around a turn
_TIMEOUT_SECONDS: Final = 30.0
_OK: Final = 200
_REFUSALS: Final = (400, 422)

# More than any template puts around turns, system prompts of its own included.
_TEMPLATE_BOUND: Final = 512


class _Answer(msgspec.Struct):
    prompt: str = ""
    tokens: list[Any] | None = None
    count: int | None = None
    length: int | None = None


def estimate(messages: Sequence[ChatMessage] | None, text: str) -> int:
    """Tokens by the length of what there is."""
    tokens = -(-len(text.encode()) // _BYTES_PER_TOKEN)
    for message in messages or ():
        tokens += -(-_size(message) // _BYTES_PER_TOKEN) + _MESSAGE_TOKENS
    return tokens


def bound(messages: Sequence[ChatMessage] | None, text: str) -> int:
    """So many tokens at most: a token has at least a byte."""
    size = sum(_size(message) + 16 for message in messages or ())
    return len(text.encode()) + size + _TEMPLATE_BOUND


def tools_text(sampling: Sampling) -> str:
    """What a template shows of the tools, about: no tokenizer counts them."""
    return msgspec.json.encode(sampling.tools).decode() if sampling.tools else ""


def _size(message: ChatMessage) -> int:
    """Bytes of a turn: what is said, and the calls of tools with some words around each."""
    calls = sum(len(call.name) + len(call.arguments.encode()) + 64 for call in message.tool_calls)
    return len(message.content.encode()) + calls


class Counter:
    """Counts with the tokenizer of an endpoint."""

    def __init__(self, client: Client, model: str) -> None:
        self._client = client
        self._model = model

    async def chat(self, endpoint: Endpoint, messages: Sequence[ChatMessage]) -> int | None:
        """Tokens of a conversation, open for an answer; None where only an estimate is to be had.

        Raises:
            RequestRefused: If the template refuses the conversation.
        """
        root, turns = _root(endpoint.url), as_turns(messages)
        match endpoint.dialect.counting:
            case Counting.LLAMA:
                worded = await self._ask(f"{root}/apply-template", {"messages": turns})
                if worded is None:
                    return None
                body = {"content": worded.prompt, "add_special": True, "parse_special": True}
                return _number(await self._ask(f"{root}/tokenize", body))
            case Counting.TOKENIZE:
                body = {"model": self._model, "messages": turns, "add_generation_prompt": True}
                return _number(await self._ask(f"{root}/tokenize", body))
            case Counting.TABBY:
                return _number(await self._ask(f"{endpoint.url}/token/encode", {"text": turns}))
            case Counting.NONE:
                return None

    async def text(self, endpoint: Endpoint, text: str) -> int | None:
        """Tokens of bare text; None as for `chat`.

        Raises:
            RequestRefused: If the tokenizer refuses the text.
        """
        if not text:
            return 0
        root = _root(endpoint.url)
        match endpoint.dialect.counting:
            case Counting.LLAMA:
                body: dict[str, Any] = {"content": text, "add_special": False}
                return _number(await self._ask(f"{root}/tokenize", body))
            case Counting.TOKENIZE:
                body = {"model": self._model, "prompt": text, "add_special_tokens": False}
                return _number(await self._ask(f"{root}/tokenize", body))
            case Counting.TABBY:
                body = {"text": text, "add_bos_token": False}
                return _number(await self._ask(f"{endpoint.url}/token/encode", body))
            case Counting.NONE:
                return None

    async def _ask(self, url: str, body: dict[str, Any]) -> _Answer | None:
        try:
            status, content, _ = await self._client.ask("POST", url, body, timeout=_TIMEOUT_SECONDS)
        except faults.Fault:
            return None  # the generation will find out, and say so better
        if status in _REFUSALS:
            reason = faults.shown(faults.read_error(content)[0])
            raise RequestRefused(f"the model refuses this input: {reason or 'no reason given'}")
        try:
            return msgspec.json.decode(content, type=_Answer) if status == _OK else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None


def _number(answer: _Answer | None) -> int | None:
    if answer is None:
        return None
    given = (answer.count, answer.length, None if answer.tokens is None else len(answer.tokens))
    return next((number for number in given if number is not None), None)


def _root(url: str) -> str:
    """The server's own address: its calls beside the API stand there."""
    return url.removesuffix("/v1")
