"""What a caller may do."""

from __future__ import annotations

from wsserver.gateway.connection import Connection
from wsserver_protocol.errors import ErrorCode, WireError


def require_scope(connection: Connection, scope: str) -> None:
    """Refuse a caller without a scope.

    Raises:
        WireError: ``forbidden``, naming the scope.
    """
    if scope not in connection.client.identity.scopes:
        raise WireError(ErrorCode.FORBIDDEN, f"This needs the scope {scope!r}.")
