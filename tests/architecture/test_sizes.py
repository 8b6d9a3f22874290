"""Rules that keep rooms small and tests honest."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.source import Module, modules_of_tests, package_modules

MAX_MODULE_LINES = 350
MAX_FUNCTION_LINES = 60


def all_modules() -> list[Module]:
    return [*package_modules(), *modules_of_tests()]


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_module_is_longer_than_a_room_should_be() -> None:
    """A module over 350 lines is two rooms in one."""
    lengths = {m.shown: len(m.text.splitlines()) for m in all_modules()}
    assert {name: n for name, n in lengths.items() if n > MAX_MODULE_LINES} == {}


def test_no_function_is_longer_than_a_page() -> None:
    """A function over 60 lines, docstring included, has parts with names of their own."""
    long = [
        f"{module.shown}:{node.lineno} {node.name}"
        for module in all_modules()
        for node in functions(module)
        if (node.end_lineno or 0) - node.lineno + 1 > MAX_FUNCTION_LINES
    ]
    assert long == []


def test_every_module_says_what_it_decides() -> None:
    """A module with code begins with a docstring."""
    silent = [m.shown for m in all_modules() if m.tree.body and not ast.get_docstring(m.tree)]
    assert silent == []


def test_every_test_says_what_it_shows() -> None:
    """A test has a docstring: the sentence that it proves."""
    silent = [
        f"{module.shown}:{node.lineno} {node.name}"
        for module in modules_of_tests()
        for node in functions(module)
        if node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert silent == []


def test_nothing_is_declared_global() -> None:
    """State lives in objects that are handed on, not in modules."""
    found = [
        f"{module.shown}:{node.lineno}"
        for module in all_modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Global)
    ]
    assert found == []


def sleeps_without_reason(module: Module) -> list[str]:
    """Calls of sleep with a time above zero and no comment on their line or the one before."""
    lines = module.text.splitlines()
    found = []
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = ast.unparse(node.func)
        is_zero = isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
        if name not in ("time.sleep", "asyncio.sleep", "sleep") or is_zero:
            continue
        near = "\n".join(lines[max(0, node.lineno - 2) : node.lineno])
        if not re.search(r"#\s*\w+", near):
            found.append(f"{module.shown}:{node.lineno}")
    return found


def test_tests_wait_for_events_and_not_for_time() -> None:
    """A real sleep in a test needs its reason beside it."""
    assert [fault for m in modules_of_tests() for fault in sleeps_without_reason(m)] == []


@pytest.mark.parametrize(
    ("text", "is_fault"),
    [
        ("time.sleep(1)", True),
        ("await asyncio.sleep(delay)", True),
        ("await asyncio.sleep(0)", False),
        ("# the kernel gives no event for this\ntime.sleep(0.1)", False),
    ],
)
def test_sleep_rule_tells_them_apart(text: str, is_fault: bool) -> None:
    """The rule above finds a bare sleep and accepts a zero or an explained one."""
    body = "\n".join(f"    {line}" for line in text.splitlines())
    module = Module("tests.sample", Path("/sample.py"), f"async def f():\n{body}\n")
    assert bool(sleeps_without_reason(module)) is is_fault
