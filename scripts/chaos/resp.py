"""Where one reply of Redis ends and the next begins: as much of RESP2 and RESP3 as that takes."""

from __future__ import annotations

END = b"\r\n"

BELLS = (b"message", b"smessage", b"pmessage")
"""First word of what is pushed to a subscriber because someone has published."""

_AGGREGATES = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2}
_STRINGS = b"$=!"


def reply_end(data: bytes | bytearray, begin: int = 0) -> int | None:
    """Where the reply that begins at ``begin`` ends; None if some of it is still to come."""
    line_end = data.find(END, begin)
    if line_end < 0:
        return None
    kind = data[begin]
    place = line_end + len(END)
    if kind in _STRINGS:
        size = int(data[begin + 1 : line_end])
        place += size + len(END) if size >= 0 else 0
        return place if place <= len(data) else None
    if kind in _AGGREGATES:
        for _ in range(max(0, int(data[begin + 1 : line_end])) * _AGGREGATES[kind]):
            after = reply_end(data, place)
            if after is None:
                return None
            place = after
    return place


def is_bell(reply: bytes | bytearray) -> bool:
    """Whether a reply is something that was published."""
    if reply[:1] not in (b"*", b">"):
        return False
    word = reply.split(END, 3)
    return len(word) > 2 and bytes(word[2]).lower() in BELLS
