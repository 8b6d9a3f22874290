"""pyproject.toml declares what is imported, and constraints.txt pins what it declares."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import packages_distributions

from tests.architecture.source import PACKAGES, ROOT, package_modules

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

EXTRAS = {
    "wsserver": ("server", "cpu", "openai", "exllamav2", "exllamav3"),
    "wsserver_protocol": (),
    "wsserver_client": (),
    "wsserver_terminal": ("terminal",),
}
"""Installed package to the extras that it may rely on besides the base install."""


def plain(name: str) -> str:
    """A distribution's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements: list[str]) -> set[str]:
    return {plain(re.split(r"[\s\[<>=!~;]", text, maxsplit=1)[0]) for text in requirements}


def test_every_imported_package_is_declared_where_it_is_needed() -> None:
    """A fresh install has what each part imports: a package of the venv alone is not enough."""
    distributions = packages_distributions()
    missing = []
    for module in package_modules():
        top = module.name.partition(".")[0]
        declared = names(PROJECT["dependencies"])
        for extra in EXTRAS[top]:
            declared |= names(PROJECT["optional-dependencies"][extra])
        for line, name in module.imports():
            package = name.partition(".")[0]
            if package in PACKAGES or package in sys.stdlib_module_names:
                continue
            if not {plain(d) for d in distributions.get(package, [package])} & declared:
                missing.append(f"{module.shown}:{line} imports {package}")
    assert missing == []


def test_every_declared_package_is_pinned() -> None:
    """What scripts/run installs is one version of each, apart from the GPU's packages."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = names([line for line in lines if "==" in line and not line.startswith("#")])
    declared = names(PROJECT["dependencies"])
    for extra in ("server", "cpu", "openai", "terminal", "dev"):
        declared |= names(PROJECT["optional-dependencies"][extra])
    assert declared - pinned == set()


def test_every_requirement_is_bounded() -> None:
    """A release of somebody else with another interface does not reach us unawares."""
    extras = PROJECT["optional-dependencies"]
    everything = [*PROJECT["dependencies"], *(r for list in extras.values() for r in list)]
    unbounded = [text for text in everything if "<" not in text and "==" not in text]
    assert set(unbounded) == {"torch>=2.6"}  # chosen with the CUDA driver by the operator
