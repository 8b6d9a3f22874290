"""The project's own Python files, parsed: what the architecture tests look at."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PACKAGES = {
    "wsserver": ROOT / "wsserver",
    "wsserver_protocol": ROOT / "protocol" / "wsserver_protocol",
    "wsserver_client": ROOT / "clients" / "python" / "wsserver_client",
    "wsserver_terminal": ROOT / "clients" / "terminal" / "wsserver_terminal",
}


@dataclass(frozen=True)
class Module:
    """One Python file. ``name`` is the dotted name that it is imported by."""

    name: str
    path: Path
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def shown(self) -> str:
        return str(self.path.relative_to(ROOT)) if self.path.is_relative_to(ROOT) else self.name

    def imports(self) -> Iterator[tuple[int, str]]:
        """Line and dotted name of everything imported, at any depth; relative names resolved."""
        for node in ast.walk(self.tree):
            match node:
                case ast.Import(names=names):
                    for alias in names:
                        yield node.lineno, alias.name
                case ast.ImportFrom(module=source, names=names, level=level):
                    base = ".".join((*self._parents(level), *([source] if source else [])))
                    for alias in names:
                        # "from a import b": b may be a module, so the longer name is given too.
                        yield node.lineno, f"{base}.{alias.name}"

    def _parents(self, level: int) -> list[str]:
        if not level:
            return []
        parts = self.name.split(".")
        is_package = self.path.name == "__init__.py"
        return parts[: len(parts) - level + is_package]


def read(name: str, path: Path) -> Module:
    return Module(name, path, path.read_text(encoding="utf-8"))


@cache  # parsing all of them takes seconds, and each test looks at all
def package_modules() -> tuple[Module, ...]:
    """Every module that is installed."""
    modules = []
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = [package, *path.relative_to(folder).with_suffix("").parts]
            if parts[-1] == "__init__":
                parts.pop()
            modules.append(read(".".join(parts), path))
    return tuple(modules)


@cache
def modules_of_tests() -> tuple[Module, ...]:
    """Every module under tests/."""
    paths = sorted((ROOT / "tests").rglob("*.py"))
    return tuple(read(".".join(p.relative_to(ROOT).with_suffix("").parts), p) for p in paths)
