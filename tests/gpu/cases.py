"""Cases of the engines' contract for folders, and who is asked whether a GPU can batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.contracts.engine_contract import Case
from tests.tiny_models import answer
from wsserver.core.engine import ModelSpec


def folder_case(engine: str, folder: Path, broken: Path, unsupported: dict[str, Any]) -> Case:
    """The tiny folder by an engine. The load that fails is of a folder without weights."""
    broken.mkdir(exist_ok=True)
    for name in ("config.json", "tokenizer.json"):
        (broken / name).write_bytes((folder / name).read_bytes())

    def spec(**settings: Any) -> ModelSpec:
        # A small cache: many of these tests load the model anew.
        fitting = {"ctx": 4096, "slots": 2, "temperature": 0.0} | settings
        return ModelSpec(
            id="tiny", engine=engine, source=folder.name, path=str(folder), settings=fitting
        )

    return Case(
        spec=spec,
        answer=answer,
        stop=" fox jumps",
        half_stop=" jumps for joy",
        unsupported=unsupported,
        slow_prefill={"chunk": 256},
        broken=ModelSpec(id="x", engine=engine, source=broken.name, path=str(broken)),
        broken_reason="no .safetensors",
    )
