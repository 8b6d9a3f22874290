"""The GPU as its driver tells of it: which one, and how much of its memory is in use.

Asks nvidia-smi and not torch: an import of torch takes seconds, and a process that has opened a GPU
holds some of the memory that is to be measured.
"""

from __future__ import annotations

import subprocess
from dataclasses import asdict, dataclass
from typing import Any

from scripts.bench.harness import installed

NO_DEVICE = 77
"""Exit code where there is no GPU: what automake and others read as "skipped"."""

PACKAGES = ("torch", "triton", "exllamav2", "exllamav3", "flash-attn", "numpy", "tokenizers")


@dataclass(frozen=True)
class Device:
    """One GPU."""

    name: str
    memory_mib: int
    driver: str
    compute_capability: str


def find_device() -> Device | None:
    """The first GPU, or None."""
    line = _ask("name,memory.total,driver_version,compute_cap")
    if line is None:
        return None
    name, memory, driver, capability = (item.strip() for item in line.split(","))
    return Device(name, int(memory), driver, capability)


def used_mib() -> int:
    """Memory of the first GPU in use by all processes.

    Raises:
        RuntimeError: If there is no GPU.
    """
    line = _ask("memory.used")
    if line is None:
        raise RuntimeError("no NVIDIA GPU is seen here")
    return int(line)


def describe(device: Device) -> dict[str, Any]:
    """For a report: the GPU, and the packages that its speed depends on."""
    return {"gpu": asdict(device), "gpu_packages": {name: installed(name) for name in PACKAGES}}


def _ask(fields: str) -> str | None:
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.strip().splitlines()
    return lines[0] if done.returncode == 0 and lines else None
