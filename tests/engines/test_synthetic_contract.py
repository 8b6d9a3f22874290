"""The synthetic engine keeps the contract of engines."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contracts.engine_contract import Case, EngineContract
from wsserver.core.engine import ModelSpec


def spec(**settings: Any) -> ModelSpec:
    """A fast one, that takes a moment to load."""
    return ModelSpec(
        id="counter",
        engine="synthetic",
        source="synthetic:?tps=2000&ttft_ms=1&load_ms=200",
        settings=settings,
    )


def answer(tokens: int) -> str:
    """What it says in so many tokens."""
    return "".join(f"{number} " for number in range(1, tokens + 1))


class TestSynthetic(EngineContract):
    """The contract's suite."""

    @pytest.fixture
    def case(self) -> Case:
        """The synthetic engine."""
        return Case(
            spec=spec,
            answer=answer,
            stop="4 5",
            half_stop="5 or more",
            unsupported={
                "json_schema": {"type": "object"},
                "grammar": 'root ::= "x"',
                "regex": "[0-9]+",
                "logprobs": 3,
                "tools": ({"type": "function", "function": {"name": "f"}},),
            },
            slow_prefill={"prefill_tps": 3000},
            broken=ModelSpec(id="x", engine="synthetic", source="synthetic:?tps=fast"),
            broken_reason="'tps'",
        )
