"""Sizes as people write them: "12GiB", "500 MB", or plain bytes."""

from __future__ import annotations

import re

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS |= {f"{letter}i": 1 << 10 * power for power, letter in enumerate("KMGT", start=1)}


def size_bytes(size: int | str) -> int:
    """Bytes of a size. Its form is checked when the configuration is read.

    Raises:
        ValueError: If it is no size.
    """
    if isinstance(size, int):
        return size
    parts = re.fullmatch(r"([\d.]+) ?([KMGT]i?|)B?", size)
    if parts is None:
        raise ValueError(f"not a size: {size!r}")
    return int(float(parts[1]) * _UNITS[parts[2]])
