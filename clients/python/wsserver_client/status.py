"""Where a client's connection stands, and which step may follow which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final


class LinkState(Enum):
    """Where the connection stands."""

    CONNECTING = "connecting"
    ONLINE = "online"
    OFFLINE = "offline"  # lost; another attempt follows
    CLOSED = "closed"


LINK_STEPS: Final[dict[LinkState, frozenset[LinkState]]] = {
    LinkState.CONNECTING: frozenset({LinkState.ONLINE, LinkState.OFFLINE, LinkState.CLOSED}),
    LinkState.ONLINE: frozenset({LinkState.OFFLINE, LinkState.CLOSED}),
    LinkState.OFFLINE: frozenset({LinkState.CONNECTING, LinkState.CLOSED}),
    LinkState.CLOSED: frozenset(),
}


@dataclass(frozen=True)
class LinkStatus:
    """Told with every change.

    Attributes:
        state: Where the connection stands now.
        reason: Why it is offline or closed, in words.
        retry_in: Seconds until the next attempt; None unless offline.
    """

    state: LinkState
    reason: str = ""
    retry_in: float | None = None


StatusListener = Callable[[LinkStatus], None]
"""Called on the event loop with each change. Must not block."""
