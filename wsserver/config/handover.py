"""A configuration on its way to another process of ours.

What holds is handed on as one piece, not read again from files and environment: all processes of a
server then have the same settings, whatever was edited since. It goes through a pipe, where no
list of processes shows its secrets.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

import msgspec

from wsserver.config.sections import Config

_LENGTH = struct.Struct("!I")


def pack(config: Config) -> bytes:
    """The configuration as bytes that `receive` reads, their length first."""
    body = msgspec.msgpack.encode(config)
    return _LENGTH.pack(len(body)) + body


def receive(stream: BinaryIO) -> Config:
    """Read a configuration and not a byte more.

    Raises:
        EOFError: If the stream ends before the configuration does.
    """
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    return msgspec.msgpack.decode(_exactly(stream, length), type=Config)


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("the configuration ended too early")
    return data
