"""What the kit is: the folder of packages and compiled extensions that travels to a GPU machine.

Decides its layout and its manifest, `kit.json`, which says for which Python, torch and GPU it was
built: an extension that does not fit its torch crashes rather than says so. Standard library only,
since the machine it travels to may have nothing else.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "gpu-kit"
MANIFEST = "kit.json"

TORCH = "2.11.0"
ARCHITECTURE = "9.0"
"""Compute capability of the H100 and H200."""

LIMIT_BYTES = 60_000_000
"""What may be carried in one call to the machine, less the repository itself."""

EXTENSIONS = {
    "exllamav2": "exllamav2_ext",
    "exllamav3": "exllamav3_ext",
    "flash-attn": "flash_attn_2_cuda",
}
"""Build step to the module that it compiles."""


class KitError(Exception):
    """The kit can't be made or used; ``str(error)`` is one sentence for a person."""


@dataclass(frozen=True)
class Manifest:
    """What a kit was built for, and what is in it.

    ``files`` maps each file's name to its SHA-256, in hex.
    """

    python: str
    torch: str
    architecture: str
    files: dict[str, str] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        (folder / MANIFEST).write_text(json.dumps(asdict(self), indent=2) + "\n")


def this_python() -> str:
    """ "3.12": compiled modules fit one minor version of Python."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def contents(folder: Path) -> list[Path]:
    """All files of a kit but its manifest, in order."""
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name != MANIFEST)


def size(folder: Path) -> int:
    """Bytes of all files of a kit."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a kit whose files are whole.

    Raises:
        KitError: If there is no kit, or a file is missing or changed.
    """
    try:
        manifest = Manifest(**json.loads((folder / MANIFEST).read_text()))
    except FileNotFoundError:
        raise KitError(f"there is no kit in {folder}: run scripts/gpu/build-kit") from None
    except (ValueError, TypeError) as error:
        raise KitError(f"{folder / MANIFEST} can't be read: {error}") from None
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file() or digest(path) != expected:
            raise KitError(f"{name} in the kit is missing or damaged: build the kit again")
    return manifest
