"""A network for each member, where this machine allows that: a namespace with two wires.

One wire leads to the clients, one to Redis. A wire that is dead carries nothing, and neither side
is told: packets go to a hardware address that nobody has. That is what a broken switch does, and
what a proxy can't: it can end a connection, or hold back what comes, but its own host answers.

It takes root and the program ``ip``. Without these all members share this machine's own network,
and there are no dead wires. The addresses are those reserved for tests of networks (198.18.0.0/15,
RFC 2544), and exist on this machine only.

A network has a number, from which all names and addresses in it are made. Its first namespace is
its claim to the number: the kernel gives a name once. So runs at the same time are apart, and none
gets into what one that was killed has left. A namespace's devices end some time after its name has
gone, so wires are taken down before it: otherwise the next network of that number could not lay its
own, under names that are still there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

CLIENTS, REDIS = "clients", "redis"
"""Where a wire leads."""

NET = int(ip_address("198.18.0.0"))

MOST_MEMBERS, NETWORKS = 16, 1000
"""Members of a network, and networks on one machine, that have addresses of their own."""

NOBODY = "02:00:00:00:ff:ff"

NAMESPACES = Path("/var/run/netns")
"""Where ``ip`` keeps them by their names."""


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
        self._number = os.getpid() % NETWORKS  # a first try: what ended lately is not met so soon
        self._removals = ExitStack()

    def place(self, name: str) -> Place:
        """A place for a member of this name.

        Raises:
            CalledProcessError: If the machine does not let us.
        """
        if not self.is_apart:
            place = Place()
        else:
            member = len(self._places) + 1
            namespace = self._make_namespace(member)
            _ip("-n", namespace, "link", "set", "lo", "up")
            wires = {
                end: self._lay_wire(namespace, member, at)
                for at, end in enumerate((CLIENTS, REDIS))
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
        """Remove all of it, what was made last first. Its names can be given again at once.

        Raises:
            CalledProcessError: If something could not be removed; the rest was.
        """
        self._removals.close()

    def _make_namespace(self, member: int) -> str:
        """A namespace, which is removed with the network. The first one claims a number for it."""
        for _ in range(NETWORKS):
            namespace = f"chaos-{self._number}-{member}"
            try:
                _ip("netns", "add", namespace)
            except subprocess.CalledProcessError:
                if member > 1 or not (NAMESPACES / namespace).exists():
                    raise
                self._number = (self._number + 1) % NETWORKS
            else:
                self._removals.callback(_ip, "netns", "delete", namespace)
                return namespace
        raise RuntimeError(f"{NETWORKS} networks are there already: see 'ip netns list'")

    def _lay_wire(self, namespace: str, member: int, at: int) -> Wire:
        """A wire into a namespace, where its device is named after where it leads."""
        wire = _wire_of(self._number, member, at)
        end = (CLIENTS, REDIS)[at]
        _ip(
            *("link", "add", wire.device, "address", wire.near_hardware, "type", "veth"),
            *("peer", "name", end, "address", wire.far_hardware, "netns", namespace),
        )
        self._removals.callback(_ip, "link", "delete", wire.device)
        _ip("address", "add", f"{wire.near}/30", "dev", wire.device)
        _ip("link", "set", wire.device, "up")
        _ip("-n", namespace, "address", "add", f"{wire.far}/30", "dev", end)
        _ip("-n", namespace, "link", "set", end, "up")
        _know(wire.far, wire.far_hardware, wire.device)
        _know(wire.near, wire.near_hardware, end, "-n", namespace)
        return wire

    def _wire(self, name: str, end: str) -> Wire:
        wires = self._places[name].wires
        assert wires is not None, "there are no wires on this machine"
        return wires[end]

    def _point(self, name: str, end: str, near_hardware: str, far_hardware: str) -> None:
        namespace, wire = self._places[name].namespace, self._wire(name, end)
        _know(wire.far, far_hardware, wire.device)
        _know(wire.near, near_hardware, end, "-n", str(namespace))


def _wire_of(network: int, member: int, at: int) -> Wire:
    """A member's wire, as it is to be laid."""
    first = NET + 8 * (MOST_MEMBERS * network + member) + 4 * at
    near, far = (str(ip_address(first + side)) for side in (1, 2))
    near_hardware, far_hardware = (f"02:00:00:{member:02x}:{at:02x}:{s:02x}" for s in (1, 2))
    return Wire(f"cx{network}-{member}{at}", near, far, near_hardware, far_hardware)


def _know(address: str, hardware: str, device: str, *where: str) -> None:
    """Have one side send what is for an address to a piece of hardware."""
    words = ("neighbour", "replace", address, "lladdr", hardware, "dev", device)
    _ip(*where, *words, "nud", "permanent")


def _ip(*words: str) -> None:
    try:
        subprocess.run(("ip", *words), check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        error.add_note(error.stderr.strip())  # why: its status says only that
        raise
