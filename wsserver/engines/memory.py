"""Memory before a load: what a model will take, and what this machine has.

Decides nothing; asks the engine's own estimate, in a thread, since it reads the model's file. The
rule: an estimate that can't be made is no reason to refuse a load. The engine will say what is
wrong with the file.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import cast

from wsserver.core.engine import ModelSpec
from wsserver.engines.catalog import ENTRIES

Estimate = Callable[[ModelSpec], int]
"""Bytes that one replica of a model will take when loaded, or 0 if that can't be told. Reads the
file's header at most."""


async def estimate_memory(spec: ModelSpec) -> int:
    """What a load of ``spec`` will take, in bytes; 0 where nothing can be told."""
    entry = ENTRIES.get(spec.engine)
    if entry is None or entry.estimate is None:
        return 0
    return await asyncio.to_thread(_estimate, entry.estimate, spec)


def _estimate(name: str, spec: ModelSpec) -> int:
    module, _, function = name.partition(":")
    return cast(Estimate, getattr(importlib.import_module(module), function))(spec)


def machine_memory() -> int:
    """Bytes of memory that this machine has, or the container, if that has less; 0 if unknown."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return 0
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no cgroup, or "max"
        return total


def has_gpu() -> bool:
    """Whether an NVIDIA or AMD device can be opened here."""
    return Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists()
