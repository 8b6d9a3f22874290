"""A network for each member, where this machine allows that: a namespace with two wires.

One wire leads to the clients, one to Redis. A wire that is dead carries nothing, and neither side
is told: packets go to a hardware address that nobody has. That is what a broken switch does, and
what a proxy can't: it can end a connection, or hold back what comes, but its own host answers.

It takes root and the program ``ip``. Without these all members share this machine's own network,
and there are no dead wires. The addresses are those reserved for tests of networks (198.18.0.0/15,
RFC 2544), and exist on this machine only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from ipaddress import ip_address

CLIENTS, REDIS = "clients", "redis"
"""Where a wire leads."""

NET = int(ip_address("198.18.0.0"))

MOST_MEMBERS, RUNS = 16, 1000
"""Members of a fleet, and runs on one machine, that have addresses of their own."""

NOBODY = "02:00:00:00:ff:ff"


@dataclass(frozen=True, slots=True)
class Wire:
    """A wire between this machine and a member's namespace: both ends' addresses."""

    device: str
    near: str
    far: str
    near_hardware: str
    far_hardware: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a member lives.

    Attributes:
        namespace: Its network; None: this machine's own.
        wires: By where they lead.
    """

    namespace: str | None = None
    wires: dict[str, Wire] | None = None

    @property
    def host(self) -> str:
        """Where clients find it."""
        return "127.0.0.1" if self.wires is None else self.wires[CLIENTS].far

    @property
    def redis_host(self) -> str:
        """Where it finds its link to Redis."""
        return "127.0.0.1" if self.wires is None else self.wires[REDIS].near

    @property
    def prefix(self) -> tuple[str, ...]:
        """What a command begins with that is to run there."""
        return () if self.namespace is None else ("ip", "netns", "exec", self.namespace)


def is_allowed() -> bool:
    """Whether this machine lets us have namespaces and wires."""
    if os.geteuid() or shutil.which("ip") is None:
        return False
    network = Network(is_apart=True)
    try:
        network.place("probe")
    except subprocess.CalledProcessError:
        return False
    finally:
        network.close()
    return True


class Network:
    """The networks of a fleet.

    Args:
        is_apart: Whether each member has its own.
    """

    def __init__(self, *, is_apart: bool) -> None:
        self.is_apart = is_apart
        self._places: dict[str, Place] = {}
        self._made: list[str] = []

    def place(self, name: str) -> Place:
        """A place for a member of this name.

        Raises:
            CalledProcessError: If the machine does not let us.
        """
        if not self.is_apart:
            place = Place()
        else:
            number = len(self._places) + 1
            namespace = f"chaos-{os.getpid()}-{number}"
            _ip("netns", "add", namespace)
            self._made.append(namespace)
            _ip("-n", namespace, "link", "set", "lo", "up")
            wires = {
                end: _lay_wire(namespace, number, at) for at, end in enumerate((CLIENTS, REDIS))
            }
            place = Place(namespace, wires)
        self._places[name] = place
        return place

    def kill(self, name: str, end: str) -> None:
        """Packets vanish on a wire, both ways."""
        self._point(name, end, NOBODY, NOBODY)

    def heal(self, name: str, end: str) -> None:
        """The wire carries again."""
        wire = self._wire(name, end)
        self._point(name, end, wire.near_hardware, wire.far_hardware)

    def close(self) -> None:
        """Remove all of it; wires end with their namespaces."""
        for namespace in self._made:
            _ip("netns", "delete", namespace)
        self._made.clear()

    def _wire(self, name: str, end: str) -> Wire:
        wires = self._places[name].wires
        assert wires is not None, "there are no wires on this machine"
        return wires[end]

    def _point(self, name: str, end: str, near_hardware: str, far_hardware: str) -> None:
        namespace, wire = self._places[name].namespace, self._wire(name, end)
        _know(wire.far, far_hardware, wire.device)
        _know(wire.near, near_hardware, end, "-n", str(namespace))


def _lay_wire(namespace: str, number: int, at: int) -> Wire:
    """A wire into a namespace, where its device is named after where it leads."""
    end = (CLIENTS, REDIS)[at]
    device = f"cx{os.getpid() % 100_000}-{number}{at}"
    # Runs at the same time are apart by their process ids.
    first = NET + 8 * (MOST_MEMBERS * (os.getpid() % RUNS) + number) + 4 * at
    near, far = (str(ip_address(first + side)) for side in (1, 2))
    near_hardware, far_hardware = (f"02:00:00:{number:02x}:{at:02x}:{s:02x}" for s in (1, 2))
    wire = Wire(device, near, far, near_hardware, far_hardware)
    _ip(
        *("link", "add", device, "address", near_hardware, "type", "veth"),
        *("peer", "name", end, "address", far_hardware, "netns", namespace),
    )
    _ip("address", "add", f"{near}/30", "dev", device)
    _ip("link", "set", device, "up")
    _ip("-n", namespace, "address", "add", f"{far}/30", "dev", end)
    _ip("-n", namespace, "link", "set", end, "up")
    _know(far, far_hardware, device)
    _know(near, near_hardware, end, "-n", namespace)
    return wire


def _know(address: str, hardware: str, device: str, *where: str) -> None:
    """Have one side send what is for an address to a piece of hardware."""
    words = ("neighbour", "replace", address, "lladdr", hardware, "dev", device)
    _ip(*where, *words, "nud", "permanent")


def _ip(*words: str) -> None:
    subprocess.run(("ip", *words), check=True, capture_output=True)
