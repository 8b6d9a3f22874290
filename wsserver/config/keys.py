"""The catalogue of keys, read off the section structs: "limits.max_batch" and what it takes.

Section names are single words without an underscore. That makes the environment's names
unambiguous: ``WSSERVER_LIMITS_MAX_BATCH`` splits at its first underscore, and no second spelling
with a doubled one is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, cast, get_args

import msgspec

from wsserver.config.fields import Section
from wsserver.config.sections import Config


@dataclass(frozen=True, slots=True)
class Key:
    """One setting.

    Attributes:
        path: "section.key".
        type: Annotated type, bounds included, as `msgspec.convert` takes it.
        kind: "plain", "path", "url" or "secret".
    """

    path: str
    type: Any
    default: Any
    description: str
    kind: str

    @property
    def section(self) -> str:
        return self.path.partition(".")[0]

    @property
    def name(self) -> str:
        return self.path.partition(".")[2]

    @property
    def env(self) -> str:
        return f"WSSERVER_{self.section}_{self.name}".upper()


def _describe(annotated: Any) -> tuple[str, str]:
    """Return the description and the kind that the `Meta`s of a type carry."""
    description, kind = "", "plain"
    for meta in get_args(annotated):
        if isinstance(meta, msgspec.Meta):
            description = meta.description or description
            kind = (meta.extra or {}).get("kind", kind)
    return description, kind


def keys_of(section: str, struct: type[Section]) -> Iterator[Key]:
    """The keys of one struct, in the order in which it lists them."""
    for field in msgspec.structs.fields(struct):
        description, kind = _describe(field.type)
        default = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = cast(Any, field.default_factory)()
        yield Key(f"{section}.{field.name}", field.type, default, description, kind)


@cache
def sections() -> dict[str, type[Section]]:
    """Section structs by name, in the order of `Config`."""
    return {field.name: field.type for field in msgspec.structs.fields(Config)}


@cache
def catalogue() -> dict[str, Key]:
    """All keys by path."""
    return {key.path: key for name, struct in sections().items() for key in keys_of(name, struct)}
