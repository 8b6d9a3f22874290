"""Which models the server knows and which it loads at start, out of what people wrote.

A name after ``--model`` may be a file, a scheme: source, or the id of a ``[[models.model]]``. Here
it becomes one of two plain things: an entry with an absolute source, and an id. Whether an engine
can load the source is not asked; only that a named file is there, since a typing error should end
the start and not wait for the first request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from wsserver.config.faults import Fault, Origin, did_you_mean
from wsserver.config.model_sections import ModelEntry, Models
from wsserver.config.values import absolute

# Two letters at least, so that a Windows drive is no scheme.
SCHEME = re.compile(r"([a-z][a-z0-9+.\-]+):", re.ASCII)
# Schemes whose sources the operator may write, and clients only where models.schemes lists them:
# whoever names such a source has this host call an address.
OPERATOR_SCHEMES = frozenset(("openai",))
# Keys of engines' settings that name files, as a path or as a list of maps with a "path".
FILE_SETTINGS = ("draft_model", "lora")
NAMED_SOURCE = re.compile(r"([^\s/\\:=]{1,128})=(.+)", re.DOTALL)

DEMO_ID = "demo"
DEMO_DESCRIPTION = (
    "A demonstration model of 10 million parameters, trained from scratch for this project: it "
    "explains some 2,000 common English nouns, and knows little else."
)


def demo_model() -> ModelEntry:
    """The model that is shipped inside the package."""
    path = files("wsserver").joinpath("demo", "demo.gguf")
    return ModelEntry(
        id=DEMO_ID,
        source=str(path),
        settings={"temperature": 0.6},  # what its own page recommends
        description=DEMO_DESCRIPTION,
    )


class ModelResolver:
    """Collects known models and faults while it reads references. One use."""

    def __init__(self, models: Models, origins: Mapping[str, Origin], cwd: Path) -> None:
        here = Origin("default", cwd)
        self._models = models
        self._start_origin = origins.get("models.start", here)
        self._entry_origin = origins.get("models.model", here)
        self._known: dict[str, ModelEntry] = {}
        self.faults: list[Fault] = []

    def resolve(self, *, start_is_given: bool) -> Models:
        """Return the section with absolute sources and ``start`` as ids, default first.

        ``start_is_given`` tells an empty list that somebody wrote (load nothing) from one that
        nobody wrote (load what is configured, else the demo model).
        """
        for entry in self._models.model:
            self._add_configured(entry)
        for key, message in _fallback_faults(self._models.model):
            self.faults.append(Fault(key, message, self._entry_origin))
        if start_is_given:
            start = list(dict.fromkeys(self._read_references()))
        else:
            start = [entry.id for entry in self._known.values() if entry.load]
            if not self._models.model:
                self._known[DEMO_ID] = demo_model()
                start = [DEMO_ID]
        # A default that is written down counts where no --model says otherwise.
        if not start_is_given:
            start.sort(key=lambda name: not self._known[name].default)
        known = tuple(self._known.values())
        return msgspec.structs.replace(self._models, start=tuple(start), model=known)

    def _add_configured(self, entry: ModelEntry) -> None:
        key = f"models.model.{entry.id}"
        if entry.id in self._known:
            self.faults.append(Fault(key, "this id is given twice", self._entry_origin))
            return
        if entry.default and any(other.default for other in self._known.values()):
            self.faults.append(Fault(key, "a second default = true", self._entry_origin))
        faults = _placement_faults(entry)
        self.faults += [Fault(key, message, self._entry_origin) for message in faults]
        source = self._find(entry.source, key, self._entry_origin)
        settings = {
            name: self._with_files(value, f"{key}.settings.{name}")
            if name in FILE_SETTINGS
            else value
            for name, value in entry.settings.items()
        }
        if source is not None:
            self._known[entry.id] = msgspec.structs.replace(entry, source=source, settings=settings)

    def _with_files(self, value: Any, key: str) -> Any:
        """A setting with its paths absolute; a fault for each that leads nowhere.

        What has another shape is the engine's to refuse.
        """
        if isinstance(value, str):
            found = self._find_file(value, self._entry_origin)
            if found is None:
                self.faults.append(Fault(key, f"no such file: {value}", self._entry_origin))
            return found or value
        if isinstance(value, dict) and "path" in value:
            return {**value, "path": self._with_files(value["path"], f"{key}.path")}
        if isinstance(value, list):
            return [
                self._with_files(item, f"{key}[{number}]") if isinstance(item, dict) else item
                for number, item in enumerate(value)
            ]
        return value

    def _read_references(self) -> Iterator[str]:
        for reference in self._models.start:
            if reference in self._known:
                yield reference
                continue
            named = NAMED_SOURCE.fullmatch(reference)
            wanted, text = (named[1], named[2]) if named else (None, reference)
            if wanted in self._known:
                message = f"the id {wanted} is already taken"
                self.faults.append(Fault("models.start", message, self._start_origin))
                continue
            source = self._find(text, "models.start", self._start_origin)
            if source is not None:
                entry = ModelEntry(id=wanted or self._free_id(source), source=source)
                self._known[entry.id] = entry
                yield entry.id

    def _find(self, source: str, key: str, origin: Origin) -> str | None:
        """Return the source with its path absolute; None and a fault if there is none."""
        if scheme := SCHEME.match(source):
            if scheme[1] in self._models.schemes or scheme[1] in OPERATOR_SCHEMES:
                return source
            message = f"the scheme {scheme[1]}: is not among models.schemes"
            self.faults.append(Fault(key, message, origin))
            return None
        if (path := self._find_file(source, origin)) is not None:
            return path
        hint = did_you_mean(source, self._known)
        message = f"no such file, and no model of that name: {source}{hint}"
        self.faults.append(Fault(key, message, origin))
        return None

    def _find_file(self, name: str, origin: Origin) -> str | None:
        bases = [origin.base, *([Path(self._models.dir)] if self._models.dir else [])]
        paths = (absolute(name, base) for base in bases)
        return next((path for path in paths if Path(path).exists()), None)

    def _free_id(self, source: str) -> str:
        """The file's stem or the scheme's name, with -2, -3 … where it is taken.

        A folder's name is whole: what follows a dot in it, "6.0bpw" say, is no suffix.
        """
        scheme, path = SCHEME.match(source), Path(source)
        name = path.name if path.is_dir() else path.stem
        stem = (scheme[1] if scheme else name)[:120] or "model"
        return next(name for name in numbered(stem) if name not in self._known)


def _placement_faults(entry: ModelEntry) -> Iterator[str]:
    """What is wrong with where a model is to run, in words."""
    if entry.gpus and entry.placement:
        yield "gpus and placement say the same thing twice"
    if entry.placement and entry.replicas not in (1, len(entry.placement)):
        yield f"replicas = {entry.replicas}, but placement has {len(entry.placement)}"
    for one in entry.placement or (entry.gpus,):
        if len(set(one)) < len(one):
            yield f"a GPU is named twice: {list(one)}"
        if entry.placement and not one:
            yield "placement has a replica without a GPU"
        if entry.gpu_split and len(one) != len(entry.gpu_split):
            yield f"gpu_split has {len(entry.gpu_split)} shares for {len(one)} GPUs"


def _fallback_faults(entries: Iterable[ModelEntry]) -> Iterator[tuple[str, str]]:
    """Fallbacks that are no models, or that lead back to where they began; key and message."""
    ways = {entry.id: entry.fallbacks for entry in entries}
    for name, fallbacks in ways.items():
        key = f"models.model.{name}"
        for other in fallbacks:
            if other not in ways:
                yield key, f"the fallback {other} is no [[models.model]]{did_you_mean(other, ways)}"
        reached, waiting = set[str](), list(fallbacks)
        while waiting:
            other = waiting.pop()
            if other not in reached:
                reached.add(other)
                waiting += ways.get(other, ())
        if name in reached:
            yield key, "its fallbacks lead back to itself"


def numbered(stem: str) -> Iterator[str]:
    """ "x", "x-2", "x-3", …"""
    yield stem
    number = 2
    while True:
        yield f"{stem}-{number}"
        number += 1
