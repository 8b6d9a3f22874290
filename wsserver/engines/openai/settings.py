"""What an operator sets for a model behind an OpenAI-compatible server.

Decides which keys there are and that their values make sense. It connects to nothing. The rule:
**a source holds no secret**, because sources are shown; the key of an API comes by ``api_key_env``
(or ``api_key``), and an address with a user name in it is refused.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from wsserver.core.engine import ModelLoadError, ModelSpec
from wsserver.engines.catalog import OPENAI_SCHEME
from wsserver.engines.openai.dialect import DIALECTS

_EXAMPLE: Final = "openai:http://127.0.0.1:8000/v1?model=NAME"


@dataclass(frozen=True)
class OpenAiSettings:
    """How the servers are used; times in seconds.

    ``slots``: requests at once, over all endpoints. ``ctx``: bound on the context; left out, what
    the server tells. ``retries``: further attempts before the first token. ``breaker_failures``:
    faults in a row after which an endpoint rests for ``breaker_pause``. ``unsupported``: options
    that this server lacks although its kind has them. ``extra_body``: fields for every request.
    """

    endpoints: tuple[str, ...]
    model: str | None = None
    server: str | None = None
    api_key: str | None = field(default=None, repr=False)
    slots: int = 8
    ctx: int | None = None
    connect_timeout: float = 10.0
    first_token_timeout: float = 300.0
    token_timeout: float = 60.0
    load_timeout: float = 60.0  # for a server that is up and still loads its model
    retries: int = 2
    breaker_failures: int = 5
    breaker_pause: float = 10.0
    unsupported: frozenset[str] = frozenset()
    extra_body: Mapping[str, Any] = field(default_factory=dict)


_WHOLE: Final = {  # key: least, most
    "slots": (1, 4096),
    "ctx": (16, 16_777_216),
    "retries": (0, 10),
    "breaker_failures": (1, 1000),
}
_REAL: Final = {
    "connect_timeout": (0.01, 600.0),
    "first_token_timeout": (0.01, 86_400.0),
    "token_timeout": (0.01, 86_400.0),
    "load_timeout": (0.0, 86_400.0),
    "breaker_pause": (0.0, 86_400.0),
}
_TEXTS: Final = ("model", "api_key", "api_key_env")
_LISTS: Final = ("endpoints", "unsupported")
_KNOWN: Final = (*_WHOLE, *_REAL, *_TEXTS, *_LISTS, "server", "extra_body")


def read_settings(spec: ModelSpec, environment: Mapping[str, str] = os.environ) -> OpenAiSettings:
    """The settings of a load, out of its source and its settings.

    Raises:
        ModelLoadError: For an unknown key or a bad value; it names the key and shows no value
            that could be a secret.
    """
    for key, value in spec.settings.items():
        _check(key, value)
    given = dict(spec.settings)
    address, model = read_source(spec.source)
    if model is not None:
        given.setdefault("model", model)
    endpoints = given.pop("endpoints", [address] if address else [])
    if not endpoints:
        raise ModelLoadError(f"no address: give a source such as {_EXAMPLE}, or 'endpoints'")
    env = given.pop("api_key_env", None)
    if env is not None:
        if "api_key" in given:
            raise ModelLoadError("'api_key' and 'api_key_env' exclude each other")
        given["api_key"] = environment.get(env)
        if not given["api_key"]:
            raise ModelLoadError(f"the environment variable {env} (api_key_env) is not set")
    given["unsupported"] = frozenset(given.get("unsupported", ()))
    urls = tuple(dict.fromkeys(base_url(url) for url in endpoints))
    return OpenAiSettings(endpoints=urls, **given)


def read_source(source: str) -> tuple[str, str | None]:
    """The address and the model's name of a source; an empty address if it has none.

    Raises:
        ModelLoadError: If the query holds anything but a model.
    """
    address, _, query = source.removeprefix(OPENAI_SCHEME).partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    for key, _ in pairs:
        if key != "model":
            raise ModelLoadError(f"a source has no {key!r}: only 'model'; the rest are settings")
    return address, dict(pairs).get("model") or None


def base_url(url: str) -> str:
    """``url`` as it is used; its parts are checked.

    Raises:
        ModelLoadError: If it is no plain HTTP address.
    """
    try:
        parts = urlsplit(url)
        is_plain = parts.scheme in ("http", "https") and bool(parts.hostname)
        parts.port  # noqa: B018 - raises ValueError if it is none
    except ValueError:
        is_plain = False
    if not is_plain:
        raise ModelLoadError(f"an endpoint must be an http: or https: address, as in {_EXAMPLE}")
    if parts.username is not None or parts.password is not None:
        raise ModelLoadError("an endpoint must not hold a user or a password: use 'api_key_env'")
    if parts.query or parts.fragment:
        raise ModelLoadError("an endpoint is an address without a query")
    return url.rstrip("/")


def place(url: str) -> str:
    """Host and port of an address: all that a message may tell of it."""
    return urlsplit(url).netloc


def _check(key: str, value: object) -> None:
    if key in _WHOLE or key in _REAL:
        _check_number(key, value)
    elif key in _TEXTS:
        if not isinstance(value, str) or not value or not value.isprintable():
            raise ModelLoadError(f"{key!r} must be a text")
    elif key in _LISTS:
        if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
            raise ModelLoadError(f"{key!r} must be a list of texts")
    elif key == "server":
        if value not in DIALECTS:
            raise ModelLoadError(f"'server' must be one of {', '.join(DIALECTS)}, not {value!r}")
    elif key == "extra_body":
        if not isinstance(value, dict):
            raise ModelLoadError("'extra_body' must be a map")
    else:
        raise ModelLoadError(f"openai has no setting {key!r}; it has {', '.join(_KNOWN)}")


def _check_number(key: str, value: object) -> None:
    is_whole = key in _WHOLE
    least, most = _WHOLE[key] if is_whole else _REAL[key]
    if (
        isinstance(value, bool)
        or not isinstance(value, int if is_whole else (int, float))
        or not math.isfinite(value)
        or not least <= value <= most
    ):
        kind = "a whole number" if is_whole else "a number"
        raise ModelLoadError(f"{key!r} must be {kind} from {least} to {most}, not {value!r}")
