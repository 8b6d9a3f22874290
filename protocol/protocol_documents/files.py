"""Which file holds which document, byte for byte, relative to the project's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from protocol_documents import asyncapi, reference, schema, vectors

ROOT = Path(__file__).resolve().parents[2]


def documents() -> dict[str, bytes]:
    """Path of each generated file to its content."""
    described = asyncapi.document()
    return {
        "protocol/MESSAGES.md": reference.document().encode(),
        "protocol/schema.json": _json(schema.document()),
        "protocol/asyncapi.json": _json(described),
        # The server serves this copy, with no blanks; the one above is for readers.
        "protocol/wsserver_protocol/asyncapi.json": orjson.dumps(described),
        **{
            f"protocol/vectors/{name}": _json(content)
            for name, content in vectors.documents().items()
        },
    }


def stale(root: Path = ROOT) -> list[str]:
    """Paths whose file is missing or not what `documents` makes."""
    return [path for path, content in documents().items() if _read(root / path) != content]


def write(root: Path = ROOT) -> list[str]:
    """Write what is stale.

    Returns:
        The paths written.
    """
    written = stale(root)
    made = documents()
    for path in written:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(made[path])
    return written


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None
