"""Which loads of a model are the same one: by what they would answer, wherever they are loaded."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from wsserver.core.engine import ModelSpec

PIECES, PIECE_BYTES = 16, 64 * 1024
"""Of each file so many pieces of so many bytes are looked at, spread evenly from its beginning to
its end. To read all of it would take as long as the load itself."""


def fingerprint(spec: ModelSpec) -> str | None:
    """The same text for the same files and settings; None for a model that is no file here.

    Blocks while it reads, milliseconds from a disk.

    Raises:
        OSError: If the files can't be read.
    """
    if spec.path is None:
        return None
    path = Path(spec.path)
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([spec.engine, spec.settings], sort_keys=True, default=str).encode())
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        size = file.stat().st_size
        name = "" if file == path else str(file.relative_to(path))
        digest.update(f"\0{name}\0{size}\0".encode())
        with file.open("rb") as opened:
            for number in range(PIECES):
                opened.seek(max(0, size - PIECE_BYTES) * number // (PIECES - 1))
                digest.update(opened.read(PIECE_BYTES))
                if size <= PIECE_BYTES:
                    break
    return digest.hexdigest()
