"""Messages as a server's WebSocket frames (RFC 6455 §5.2): whole, unmasked, without extensions.

The library makes a frame for each socket anew, though a server's is the same for all of them. What
goes to many is framed once here, and written to each as it is.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

_FIN = 0x80
_TEXT, _BINARY = _FIN | 0x1, _FIN | 0x2


def framed(payloads: Sequence[bytes], *, is_text: bool) -> bytes:
    """The bytes of several messages on the wire, each with its two to ten in front."""
    opcode = _TEXT if is_text else _BINARY
    parts = []
    for payload in payloads:
        size = len(payload)
        if size < 126:
            parts.append(bytes((opcode, size)))
        elif size < 65536:
            parts.append(struct.pack("!BBH", opcode, 126, size))
        else:
            parts.append(struct.pack("!BBQ", opcode, 127, size))
        parts.append(payload)
    return b"".join(parts)


class Shared:
    """Messages that many sockets get.

    Attributes:
        payloads: What they say.
        size: Bytes of that.
        wire: The same, framed.
    """

    __slots__ = ("payloads", "size", "wire")

    def __init__(self, payloads: Sequence[bytes], *, is_text: bool) -> None:
        self.payloads = payloads
        self.size = sum(map(len, payloads))
        self.wire = framed(payloads, is_text=is_text)
