"""What answers must say: the synthetic engine counts, so every byte of every answer is known.

An answer that goes on from an earlier one counts on from it. So all texts are parts of one endless
text, ``1 2 3 …``, and an answer is known by the number that it begins with and by its length.
"""

from __future__ import annotations

from bisect import bisect_left

MOST_TOKENS = 60_000
"""How far the text is known. No answer of the harness gets so far."""

COUNT = b"".join(b"%d " % number for number in range(1, MOST_TOKENS + 1))


def _ends() -> list[int]:
    ends, end = [0], 0
    for number in range(1, MOST_TOKENS + 1):
        end += len(str(number)) + 1
        ends.append(end)
    return ends


ENDS = _ends()
"""Where the text of so many tokens ends, in bytes."""


def text(first: int, begin: int, end: int) -> bytes:
    """Bytes ``begin`` to ``end`` of an answer that counts from ``first``."""
    base = ENDS[first - 1]
    return COUNT[base + begin : base + end]


def tokens_at(first: int, offset: int) -> int | None:
    """Tokens of the first ``offset`` bytes of an answer; None if these end within one."""
    place = ENDS[first - 1] + offset
    index = bisect_left(ENDS, place)
    return index - first + 1 if index < len(ENDS) and ENDS[index] == place else None


def length(first: int, tokens: int) -> int:
    """Bytes of an answer of so many tokens."""
    return ENDS[first - 1 + tokens] - ENDS[first - 1]
