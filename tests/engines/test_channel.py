"""The parent's end of a child's socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from wsserver.core.engine import Delta, Output
from wsserver.engines import link
from wsserver.engines.channel import Channel


class Peer:
    """A channel and the other end of its socket."""

    def __init__(self) -> None:
        ours, self.socket = socket.socketpair()
        ours.setblocking(False)
        self.socket.setblocking(False)
        self.messages: list[link.ToHost | list[Output]] = []
        self.end: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self.channel = Channel(ours, self.messages.append, self.end.set_result)


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    """A channel, closed in the end."""
    peer = Peer()
    yield peer
    peer.channel.close()
    peer.socket.close()


async def test_send_is_on_the_socket_when_it_returns(peer: Peer) -> None:
    """A cancel does not wait for the loop's next turn."""
    frame = bytes(link.encode_control(link.Cancel("a")))
    peer.channel.send(bytearray(frame))
    assert peer.socket.recv(1000) == frame


async def test_messages_come_in_order_and_then_the_end(peer: Peer) -> None:
    """What the child sent before it closed is read before its end is told."""
    loop = asyncio.get_running_loop()
    deltas: list[Output] = [Delta("a", "x", 1)] * 1000
    for number in range(20):
        await loop.sock_sendall(peer.socket, bytes(link.encode_control(link.Counted(number, 1))))
        await loop.sock_sendall(peer.socket, bytes(link.encode_outputs(deltas)))
    peer.socket.close()
    assert await peer.end is None
    assert [m.request for m in peer.messages if isinstance(m, link.Counted)] == list(range(20))
    assert sum(len(m) for m in peer.messages if isinstance(m, list)) == 20_000


async def test_backlog_is_written_as_the_child_reads(peer: Peer) -> None:
    """More than the socket takes is kept, in order, and written later."""
    loop = asyncio.get_running_loop()
    frames = [link.encode_control(link.Cancel(f"{number}" * 100_000)) for number in range(8)]
    expected = b"".join(map(bytes, frames))
    for frame in frames:
        peer.channel.send(frame)
    received = b""
    while len(received) < len(expected):
        received += await loop.sock_recv(peer.socket, 100_000)
    assert received == expected


async def test_bytes_that_are_no_frame_end_the_channel(peer: Peer) -> None:
    """A child that does not speak the link's language is told as a fault."""
    peer.socket.send(b"Segmentation fault")
    assert "bad frame" in (await peer.end or "")


async def test_send_to_a_gone_child_does_nothing(peer: Peer) -> None:
    """The child's end is told by reading, never by a send that raises."""
    peer.socket.close()
    peer.channel.send(link.encode_control(link.Cancel("a")))
    assert await peer.end is None
    peer.channel.send(link.encode_control(link.Cancel("a")))
    peer.channel.close()
