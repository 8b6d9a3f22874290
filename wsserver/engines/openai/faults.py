"""What can go wrong with a server, and what follows from it.

Decides of each fault: the code and words that the client gets, whether another attempt may help,
and **whose fault it is**: a circuit breaker counts the server's only, or one caller's bad input
would cut off all others. The rule for words: a client reads no address, no key and no path; the
operator reads the rest in the log.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from wsserver.engines.failures import without_host_paths

_MAX_REASON: Final = 300  # characters of a server's own words
_URL: Final = re.compile(r"\w+://\S+")
_CONTEXT: Final = re.compile(
    r"context.{0,20}(length|size|window)|maximum (model|sequence|input) length|max_model_len"
    r"|max_seq_len|prompt.{0,20}too long|too many tokens",
    re.IGNORECASE,
)
_CONTEXT_TYPES: Final = frozenset(("exceed_context_size_error", "context_length_exceeded"))
_BUSY: Final = "the model's server has no room for more requests"
_DOWN: Final = "the model's server does not answer"


@dataclass(eq=False)  # not frozen: raising sets its traceback
class Fault(Exception):
    """Why an attempt failed. ``message`` is fit for clients, ``detail`` for the operator's log."""

    code: str
    message: str
    detail: str
    retryable: bool = False  # by the client, later
    may_retry: bool = False  # by us, now, as long as no text has come
    is_servers: bool = False  # a circuit breaker counts it
    retry_after: float | None = None  # seconds that the server asked for


def unreachable(detail: str) -> Fault:
    """No connection, or one that broke before an answer."""
    return Fault("overloaded", _DOWN, detail, retryable=True, may_retry=True, is_servers=True)


def all_rest() -> Fault:
    """No endpoint may be asked."""
    return Fault("overloaded", _DOWN, "every endpoint rests after its faults", retryable=True)


def broken(detail: str) -> Fault:
    """An answer that began and then was cut off, or is not what the API promises."""
    return Fault(
        "generation_failed",
        "the model's server broke off the answer",
        detail,
        retryable=True,
        may_retry=True,
        is_servers=True,
    )


def no_call() -> Fault:
    """An answer that had to call a tool and called none."""
    message = "the model called no tool"
    return Fault("generation_failed", message, "no tool_calls", retryable=True)


def ended_by(reason: str) -> Fault:
    """A ``finish_reason`` that is no end in order."""
    if reason == "content_filter":
        message = "the model's server held the answer back (content filter)"
        return Fault("generation_failed", message, f"finish_reason {reason}")
    return Fault(
        "generation_failed",
        "the model's server gave up the answer",
        f"finish_reason {reason!r}",
        retryable=True,
        is_servers=True,
    )


def too_slow(seconds: float, *, has_begun: bool) -> Fault:
    """Silence for longer than the settings allow."""
    what = "went silent in the middle of the answer" if has_begun else "gave no token"
    return Fault(
        "generation_failed" if has_begun else "timeout",
        f"the model's server {what} for {seconds:g} s",
        f"{what} for {seconds:g} s",
        retryable=True,
        is_servers=True,
    )


def of_status(status: int, body: bytes, retry_after: str | None, secrets: tuple[str, ...]) -> Fault:
    """What an HTTP status other than 200 means.

    Args:
        secrets: Texts that must not show, should the server repeat them.
    """
    reason, kind = read_error(body)
    for secret in secrets:
        reason = reason.replace(secret, "…")
    detail = f"status {status}: {reason or 'no reason given'}"
    said = shown(reason)
    if status == 429 or status == 503:
        return Fault(
            "overloaded",
            _BUSY,
            detail,
            retryable=True,
            may_retry=True,
            is_servers=status == 503,
            retry_after=_seconds(retry_after),
        )
    if status in (502, 504):
        return unreachable(detail)
    if status >= 500:
        return Fault(
            "generation_failed",
            "the model's server failed",
            detail,
            retryable=True,
            is_servers=True,
        )
    if status in (401, 403):
        return Fault("generation_failed", "the model's server refuses this server", detail)
    return _of_request(status, said, kind, detail)


def _of_request(status: int, said: str, kind: str, detail: str) -> Fault:
    """Faults of the request itself."""
    if kind in _CONTEXT_TYPES or _CONTEXT.search(said):
        return Fault("context_length_exceeded", said or "the input is too long", detail)
    if status == 404:
        return Fault("model_not_found", "the model's server does not serve this model", detail)
    if status == 413:
        return Fault("payload_too_large", "the input is too large for the model's server", detail)
    if 400 <= status < 500:
        said = f"the model's server refuses this request: {said}" if said else "bad request"
        return Fault("invalid_parameters", said, detail)
    return Fault("generation_failed", "the model's server answered something else", detail)


def of_event(error: Any, secrets: tuple[str, ...]) -> Fault:
    """What an error in the middle of a stream means: a server may find out after its 200."""
    body = msgspec.json.encode({"error": error})
    code = error.get("code") if isinstance(error, dict) else None
    message, kind = read_error(body)
    if isinstance(code, int) and 400 <= code < 600:
        status = code
    else:
        status = 400 if kind in _CONTEXT_TYPES or _CONTEXT.search(message) else 500
    return of_status(status, body, None, secrets)


def read_error(body: bytes) -> tuple[str, str]:
    """The message and the type of an error, in the forms that servers use; empty if none."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "", ""  # a proxy's page: nothing for people
    if isinstance(answer, dict):
        error = answer.get("error", answer)
        if isinstance(error, str):
            return error, ""
        if isinstance(error, dict):
            message = error.get("message") or error.get("detail") or error.get("error") or ""
            kind = error.get("code") if isinstance(error.get("code"), str) else error.get("type")
            return (message if isinstance(message, str) else str(message)), str(kind or "")
    return "", ""


def shown(reason: str) -> str:
    """A server's words as clients may read them."""
    reason = " ".join(without_host_paths(_URL.sub("…", reason)).split())
    return reason if len(reason) <= _MAX_REASON else reason[: _MAX_REASON - 1] + "…"


def _seconds(retry_after: str | None) -> float | None:
    """The header as seconds; a date is left unread."""
    try:
        seconds = float(retry_after or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds < 86_400 else None
