"""Frames that several tests have a scripted server send."""

from __future__ import annotations

from tests.clients.python.scripted import CONNECTED, Message, Peer


def resumed(message: Message, **more: object) -> Message:
    return {
        "type": "resumed",
        "requestId": message["requestId"],
        "clientId": "c-1",
        "resumeToken": "token-2",
        "streams": [],
        "rooms": [],
        **more,
    }


def refused(message: Message, code: str) -> Message:
    return {
        "type": "error",
        "requestId": message["requestId"],
        "code": code,
        "error": code,
        "retryable": False,
    }


async def begin_and_cut(peer: Peer) -> None:
    """A first connection on which a stream begins and the network breaks."""
    await peer.greet()
    asked = await peer.expect("stream")
    await peer.start(asked)
    await peer.token("Zwölf", 6)
    await peer.expect("ping")  # the client has the text
    peer.cut()


async def authenticate(peer: Peer) -> None:
    message = await peer.expect("authenticate")
    assert (message["userId"], message["name"]) == ("ann", "Ann")
    await peer.send(
        {
            "type": "authenticated",
            "requestId": message["requestId"],
            "userId": "ann",
            "clientId": "c",
            "scopes": [],
            "tier": "default",
            "limits": CONNECTED["limits"],
        }
    )
