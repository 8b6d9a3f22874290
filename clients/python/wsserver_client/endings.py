"""Why a connection or a request ended: errors of several tasks to the one that a caller gets."""

from __future__ import annotations

from wsserver_client.connection import Disconnected
from wsserver_client.errors import ClientError, ConnectionLost, WireFailure


def leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The errors of all tasks, however deep the groups."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found.extend(leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found


def reason(errors: list[BaseException]) -> ClientError:
    """What ended a connection: a refusal before a close code, and that before mere silence."""
    for error in errors:
        if isinstance(error, ClientError):
            return error
    ends = [error for error in errors if isinstance(error, Disconnected)]
    end = next((error for error in ends if error.code is not None), ends[0])
    return ConnectionLost(str(end), code=end.code)


def as_lost(error: ClientError) -> ConnectionLost:
    return error if isinstance(error, ConnectionLost) else ConnectionLost(str(error))


def too_large(size: int, limit: int) -> WireFailure:
    return WireFailure(
        "payload_too_large", f"the message has {size} bytes, the server takes {limit}"
    )
