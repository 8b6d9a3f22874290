"""Rooms: who is in, what was said, in one order for all.

Members are users: a user counts once, whatever tabs. A room has one log with an epoch and a
``seq`` that counts from 1 without gaps; people's messages, asks and answers are its entries.

`broker` and `presence` are ports: what several processes share, with all that is atomic; `bounds`
is how much of it is kept. `changes` is what they tell. `service` and `room` are this process's
part: its connections. `asks` leads questions to the model, `rights` says who may do what.
"""

from wsserver.core.rooms.bounds import MEMBERS_SHOWN, RoomBounds
from wsserver.core.rooms.broker import Joined, Position, RoomBroker
from wsserver.core.rooms.changes import Draft, Origin
from wsserver.core.rooms.presence import Presence, PresenceKeeper
from wsserver.core.rooms.room import Room
from wsserver.core.rooms.service import Rooms

__all__ = [
    "MEMBERS_SHOWN",
    "Draft",
    "Joined",
    "Origin",
    "Position",
    "Presence",
    "PresenceKeeper",
    "Room",
    "RoomBounds",
    "RoomBroker",
    "Rooms",
]
