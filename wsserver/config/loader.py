"""One configuration out of all layers, in rising order: defaults, file, environment, flags, --set.

Every layer is read and checked whole, also where a later one overrides it: a typing error in a
file should not wait for the day on which the flag is left out. Then the values that belong
together are checked together. Either a `Loaded` comes out, or a `ConfigError` with every fault.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from wsserver.config.faults import ConfigError, Fault, Origin
from wsserver.config.keys import catalogue, sections
from wsserver.config.models import ModelResolver
from wsserver.config.sections import Config
from wsserver.config.sources import (
    Layer,
    from_environment,
    from_file,
    from_flags,
    from_settings,
)
from wsserver.config.values import absolute, convert


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for.

    Attributes:
        file: ``--config``, or None to look in the usual places.
        flags: ``{"server.port": ("--port", "9000")}``; only flags that were given.
        settings: The arguments of ``--set``, in order.
    """

    file: str | None = None
    flags: Mapping[str, tuple[str, Any]] = field(default_factory=dict)
    settings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid configuration, and who set what. Keys without an origin have their default."""

    config: Config
    origins: Mapping[str, Origin]
    file: Path | None


def load(request: Request, environment: Mapping[str, str], cwd: Path) -> Loaded:
    """Read all layers.

    Args:
        environment: As ``os.environ``; ``WSSERVER_CONFIG`` names a file as ``--config`` does.
        cwd: Absolute folder against which relative paths of flags and environment are read.

    Raises:
        ConfigError: If anything is wrong anywhere; with all faults.
    """
    file, layers = _layers(request, environment, cwd)
    values, origins, faults = _merge(layers)
    config = _build(values, environment, cwd)
    resolver = ModelResolver(config.models, origins, cwd)
    models = resolver.resolve(start_is_given="models.start" in values)
    config = msgspec.structs.replace(config, models=models)
    broken = {fault.key for fault in faults}
    faults += [fault for fault in resolver.faults if not broken & {"models.start", "models.model"}]
    faults += [
        Fault(key, message, origins.get(key))
        for key, message in _contradictions(config)
        if key not in broken
    ]
    if faults:
        raise ConfigError(faults)
    return Loaded(config, origins, file)


def _layers(
    request: Request, environment: Mapping[str, str], cwd: Path
) -> tuple[Path | None, list[Layer]]:
    file, shown = _choose_file(request.file, environment, cwd)
    return file, [
        *([from_file(file, shown)] if file else []),
        from_environment(environment, cwd),
        from_flags(request.flags, cwd),
        from_settings(request.settings, cwd),
    ]


def _choose_file(
    named: str | None, environment: Mapping[str, str], cwd: Path
) -> tuple[Path | None, str]:
    """The file to read and its name for people. Only one is read; a named one must exist, which
    its reader finds out."""
    if named := named or environment.get("WSSERVER_CONFIG"):
        return Path(absolute(named, cwd)), named
    home = environment.get("XDG_CONFIG_HOME") or absolute("~/.config", cwd)
    usual = Path(home) / "wsserver" / "config.toml"
    for path, shown in ((cwd / "wsserver.toml", "wsserver.toml"), (usual, str(usual))):
        if path.is_file():
            return path, shown
    return None, ""


def _merge(layers: Iterable[Layer]) -> tuple[dict[str, Any], dict[str, Origin], list[Fault]]:
    """Convert all entries; the last one of a key wins, tables below a key are joined."""
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    faults: list[Fault] = []
    for layer in layers:
        faults += layer.faults
        for entry in layer.entries:
            path = ".".join(entry.path.split(".")[:2])
            value = convert(entry, catalogue()[path])
            if isinstance(value, Fault):
                faults.append(value)
                continue
            is_whole = path == entry.path
            values[path] = value if is_whole else _join(values.get(path, {}), value)
            origins[path] = entry.origin
    return values, origins, faults


def _join(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    joined = dict(under)
    for name, value in over.items():
        old = joined.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            value = _join(old, value)
        joined[name] = value
    return joined


def _build(values: Mapping[str, Any], environment: Mapping[str, str], cwd: Path) -> Config:
    """The structs. Values are of their types here; only the folder for data needs the machine."""
    pieces = {}
    for name, struct in sections().items():
        given = {
            path.partition(".")[2]: value
            for path, value in values.items()
            if path.startswith(f"{name}.")
        }
        pieces[name] = struct(**given)
    config = Config(**pieces)  # type: ignore[arg-type]  # each name has the struct of its field
    if config.data.dir:
        return config
    home = environment.get("XDG_DATA_HOME") or absolute("~/.local/share", cwd)
    data = msgspec.structs.replace(config.data, dir=str(Path(home) / "wsserver"))
    return msgspec.structs.replace(config, data=data)


def _contradictions(config: Config) -> Iterator[tuple[str, str]]:
    """What is wrong although each value alone is right, as key and message."""
    server = config.server
    if server.processes > 1 and not config.redis.url:
        yield "server.processes", "more than one process needs redis.url"
    if config.redis.url and not re.match(r"(rediss?|unix)://", config.redis.url):
        yield "redis.url", "expected redis://, rediss:// or unix://"
    if config.sessions.redis_url and not re.match(r"(rediss?|unix)://", config.sessions.redis_url):
        yield "sessions.redis_url", "expected redis://, rediss:// or unix://"
    if config.auth.enabled and not config.auth.api_keys:
        yield "auth.enabled", "nobody could come in: auth.api_keys is empty"
    if config.models.dir and not Path(config.models.dir).is_dir():
        yield "models.dir", f"no such folder: {config.models.dir}"
    for origin in server.origins:
        if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.\-]*://[^/\s]+", origin):
            yield "server.origins", f'expected "https://host[:port]", got {origin!r}'
    for network in server.trusted_proxies:
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            yield "server.trusted_proxies", f"not an address or network: {network!r}"
