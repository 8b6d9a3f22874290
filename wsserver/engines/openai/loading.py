"""What a load finds out: which endpoints answer, of what kind they are, and what they serve.

Decides whether the model can be served, and says why not in words for an operator. It generates
nothing. The rules: one endpoint that answers is enough; those that don't rest until a request finds
them well again; a reason names an endpoint by its number, since clients read it, too, and where a
server stands is not their business.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from wsserver.core.engine import ModelLoadError
from wsserver.engines.openai import faults
from wsserver.engines.openai.client import Client
from wsserver.engines.openai.dialect import (
    DIALECTS,
    GENERIC,
    LLAMA_SERVER,
    TABBY,
    Dialect,
    dialect_of,
)
from wsserver.engines.openai.settings import OpenAiSettings, place

_log = logging.getLogger(__name__)

DEFAULT_CONTEXT: Final = 8192
_POLL_SECONDS: Final = 0.5
_SHOWN_MODELS: Final = 8
_OK: Final = 200
_LOADING: Final = 503
_NO_LIST: Final = (404, 405, 501)


class _Meta(msgspec.Struct):
    n_ctx: int | None = None


class _Parameters(msgspec.Struct):
    max_seq_len: int | None = None


class _Card(msgspec.Struct):
    id: str = ""
    owned_by: str | None = None
    max_model_len: int | None = None
    meta: _Meta | None = None
    parameters: _Parameters | None = None


class _Cards(msgspec.Struct):
    data: list[_Card] = []


class _SlotSettings(msgspec.Struct):
    n_ctx: int | None = None


class _Properties(msgspec.Struct):
    default_generation_settings: _SlotSettings = msgspec.field(default_factory=_SlotSettings)


@dataclass(frozen=True)
class Found:
    """An endpoint that answered."""

    dialect: Dialect
    model: str
    context: int | None


@dataclass(frozen=True)
class Served:
    """What the endpoints serve together; ``found`` in the order of the settings, None = silent."""

    model: str
    context: int
    found: tuple[Found | None, ...]


async def explore(settings: OpenAiSettings, client: Client) -> Served:
    """Ask all endpoints.

    Raises:
        ModelLoadError: If none answers, or one that does can't serve the model.
    """
    many = len(settings.endpoints) > 1
    names = [f"endpoint {n + 1}" if many else "the server" for n in range(len(settings.endpoints))]
    results = await asyncio.gather(
        *(
            _explore(url, name, settings, client)
            for url, name in zip(settings.endpoints, names, strict=True)
        ),
        return_exceptions=True,
    )
    silent: list[str] = []
    for url, name, result in zip(settings.endpoints, names, results, strict=True):
        if isinstance(result, faults.Fault):
            silent.append(f"{name}: {faults.shown(result.detail)}")
            _log.warning("%s: %s", place(url), result.detail)
        elif isinstance(result, BaseException):
            raise result
    found = tuple(result if isinstance(result, Found) else None for result in results)
    known = [one for one in found if one is not None]
    if not known:
        raise ModelLoadError(f"no endpoint answers ({'; '.join(silent)})")
    models = {one.model for one in known}
    if len(models) > 1 and settings.model is None:
        raise ModelLoadError(
            f"the endpoints serve different models ({', '.join(sorted(models))}): set 'model'"
        )
    contexts = [one.context for one in known if one.context is not None]
    if settings.ctx is not None:
        contexts.append(settings.ctx)
    return Served(known[0].model, min(contexts, default=DEFAULT_CONTEXT), found)


async def _explore(url: str, name: str, settings: OpenAiSettings, client: Client) -> Found:
    """One endpoint.

    Raises:
        Fault: If it does not answer.
        ModelLoadError: If it answers that it can't serve the model.
    """
    cards = await _cards(url, name, settings, client)
    owner = next((card.owned_by for card in cards if card.owned_by), "")
    dialect = DIALECTS[settings.server] if settings.server else dialect_of(owner)
    card = _choose(cards, dialect, settings.model, name)
    context = card.max_model_len
    if card.meta is not None and context is None:
        context = card.meta.n_ctx
    if card.parameters is not None and context is None:
        context = card.parameters.max_seq_len
    if context is None and dialect is LLAMA_SERVER:
        context = await _context_by_properties(url, client, settings.connect_timeout)
    return Found(dialect, settings.model or card.id, context)


async def _cards(url: str, name: str, settings: OpenAiSettings, client: Client) -> list[_Card]:
    """The endpoint's list of models; waits for one that is still loading its own."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + settings.load_timeout
    while True:
        status, content, _ = await client.ask(
            "GET", f"{url}/models", timeout=settings.connect_timeout
        )
        if status != _LOADING or loop.time() >= deadline:
            break
        await asyncio.sleep(_POLL_SECONDS)
    if status in (401, 403):
        key = "refuses the API key" if settings.api_key else "asks for an API key"
        raise ModelLoadError(f"{name} {key}: set 'api_key_env'")
    if status in _NO_LIST:
        if not url.endswith("/v1"):
            raise ModelLoadError(f"{name} has no API at this address; it often ends with 'v1'")
        return []
    if status != _OK:
        raise faults.of_status(status, content, None, client.secrets)
    try:
        return msgspec.json.decode(content, type=_Cards).data
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelLoadError(
            f"{name} speaks no OpenAI API: its list of models can't be read"
        ) from error


def _choose(cards: list[_Card], dialect: Dialect, model: str | None, where: str) -> _Card:
    """The card of the model that is meant.

    Raises:
        ModelLoadError: If that can't be told, or the server does not serve it.
    """
    named = next((card for card in cards if card.id == model), None)
    names = ", ".join(card.id.rpartition("/")[2] for card in cards[:_SHOWN_MODELS])
    if model is None:
        if len(cards) != 1:
            what = f"it serves {names} …" if cards else "it lists none"
            raise ModelLoadError(f"which model of {where}? Set 'model': {what}")
        return cards[0]
    if named is None and cards and dialect.lists_models:
        raise ModelLoadError(f"{where} does not serve {model!r}; it serves {names}")
    if named is None and len(cards) == 1 and dialect in (LLAMA_SERVER, TABBY):
        return cards[0]  # it has one model, and answers by any name
    return named or _Card(id=model)


async def _context_by_properties(url: str, client: Client, timeout: float) -> int | None:
    """llama-server's context of one slot."""
    properties: Any = None
    try:
        status, content, _ = await client.ask(
            "GET", f"{url.removesuffix('/v1')}/props", timeout=timeout
        )
        if status == _OK:
            properties = msgspec.json.decode(content, type=_Properties)
    except (faults.Fault, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return properties.default_generation_settings.n_ctx if properties is not None else None


def dialects(served: Served) -> tuple[Dialect, ...]:
    """The kind of each endpoint; a silent one is taken for what the first other one is."""
    likely = next((one.dialect for one in served.found if one is not None), GENERIC)
    return tuple(likely if one is None else one.dialect for one in served.found)
