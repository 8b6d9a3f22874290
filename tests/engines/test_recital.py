"""The engine that the documentation teaches by keeps the contract, as it stands there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.engine_contract import Case, EngineContract
from wsserver.core.engine import ModelSpec
from wsserver.engines import catalog

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "engines.md"

# Imported by every Python that finds it, the child's as well: there is no other way into a child.
_SITE = """
from wsserver.engines import catalog
catalog.ENTRIES["recital"] = catalog.Entry(
    name="recital",
    factory="recital:RecitalEngine",
    owns=lambda source: source.startswith("recital:"),
    unsupported_options=frozenset(),
)
"""


def code_of(document: str) -> list[str]:
    """The Python blocks of a document."""
    return re.findall(r"^```python\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)


def spec(**settings: Any) -> ModelSpec:
    """The engine's spec."""
    return ModelSpec(id="r", engine="recital", source="recital:", settings=settings)


def answer(tokens: int) -> str:
    """What it says."""
    return "".join(("to ", "be ", "or ", "not ")[n % 4] for n in range(tokens))


class TestRecital(EngineContract):
    """The contract's suite."""

    @pytest.fixture(autouse=True)
    def known(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """The documented module where the child imports from, and its entry in the catalogue."""
        (tmp_path / "recital.py").write_text(code_of(DOCUMENT.read_text(encoding="utf-8"))[0])
        (tmp_path / "sitecustomize.py").write_text(_SITE)
        monkeypatch.syspath_prepend(str(tmp_path))
        entry = catalog.Entry("recital", "recital:RecitalEngine", lambda _: False, frozenset())
        monkeypatch.setitem(catalog.ENTRIES, "recital", entry)
        yield

    @pytest.fixture
    def case(self) -> Case:
        """The engine of the documentation."""
        return Case(
            spec=spec,
            answer=answer,
            stop="not to",
            half_stop="to sleep",
            unsupported={
                "json_schema": {"type": "object"},
                "grammar": 'root ::= "x"',
                "regex": "[0-9]+",
                "logprobs": 3,
                "tools": ({"type": "function", "function": {"name": "f"}},),
                "banned_strings": ("x",),
            },
            slow_prefill={"chunk": 1},
            broken=spec(ctx="long"),
            broken_reason="'ctx'",
        )

    async def test_close_while_loading_ends_the_load(self, case: Case) -> None:
        """Not for this one: it loads at once."""
        pytest.skip("it loads at once")

    async def test_cancelled_load_ends_its_process(self, case: Case) -> None:
        """Not for this one: it loads at once."""
        pytest.skip("it loads at once")


def test_example_is_short() -> None:
    """A next engine is a day's work: the whole of one fits a page and a half."""
    example = code_of(DOCUMENT.read_text(encoding="utf-8"))[0]
    lines = [line for line in example.splitlines() if line.strip()]
    assert len(lines) <= 100
