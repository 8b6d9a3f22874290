"""How long ago something was, in words. Pure."""

from __future__ import annotations

STEPS = ((60, "s"), (60, "min"), (24, "h"), (7, "d"), (52, "w"))
"""How many of a unit make one of the next, and the unit."""


def age(milliseconds: int) -> str:
    """Such as ``3 min ago``. What lies ahead (clocks differ) is now."""
    amount = max(0, milliseconds) // 1000
    if amount < 10:
        return "just now"
    for size, unit in STEPS:
        if amount < size:
            return f"{amount} {unit} ago"
        amount //= size
    return f"{amount} y ago"
