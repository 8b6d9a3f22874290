"""Where the scripts keep what they make on the spot: models, the unpacked kit."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def work_folder() -> Path:
    """$GPU_WORK, as prepare.sh sets it, else a folder below the temporary one; made."""
    named = os.environ.get("GPU_WORK")
    folder = Path(named) if named else Path(tempfile.gettempdir()) / "wsserver-gpu"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
