"""Frames of rooms that several tests have a scripted server send."""

from __future__ import annotations

from typing import Any

from tests.clients.python.scripted import Message


def member(user_id: str, **more: Any) -> Message:
    return {
        "userId": user_id,
        "name": user_id.title(),
        "role": "member",
        "state": {},
        "clientIds": [f"c-{user_id}"],
        **more,
    }


def joined(asked: Message | None, **more: Any) -> Message:
    about = {} if asked is None else {"type": "room_joined", "requestId": asked["requestId"]}
    return {
        **about,
        "roomId": "lobby",
        "participants": 1,
        "members": [member("ann")],
        "epoch": "e-1",
        "seq": 2,
        "recovered": True,
        "messages": [],
        "activeStreams": [],
        "role": "member",
        "settings": {},
        **more,
    }


def entry(seq: int, text: str, client_id: str = "c-bob", **more: Any) -> Message:
    return {
        "seq": seq,
        "messageId": f"m-{seq}",
        "role": "user",
        "clientId": client_id,
        "userId": "bob",
        "name": "Bob",
        "text": text,
        "timestamp": 1,
        **more,
    }


def said(seq: int, text: str, **more: Any) -> Message:
    return {"type": "room_message", "roomId": "lobby", **entry(seq, text, **more)}
