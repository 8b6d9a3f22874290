"""The results of a check or a measurement as a file, with the machine that they are from."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scripts.bench.harness import machine
from scripts.gpu.device import Device, describe
from scripts.gpu.kit import ROOT

RESULTS = Path(__file__).resolve().parent / "results"


def save(
    path: Path, command: str, device: Device, model: dict[str, Any], results: dict[str, Any]
) -> None:
    """Write the results; the folder is made."""
    document = {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine() | describe(device),
        "model": model,
        "results": results,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n")


def commit() -> str | None:
    """The commit of this folder; None where it is no repository (a copy of the tree)."""
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None
