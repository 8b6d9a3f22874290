"""The openai engine keeps the contract of engines, in front of a real llama-server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.contracts.engine_contract import Case, EngineContract
from tests.engines.openai.scripts import hang
from tests.engines.openai.servers import scripted
from tests.engines.openai.specs import ClosedPort, spec_of
from tests.tiny_models import answer

pytest.importorskip("aiohttp", reason="the HTTP client is not installed")


class TestOpenAi(EngineContract):
    """The contract's suite."""

    @pytest.fixture
    def case(self, llama_url: str, closed_port: ClosedPort) -> Case:
        """A llama-server; its prompts are slow because their batches are small."""
        return Case(
            spec=lambda **settings: spec_of(llama_url, **settings),
            answer=answer,
            stop=" fox jumps",
            half_stop=" jumps for joy",
            unsupported={"banned_strings": ("fox",), "regex": "[0-9]+"},
            slow_prefill={},
            broken=spec_of(closed_port.url),
            broken_reason="connection refused",
        )

    async def test_close_while_loading_ends_the_load(self, case: Case) -> None:
        """As for all engines; a real server lists its models too quickly to be caught at it."""
        async with scripted(hang, on_list=hang) as server:
            slow = replace(case, spec=lambda: spec_of(server.url))
            await super().test_close_while_loading_ends_the_load(slow)

    async def test_cancelled_load_ends_its_process(self, case: Case) -> None:
        """As for all engines, before a server that is slow to list its models."""
        async with scripted(hang, on_list=hang) as server:
            slow = replace(case, spec=lambda: spec_of(server.url))
            await super().test_cancelled_load_ends_its_process(slow)
