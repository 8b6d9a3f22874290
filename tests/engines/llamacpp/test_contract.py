"""The llama.cpp engine keeps the contract of engines, on tiny models made for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.contracts.engine_contract import Case, EngineContract
from tests.tiny_models import TinyModel, TinyModels, answer
from wsserver.core.engine import ModelSpec

pytest.importorskip("xllamacpp", reason="llama.cpp's binding is not installed")


class TestLlamaCpp(EngineContract):
    """The contract's suite."""

    @pytest.fixture
    def case(self, tiny_models: TinyModels, tmp_path: Path) -> Case:
        """A model that recites one sentence for ever."""
        path = tiny_models.path(TinyModel(mode="cycle"))
        broken = tmp_path / "broken.gguf"
        broken.write_bytes(path.read_bytes()[:1_000_000])

        def spec(**settings: Any) -> ModelSpec:
            return ModelSpec(
                id="tiny", engine="llamacpp", source=path.name, path=str(path), settings=settings
            )

        return Case(
            spec=spec,
            answer=answer,
            stop=" fox jumps",
            half_stop=" jumps for joy",
            unsupported={
                "banned_strings": ("fox",),
                "json_schema": {"type": "object"},  # this tokenizer puts a space before a text
                "regex": "[0-9]+",
                "tools": ({"type": "function", "function": {"name": "f"}},),
            },
            slow_prefill={"batch": 32},
            broken=ModelSpec(id="x", engine="llamacpp", source="broken.gguf", path=str(broken)),
            broken_reason="not within the file bounds",
        )
