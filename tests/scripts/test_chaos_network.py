"""The networks that chaos makes for its members: several of them, and one after another."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from scripts.chaos.network import NAMESPACES, Network, Place, is_allowed


@pytest.fixture(autouse=True)
def allowed() -> None:
    """These tests need a machine that lets them make namespaces."""
    if not is_allowed():
        pytest.skip("networks of members: takes root and the program ip (package iproute2)")


@contextmanager
def opened() -> Iterator[Network]:
    """A network, until the block's end."""
    network = Network(is_apart=True)
    try:
        yield network
    finally:
        network.close()


def devices(place: Place) -> set[str]:
    """The near ends of a place's wires."""
    assert place.wires is not None
    return {wire.device for wire in place.wires.values()}


def here() -> set[str]:
    """All devices of this machine's own network."""
    return {name for _, name in socket.if_nameindex()}


def test_networks_follow_each_other_at_once() -> None:
    """One that has ended leaves no name: another one is made in its place in the same moment."""
    for _ in range(5):
        with opened() as network:
            places = [network.place("a"), network.place("b")]
            for place in places:
                assert devices(place) <= here()
                assert (NAMESPACES / str(place.namespace)).exists()
        for place in places:
            assert not devices(place) & here()
            assert not (NAMESPACES / str(place.namespace)).exists()


def test_networks_at_once_are_apart() -> None:
    """Those that begin with the same number have no name and no address in common: a run gets into
    no other one's way, nor into what one that was killed has left."""
    with ExitStack() as stack:
        networks = [stack.enter_context(opened()) for _ in range(3)]
        places = [network.place(name) for network in networks for name in ("a", "b")]
        assert len({place.namespace for place in places}) == 6
        assert len(set.union(*map(devices, places))) == 12
        wires = [wire for place in places for wire in (place.wires or {}).values()]
        assert len({end for wire in wires for end in (wire.near, wire.far)}) == 24
