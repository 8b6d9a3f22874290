"""The same request under the same id is run once.

An entry remembers what a request became, from its acceptance until ten minutes after its end.
What was refused before it began is not remembered; what failed later answers with its failure.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass
from typing import Any

import orjson

from wsserver.core.identity import Identity
from wsserver_protocol.errors import ErrorCode, WireError


@dataclass(slots=True)
class Remembered:
    """One request and what it became: an answer, a batch, or the event that replied to it."""

    key: tuple[str, str]
    fingerprint: bytes
    outcome: object
    ended_at: float | None = None  # loop seconds


class Idempotency:
    """Requests of this process by identity and requestId.

    Args:
        retention: Seconds for which an ended request is remembered.
    """

    def __init__(self, retention: float) -> None:
        self._retention = retention
        self._entries: dict[tuple[str, str], Remembered] = {}
        self._ended: deque[Remembered] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    def find(
        self, identity: Identity, request_id: str, fields: dict[str, Any], now: float
    ) -> Remembered | None:
        """What the identity's earlier request under this id became, None if there was none.

        Raises:
            WireError: ``duplicate_request`` if that one asked for something else.
        """
        self._expire(now)
        entry = self._entries.get((identity.key, request_id))
        if entry is not None and entry.fingerprint != fingerprint(fields):
            raise duplicate_request()
        return entry

    def outcome(self, identity: Identity, request_id: str) -> object | None:
        """What is remembered under an id, whatever was asked for."""
        entry = self._entries.get((identity.key, request_id))
        return entry.outcome if entry is not None else None

    def remember(
        self, identity: Identity, request_id: str, fields: dict[str, Any], outcome: object
    ) -> Remembered:
        """Note what a request became, now that it is accepted."""
        key = (identity.key, request_id)
        entry = Remembered(key, fingerprint(fields), outcome)
        self._entries[key] = entry
        return entry

    def end(self, entry: Remembered, now: float) -> None:
        """The request has ended: its retention begins."""
        if entry.ended_at is None:
            entry.ended_at = now
            self._ended.append(entry)

    def forget(self, entry: Remembered) -> None:
        """The request was refused after all: the same id may be used again."""
        if self._entries.get(entry.key) is entry:
            del self._entries[entry.key]

    def _expire(self, now: float) -> None:
        while self._ended and (self._ended[0].ended_at or 0.0) < now - self._retention:
            entry = self._ended.popleft()
            if self._entries.get(entry.key) is entry:
                del self._entries[entry.key]


def duplicate_request() -> WireError:
    """``duplicate_request``: the id was used for something else."""
    return WireError(
        ErrorCode.DUPLICATE_REQUEST,
        "This requestId was used for another request; use a new one for each.",
    )


def fingerprint(fields: dict[str, Any]) -> bytes:
    """A digest of a request without its id; the order of fields does not count."""
    body = {name: value for name, value in fields.items() if name != "requestId"}
    return hashlib.blake2b(
        orjson.dumps(body, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS), digest_size=16
    ).digest()
