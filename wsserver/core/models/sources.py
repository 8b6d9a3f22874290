"""What a client may name as a model's source, and what it means.

A source is a configured name, a path under the model folder, or an allowed ``scheme:``. Anything
else is refused, in words that never show a path of this host. Symbolic links count by where they
lead, so that a link out of the folder is no way out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wsserver.core.engine import ModelSpec
from wsserver.core.models.placement import OPTIONS, Placement, with_options
from wsserver_protocol.errors import ErrorCode, FieldError, WireError

SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*):")


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model that the operator has configured."""

    id: str
    source: str
    engine: str
    path: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    description: str | None = None
    placement: Placement = Placement()
    fallbacks: tuple[str, ...] = ()  # models that answer where this one can't, in order


@dataclass(frozen=True, slots=True)
class SourcePolicy:
    """What `load_model` may load.

    ``choose_engine`` names the engine for a source or a file, None when no engine takes it.
    ``operator_settings`` are each engine's keys that a client may not give: where the server
    connects to is not theirs to say, and a key of its operator's must not go there.
    ``split_settings`` are their names for the shares of several GPUs.
    ``file_settings`` are each engine's keys that name files: what a client gives there lies under
    the model folder, like a source.
    """

    models_dir: Path | None
    allowed_schemes: frozenset[str]
    choose_engine: Callable[[str], str | None]
    configured: Mapping[str, ModelSource] = field(default_factory=dict)
    operator_settings: Mapping[str, frozenset[str]] = field(default_factory=dict)
    split_settings: Mapping[str, str] = field(default_factory=dict)
    file_settings: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def resolve(self, source: str, settings: Mapping[str, Any]) -> ModelSource:
        """What a client's ``source`` means; ``id`` is the default one, not yet made unique.

        Raises:
            WireError: ``invalid_parameters`` naming ``source`` if it is none of the three kinds,
                or one of ``settings`` is not a client's to give; ``model_not_found`` if no such
                file is there.
        """
        own = dict(settings)
        places = {name: own.pop(name) for name in OPTIONS if name in own}
        configured = self.configured.get(source)
        scheme = SCHEME.match(source)
        if configured is not None:
            found = configured
        elif scheme is not None:
            found = self._scheme(source, scheme[1].lower())
        else:
            found = self._file(source)
        self._refuse_operators_keys(found.engine, own)
        for key in own.keys() & self.file_settings.get(found.engine, frozenset()):
            own[key] = self._with_paths(f"options.{key}", own[key])
        return replace(
            found,
            settings={**found.settings, **own},
            placement=with_options(found.placement, places),
        )

    def _with_paths(self, field: str, value: object) -> object:
        """``value`` with its paths made absolute: itself, or each ``path`` of a list of maps.

        What has another shape is the engine's to refuse: it knows its keys.
        """
        if isinstance(value, str) and value:
            return str(self._under_folder(value, field))
        if isinstance(value, dict) and "path" in value:
            return {**value, "path": self._with_paths(f"{field}.path", value["path"])}
        if isinstance(value, list | tuple):
            items = enumerate(value)
            return [
                self._with_paths(f"{field}[{number}]", item) if isinstance(item, dict) else item
                for number, item in items
            ]
        return value

    def _refuse_operators_keys(self, engine: str, own: Mapping[str, Any]) -> None:
        keys = sorted(own.keys() & self.operator_settings.get(engine, frozenset()))
        if keys:
            message = "can only be set in the server's configuration"
            raise WireError(
                ErrorCode.INVALID_PARAMETERS,
                f"options.{keys[0]} {message}.",
                details=tuple(FieldError(field=f"options.{k}", message=message) for k in keys),
            )

    def _scheme(self, source: str, scheme: str) -> ModelSource:
        engine = self.choose_engine(source) if scheme in self.allowed_schemes else None
        if engine is None:
            allowed = ", ".join(f"{name}:" for name in sorted(self.allowed_schemes)) or "none"
            raise _bad_file("source", f"no model can be loaded from {scheme}: (allowed: {allowed})")
        return ModelSource(scheme, source, engine)

    def _file(self, source: str) -> ModelSource:
        path = self._under_folder(source, "source")
        engine = self.choose_engine(str(path))
        if engine is None:
            raise _bad_file("source", "is not in a format that an engine of this server can load")
        # A folder's name is whole: what follows a dot in it, "6.0bpw" say, is no suffix.
        name = path.name if path.is_dir() else path.stem
        return ModelSource(name, source, engine, str(path))

    def _under_folder(self, name: str, field: str) -> Path:
        """The file of the model folder that a client's ``field`` names."""
        is_source = field == "source"
        if self.models_dir is None:
            kind = "is not a configured model, and" if is_source else "can't be given:"
            raise _bad_file(field, f"{kind} this server has no model folder")
        must = (
            f"must be {'a configured name or ' if is_source else ''}a path under the model folder"
        )
        if "\0" in name:
            raise _bad_file(field, must)
        folder = self.models_dir.resolve()
        try:
            path = (folder / name).resolve()
            is_there = path.exists()
        except (OSError, RuntimeError):  # a name too long, a folder we may not enter, a link's loop
            raise _no_such_file(field) from None
        if Path(name).is_absolute() or not path.is_relative_to(folder) or path == folder:
            raise _bad_file(field, must)
        if not is_there:
            raise _no_such_file(field)
        return path

    def spec(self, source: ModelSource, model_id: str) -> ModelSpec:
        """What the engine is told to load; which GPUs it sees is each replica's own."""
        split = source.placement.split
        name = self.split_settings.get(source.engine, "gpu_split")
        return ModelSpec(
            id=model_id,
            engine=source.engine,
            source=source.source,
            path=source.path,
            settings={**source.settings, **({name: list(split)} if split else {})},
        )


def _no_such_file(field: str) -> WireError:
    thing = "model" if field == "source" else f"file as {field} names"
    return WireError(
        ErrorCode.MODEL_NOT_FOUND,
        f"There is no such {thing} in the model folder.",
        details=(FieldError(field=field, message="not found"),),
    )


def _bad_file(field: str, message: str) -> WireError:
    return WireError(
        ErrorCode.INVALID_PARAMETERS,
        f"{field} {message}.",
        details=(FieldError(field=field, message=message),),
    )
