"""Specs of models behind servers."""

from __future__ import annotations

import socket
from typing import Any

from wsserver.core.engine import ModelSpec


def spec_of(*urls: str, **settings: Any) -> ModelSpec:
    """The spec of one server, or of several."""
    if len(urls) > 1:
        settings["endpoints"] = list(urls)
    source = f"openai:{urls[0]}" if len(urls) == 1 else "openai:"
    return ModelSpec(id="remote", engine="openai", source=source, settings=settings)


class ClosedPort:
    """A port of this host where nobody listens, and nobody else can."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()
