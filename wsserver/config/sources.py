"""Reading the layers: a TOML file, the environment, flags and ``--set`` become `Entry` lists.

This room says which key was given where and with what; whether the value fits its key is decided
in `wsserver.config.values`. It reads nothing that it is not handed: environment and current folder
are arguments, so that tests need neither.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsserver.config.faults import Fault, Origin, did_you_mean
from wsserver.config.keys import catalogue, sections

PREFIX = "WSSERVER_"

RESERVED = frozenset({"WSSERVER_CONFIG", "WSSERVER_URL", "WSSERVER_API_KEY", "WSSERVER_TOKEN"})
"""Names with a meaning of their own: the file to read, and what the clients take."""

KUBERNETES = re.compile(r"WSSERVER_(SERVICE_(HOST|PORT)\w*|PORT(_\d+_\w+)?)\Z")
"""What Kubernetes sets in every pod beside a Service called "wsserver"; not meant for us."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A key as one layer gives it.

    Attributes:
        path: "section.key", or "section.key.deeper" into a key that holds tables.
        value: As the layer has it.
        is_text: The value is text from a shell and is still to be read as the key's type.
    """

    path: str
    value: Any
    origin: Origin
    is_text: bool = False


@dataclass(frozen=True, slots=True)
class Layer:
    """What one source says; later layers win over earlier ones, key by key."""

    entries: tuple[Entry, ...] = ()
    faults: tuple[Fault, ...] = ()


def _unknown(path: str, origin: Origin) -> Fault:
    section = path.partition(".")[0]
    if section not in sections():
        return Fault(path, f"unknown section{did_you_mean(section, sections())}", origin)
    if path == section:
        return Fault(path, "expected a table of settings", origin)
    return Fault(path, f"unknown key{did_you_mean(path, catalogue())}", origin)


def _sort(entries: Iterable[Entry]) -> Layer:
    """Part entries with a known key from the faults of the others."""
    known, faults = [], []
    for entry in entries:
        if ".".join(entry.path.split(".")[:2]) in catalogue():
            known.append(entry)
        else:
            faults.append(_unknown(entry.path, entry.origin))
    return Layer(tuple(known), tuple(faults))


def key_lines(text: str) -> dict[str, int]:
    """First line (from 1) of each "section.key" in TOML text. A hint for people, not a parser:
    tomllib keeps no positions, and a line inside a multi-line string may be mistaken for a key."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+\s*([\w.\-\" ]+?)\s*\]+\s*(#.*)?$", line):
            table = header[1].replace('"', "").replace(" ", "")
            lines.setdefault(table, number)
        elif key := re.match(r"\s*([\w.\-\" ]+?)\s*=", line):
            name = key[1].replace('"', "").replace(" ", "")
            lines.setdefault(f"{table}.{name}" if table else name, number)
    return lines


def from_file(path: Path, shown: str) -> Layer:
    """Read a TOML file. ``shown`` is its name for people. Never raises."""
    base = path.parent.absolute()
    whole = Origin(shown, base)
    try:
        text = path.read_text(encoding="utf-8")
        tables = tomllib.loads(text)
    except OSError as error:
        return Layer(faults=(Fault("config", f"can't read the file: {error.strerror}", whole),))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return Layer(faults=(Fault("config", f"not valid TOML: {error}", whole),))
    lines = key_lines(text)

    def origin(key: str) -> Origin:
        line = lines.get(key)
        return Origin(f"{shown}:{line}", base) if line else whole

    def entries() -> Iterator[Entry]:
        for section, table in tables.items():
            if section not in sections() or not isinstance(table, dict):
                yield Entry(section, table, origin(section))
                continue
            for name, value in table.items():
                key = f"{section}.{name}"
                yield Entry(key, value, origin(key))

    return _sort(entries())


def from_environment(environment: Mapping[str, str], cwd: Path) -> Layer:
    """Read ``WSSERVER_<SECTION>_<KEY>``; an empty value counts as not set."""

    def entries() -> Iterator[Entry]:
        for name in sorted(environment):
            if not name.startswith(PREFIX) or name in RESERVED or KUBERNETES.match(name):
                continue
            if not environment[name]:
                continue
            section, _, key = name.removeprefix(PREFIX).lower().partition("_")
            origin = Origin(f"environment {name}", cwd)
            yield Entry(f"{section}.{key}", environment[name], origin, is_text=True)

    return _sort(entries())


def from_flags(flags: Mapping[str, tuple[str, Any]], cwd: Path) -> Layer:
    """Take flags as ``{"server.port": ("--port", "9000")}``; text is read by the key's type."""
    return _sort(
        Entry(path, value, Origin(flag, cwd), is_text=isinstance(value, str))
        for path, (flag, value) in flags.items()
    )


def from_settings(settings: Iterable[str], cwd: Path) -> Layer:
    """Take ``--set`` arguments, "section.key=value" each."""
    entries, faults = [], []
    for setting in settings:
        path, equals, value = setting.partition("=")
        origin = Origin("--set", cwd)
        if not equals or path.count(".") < 1:
            faults.append(Fault(setting, "expected section.key=value", origin))
        else:
            entries.append(Entry(path.strip(), value.strip(), origin, is_text=True))
    layer = _sort(entries)
    return Layer(layer.entries, (*faults, *layer.faults))
