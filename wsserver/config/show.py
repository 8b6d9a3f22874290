"""Writing a configuration down as TOML: what holds now, and the reference of all keys."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from wsserver.config.keys import catalogue, keys_of, sections
from wsserver.config.loader import Loaded
from wsserver.config.model_sections import ModelEntry

REDACTED = "<redacted>"
# Of an engine's setting; api_key_env, say, only names where the secret is.
SECRET_NAME = re.compile(r"(?i)(key|token|secret|password)$")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def toml_value(value: Any) -> str:
    """Write a string, number, boolean, list or mapping as an inline TOML value.

    Raises:
        TypeError: If the value has another type; TOML knows no null.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return f'"{"".join(map(_escape, value))}"'
        case Mapping():
            pairs = ", ".join(f"{_toml_key(k)} = {toml_value(v)}" for k, v in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case list() | tuple():
            return f"[{', '.join(map(toml_value, value))}]"
        case _:
            raise TypeError(f"no TOML for {type(value).__name__}")


def _escape(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    is_control = character < " " or character == "\x7f"
    return f"\\u{ord(character):04x}" if is_control else character


def _toml_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_value(name)


def redacted(value: Any, kind: str) -> Any:
    """The value without what must not be printed; in an engine's settings, by their names."""
    if isinstance(value, dict):
        return {
            name: REDACTED if SECRET_NAME.search(name) else redacted(inner, kind)
            for name, inner in value.items()
        }
    if kind == "secret":
        return [REDACTED] * len(value) if isinstance(value, (list, tuple)) else REDACTED
    if kind == "url" and value:
        parts = urlsplit(value)
        user, at, host = parts.netloc.rpartition("@")
        if ":" in user:
            user = f"{user.partition(':')[0]}:{REDACTED}"
        # The query may carry a password too (redis://host?password=x).
        query = re.sub(r"(?i)(password=)[^&]*", rf"\1{REDACTED}", parts.query)
        return urlunsplit(parts._replace(netloc=f"{user}{at}{host}", query=query))
    return value


def show(loaded: Loaded) -> str:
    """The whole configuration as TOML, each key with its source in a comment.

    Read again, it gives the same configuration, secrets apart.
    """
    lines = [f"# {loaded.file}" if loaded.file else "# no configuration file", ""]
    for name in sections():
        lines += [f"[{name}]", *_section_lines(loaded, name), ""]
    for entry in loaded.config.models.model:
        lines += ["[[models.model]]", *_entry_lines(entry), ""]
    return "\n".join(lines)


def _section_lines(loaded: Loaded, name: str) -> Iterator[str]:
    section = getattr(loaded.config, name)
    for key in catalogue().values():
        if key.section != name or key.path == "models.model":
            continue
        origin = loaded.origins.get(key.path)
        value = toml_value(redacted(getattr(section, key.name), key.kind))
        yield f"{key.name} = {value}  # {origin.label if origin else 'default'}"


def _entry_lines(entry: ModelEntry) -> Iterator[str]:
    for name, value in msgspec.structs.asdict(entry).items():
        if value is not None and value != {}:
            yield f"{name} = {toml_value(redacted(value, 'plain'))}"


def reference() -> str:
    """Every key with its default, its meaning and its name in the environment, as a TOML file in
    which all is commented out."""
    lines = [
        "# All settings of wsserver with their defaults. Copy what you need into wsserver.toml.",
        "# In the environment, limits.max_batch is WSSERVER_LIMITS_MAX_BATCH; on the command line,",
        "# --set limits.max_batch=20. Durations are seconds unless the name says otherwise.",
        "",
    ]
    for name, struct in sections().items():
        lines += [*_wrapped(_first_paragraph(struct)), f"[{name}]"]
        for key in keys_of(name, struct):
            if key.path != "models.model":
                lines += [*_wrapped(key.description), f"# {key.name} = {toml_value(key.default)}"]
        lines.append("")
        if name == "models":
            lines += [*_model_reference(), ""]
    return "\n".join(lines).rstrip() + "\n"


def _model_reference() -> Iterator[str]:
    yield from _wrapped(_first_paragraph(ModelEntry))
    yield "# [[models.model]]"
    example: Mapping[str, Any] = {
        "id": "mine",
        "source": "/path/to/model.gguf",
        "engine": "llamacpp",
        "description": "My own model.",
    }
    for key in keys_of("models.model", ModelEntry):
        name = key.path.rpartition(".")[2]
        yield from _wrapped(key.description)
        yield f"# {name} = {toml_value(example.get(name, key.default))}"


def _first_paragraph(struct: type) -> str:
    return " ".join((struct.__doc__ or "").partition("\n\n")[0].split())


def _wrapped(text: str) -> list[str]:
    return [f"## {line}" for line in textwrap.wrap(text, 94)]
