"""What all events share, and the parts that several of them are made of."""

from __future__ import annotations

import msgspec

from wsserver_protocol.catalogue import FieldError


class ServerMessage(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="type",
    rename="camel",
    omit_defaults=True,
):
    """Base of every message of the server. Optional fields that are None are not sent.

    Attributes:
        request_id: The requestId of the request that this answers; never sent to other clients.
    """

    request_id: str | None = None


class Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of the maps inside events."""


class Failure(ServerMessage, frozen=True, kw_only=True):
    """Base of the events that say that something was refused or failed.

    Attributes:
        code: What happened, for programs: a code of the error catalogue.
        error: What happened, for people.
        retryable: Whether the same request may succeed later.
        details: Which fields are wrong, and how.
        retry_after: Milliseconds to wait before trying again.
    """

    code: str
    error: str
    retryable: bool
    details: tuple[FieldError, ...] | None = None
    retry_after: int | None = None
