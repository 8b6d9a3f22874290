"""A port that several processes of one server share, and nobody else."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def held_port(host: str, port: int) -> Iterator[int]:
    """Make sure that nobody else has the port, and keep it for processes that share it.

    With ``SO_REUSEPORT`` alone a second server of the same user would come in between unnoticed
    and get every other connection. So the port is asked for first as one that is not shared.
    Sockets that are bound and don't listen take no connections.

    Yields:
        The port, the same for all addresses of ``host``; a free one for 0.

    Raises:
        OSError: As by a server that would listen there.
    """
    with ExitStack() as held:
        for family, _, _, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            place = (address[0], port, *address[2:])
            if port:
                with _bindable(family) as probe:
                    probe.bind(place)
            sharing = held.enter_context(_bindable(family))
            sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sharing.bind(place)
            port = sharing.getsockname()[1]
        yield port


def _bindable(family: socket.AddressFamily) -> socket.socket:
    bindable = socket.socket(family, socket.SOCK_STREAM)
    bindable.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # not the last server's remains
    if family == socket.AF_INET6:
        bindable.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return bindable
