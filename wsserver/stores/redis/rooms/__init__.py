"""Rooms on Redis: the twin of the memory's, for processes that share them.

`broker` runs the steps (`steps`, ``lua/rooms``) and tells what they and others' change through the
`feeds`; a `feed` puts one room's changes in order. `index` is the list of all rooms. `whereabouts`
says that a process lives and where it sits, `presence` finds the seats of the dead. `keys` has the
tables of what lies where, `format` how it is written.
"""

from wsserver.stores.redis.rooms.broker import RedisRoomBroker
from wsserver.stores.redis.rooms.presence import RedisPresence

__all__ = ["RedisPresence", "RedisRoomBroker"]
