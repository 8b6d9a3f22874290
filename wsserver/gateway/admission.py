"""Who may open a connection: capacity, pace, origin, address."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from wsserver.gateway.services import EdgePolicy

LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "[::1]", "::1"))


def is_origin_allowed(origins: Sequence[str], host: str | None, policy: EdgePolicy) -> bool:
    """Whether a browser page of this origin may connect.

    None (no browser), the same origin, loopback, and what the configuration names. Without this
    any web page could talk to a server on its visitor's own machine.

    Args:
        origins: The values of all Origin headers. A browser sends one.
        host: The Host header.
        policy: Names further origins.
    """
    if not origins or "*" in policy.origins:
        return True
    if len(origins) > 1:
        return False
    (origin,) = origins
    if origin in policy.origins:
        return True
    try:
        parts = urlsplit(origin)
        name = parts.hostname
    except ValueError:
        return False
    if parts.scheme not in ("http", "https"):
        return False
    if name in LOOPBACK_NAMES:
        return True
    return host is not None and parts.netloc.lower() == host.lower()


def client_address(peer: str, forwarded: Sequence[str], policy: EdgePolicy) -> str:
    """The address that limits count by: the peer's, or what a trusted proxy says of it.

    The rightmost address in ``X-Forwarded-For`` that is no trusted proxy: what stands left of it
    the client may have written itself.
    """
    if not forwarded or not _is_trusted(peer, policy):
        return peer
    # Each proxy may add a header of its own instead of extending the one before (RFC 9110 §5.3).
    for address in reversed([part.strip() for part in ",".join(forwarded).split(",")]):
        if not _is_trusted(address, policy):
            return address
    return peer


def _is_trusted(address: str, policy: EdgePolicy) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip in ipaddress.ip_network(net, strict=False) for net in policy.trusted_proxies)
