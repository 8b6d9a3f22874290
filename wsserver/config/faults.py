"""What is wrong with a configuration, and where it was said.

All faults of all layers are collected before any is reported: a person who mends a file wants the
whole list, not the first line of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Origin:
    """The place that set a key.

    Attributes:
        label: As shown to people: "wsserver.toml:12", "environment WSSERVER_LOG_LEVEL", "--port".
        base: Folder against which a relative path from this place is read.
    """

    label: str
    base: Path


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing to mend. ``key`` is "section.key", or what stood in its place."""

    key: str
    message: str
    origin: Origin | None = None

    def __str__(self) -> str:
        where = f" ({self.origin.label})" if self.origin else ""
        return f"{self.key}: {self.message}{where}"


class ConfigError(Exception):
    """The configuration can't be used; ``faults`` has every reason, never none."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ", did you mean X?" for the nearest of ``known``, or "" if none is near."""
    near = get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f", did you mean {near[0]}?" if near else ""
