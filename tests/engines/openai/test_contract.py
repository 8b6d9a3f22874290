"""The openai engine keeps the contract of engines, in front of a real llama-server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contracts.engine_contract import Case, EngineContract
from tests.tiny_models import answer
from wsserver.core.engine import ModelSpec

pytest.importorskip("aiohttp", reason="the HTTP client is not installed")


def spec_of(url: str, **settings: Any) -> ModelSpec:
    """The spec of a server."""
    return ModelSpec(id="remote", engine="openai", source=f"openai:{url}", settings=settings)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this host where nobody listens, and nobody else can."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


class TestOpenAi(EngineContract):
    """The contract's suite."""

    @pytest.fixture
    def case(self, llama_url: str, closed_port: int) -> Case:
        """A llama-server; its prompts are slow because their batches are small."""
        return Case(
            spec=lambda **settings: spec_of(llama_url, **settings),
            answer=answer,
            stop=" fox jumps",
            half_stop=" jumps for joy",
            unsupported={"banned_strings": ("fox",), "regex": "[0-9]+"},
            slow_prefill={},
            broken=spec_of(f"http://127.0.0.1:{closed_port}/v1"),
            broken_reason="connection refused",
        )
