"""What can go wrong, and whose doing it is.

    ClientError
    ├── ConnectFailed      no connection could be made
    ├── ConnectionLost     the connection ended (for good, or for this request) before the answer
    ├── RequestTimeout     the server did not answer in time
    ├── WireFailure        the server answered, and the answer is an error
    └── UnexpectedReply    the server answered with something that this version cannot read

Nothing of the WebSocket library reaches a caller: the connection module translates it here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class FieldFault(NamedTuple):
    """What is wrong with one field of a request; ``field`` is its path, as the wire spells it."""

    field: str
    message: str


class ClientError(Exception):
    """Base of everything that this package raises for reasons outside of the program."""


class ConnectFailed(ClientError):
    """No connection could be made.

    Attributes:
        status: HTTP status with which the server refused, None if it was not reached.
        retryable: Whether trying again later may help, with nothing changed.
        retry_after: Seconds that the server asks to wait, None if it does not say.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retryable: bool = True,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retryable = retryable
        self.retry_after = retry_after


class ConnectionLost(ClientError):
    """The connection ended before the answer did, and the answer could not be taken up again.

    Attributes:
        text: The text of the answer so far; empty for requests that are not streams.
        stream_id: The stream, if the request was one and had begun.
        code: WebSocket close code, None if the transport just went away or it was never open.
    """

    def __init__(
        self,
        message: str,
        *,
        text: str = "",
        stream_id: str | None = None,
        code: int | None = None,
    ) -> None:
        super().__init__(message)
        self.text = text
        self.stream_id = stream_id
        self.code = code


class RequestTimeout(ClientError, TimeoutError):
    """The server did not answer a request within the client's ``request_timeout``."""


class UnexpectedReply(ClientError):
    """The reply is none that this version of the client understands."""


class WireFailure(ClientError):
    """The server refused a request, or it failed there.

    Attributes:
        code: One of the protocol's error codes, such as ``model_not_found``.
        message: The reason, in words for people.
        retryable: Whether the same request may succeed later.
        retry_after: Seconds to wait before that, None if the server does not say.
        details: What is wrong with which field.
        text: The text of the answer before it failed; empty for requests that are not streams.
        stream_id: The stream, if it had begun.
        session_id, message_id: Where the text is kept, for a stream that is gone.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool = False,
        retry_after: float | None = None,
        details: Sequence[FieldFault] = (),
        text: str = "",
        stream_id: str | None = None,
        session_id: str | None = None,
        message_id: str | None = None,
    ) -> None:
        super().__init__(message if message else code)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.retry_after = retry_after
        self.details = tuple(details)
        self.text = text
        self.stream_id = stream_id
        self.session_id = session_id
        self.message_id = message_id

    @classmethod
    def from_event(cls, event: Mapping[str, Any], *, text: str = "") -> WireFailure:
        """The failure that an ``error`` or ``…_error`` event tells."""
        retry_after_ms = event.get("retryAfter")
        return cls(
            str(event.get("code") or "internal_error"),
            str(event.get("error") or ""),
            retryable=bool(event.get("retryable", False)),
            retry_after=None if retry_after_ms is None else float(retry_after_ms) / 1000,
            details=tuple(
                FieldFault(str(entry.get("field", "")), str(entry.get("message", "")))
                for entry in event.get("details") or ()
            ),
            text=text,
            stream_id=event.get("streamId"),
            session_id=event.get("sessionId"),
            message_id=event.get("messageId"),
        )

    def __str__(self) -> str:
        words = self.message or self.code
        # Servers tend to name the fields in the message, too; nobody needs to read it twice.
        faults = [fault for fault in self.details if fault.field not in words]
        if not faults:
            return words
        return f"{words} ({'; '.join(f'{fault.field}: {fault.message}' for fault in faults)})"
