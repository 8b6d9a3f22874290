"""Schemas that llama.cpp makes a grammar of by itself."""

from __future__ import annotations

from typing import Any

import pytest

from wsserver.core.engine import Sampling
from wsserver.engines.contract import JobRefused
from wsserver.engines.schemas import fault_in, refuse_deadly


def inside(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a list in a map."""
    return {"type": "object", "properties": {"a": {"anyOf": [{"type": "null"}, schema]}}}


@pytest.mark.parametrize(
    ("schema", "part"),
    [
        ({"type": "string", "minLength": 5, "maxLength": 1}, "minLength"),
        ({"type": "array", "minItems": 2, "maxItems": 1}, "minItems"),
        ({"type": "string", "pattern": "^a{3,1}$"}, "pattern"),
        ({"type": "string", "pattern": "^([ab]c){" + "9" * 5_000 + ",10}$"}, "pattern"),
    ],
)
def test_bounds_that_cross_are_found_with_their_path(schema: dict[str, Any], part: str) -> None:
    """Wherever it stands, the part is named."""
    fault = fault_in(inside(schema), "jsonSchema")
    assert fault is not None
    assert fault[0] == f"jsonSchema.properties.a.anyOf[1].{part}"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "minLength": 1, "maxLength": 1, "pattern": "^a{1,3}b{02,2}c{2,}$"},
        {"type": "string", "pattern": r"^\{3,1}$"},
        {"type": "object", "properties": {"minLength": {"type": "integer"}, "pattern": {}}},
    ],
)
def test_other_schemas_are_left_alone(schema: dict[str, Any]) -> None:
    """What is in order, escaped, or only named so is no fault."""
    assert fault_in(inside(schema), "x") is None


def test_refusal_names_the_tool() -> None:
    """The path leads from the request's options."""
    now = {"type": "function", "function": {"name": "now"}}
    bad = inside({"type": "array", "minItems": 1, "maxItems": 0})
    tool = {"type": "function", "function": {"name": "t", "parameters": bad}}
    refuse_deadly(Sampling(tools=(now,), json_schema={"type": "array", "minItems": 1}))
    with pytest.raises(JobRefused, match="larger than maxItems") as caught:
        refuse_deadly(Sampling(tools=(now, tool)))
    path = "options.tools[1].function.parameters.properties.a.anyOf[1].minItems"
    assert caught.value.field == path
