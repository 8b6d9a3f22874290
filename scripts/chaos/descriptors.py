"""What a process has open, read from /proc: its sockets are told apart by the ports they are of."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

RANDOM = re.compile(r":\[\d+\]|(?<=-)[a-z0-9_]{8}(?= |$|/)")
"""Of a name: numbers of pipes, and what makes temporary files unique."""


def of(pid: int, ports: Mapping[int | None, str]) -> Counter[str]:
    """Descriptors by what they are; TCP sockets of a known port, at either end, by its name."""
    sockets = _sockets(pid, ports)
    kinds = Counter[str]()
    for number in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # closed since it was listed
            target = os.readlink(f"/proc/{pid}/fd/{number}")
            inode = re.fullmatch(r"socket:\[(\d+)\]", target)
            if inode is not None:
                kinds[sockets.get(inode[1], "other sockets")] += 1
            else:
                kinds[RANDOM.sub("", target)] += 1
    return kinds


def _sockets(pid: int, ports: Mapping[int | None, str]) -> dict[str, str]:
    """TCP sockets of the process's network, by their inode."""
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            ends = [int(address.rpartition(":")[2], 16) for address in words[1:3]]
            found[words[9]] = next((ports[end] for end in ends if end in ports), "other TCP")
    return found
