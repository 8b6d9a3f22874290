"""Who may ask for what, before a request costs anything."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from wsserver.core.ask import Ask
from wsserver.core.identity import PRIORITY_HIGH, SCOPES, Identity
from wsserver.gateway.connection import Connection
from wsserver.gateway.handlers.generation import admit
from wsserver_protocol.errors import ErrorCode, WireError
from wsserver_protocol.options import GenerationOptions


class ModelAskedFor(Exception):
    """The request came as far as its model."""


def admitted(priority: int, scopes: frozenset[str]) -> None:
    """Ask with a priority and these scopes; raises `ModelAskedFor` where that is allowed."""
    identity = Identity("ann", "address:1", scopes=scopes)

    def require(model: str | None) -> None:
        raise ModelAskedFor

    services = SimpleNamespace(require_open=lambda: None, models=SimpleNamespace(require=require))
    client = SimpleNamespace(identity=identity)
    connection = cast(Connection, SimpleNamespace(services=services, client=client))
    admit(connection, Ask(identity, "c", GenerationOptions(priority=priority)), 1)


@pytest.mark.parametrize("priority", [1, 10])
def test_overtaking_needs_its_scope(priority: int) -> None:
    """A priority above 0 is refused to who lacks the scope, and the scope is named."""
    with pytest.raises(WireError, match=PRIORITY_HIGH) as refused:
        admitted(priority, frozenset(SCOPES) - {PRIORITY_HIGH})
    assert refused.value.code is ErrorCode.FORBIDDEN
    with pytest.raises(ModelAskedFor):
        admitted(priority, frozenset(SCOPES))


@pytest.mark.parametrize("priority", [-10, 0])
def test_standing_back_needs_none(priority: int) -> None:
    """Everybody may let others go first."""
    with pytest.raises(ModelAskedFor):
        admitted(priority, frozenset(("chat",)))
