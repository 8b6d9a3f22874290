"""The keys of rooms, and what stands under them.

All keys of a room carry its hash tag, so that each step is atomic in a cluster.

| key ``wsserver:{r:<roomId>}:…`` | type | holds |
|---|---|---|
| ``m`` | hash | see below |
| ``u`` | hash | user key to the member as JSON: userId, name, role, state, seats (see `join.lua`) |
| ``o`` | sorted set | user keys of members by the number of their coming |
| ``c`` | hash | clientId of a seat to its user key |
| ``r`` | hash | user key to the role that is remembered |
| ``w`` | set | user keys of the owners among the members |
| ``b`` | set | user keys of the banned |
| ``i`` | hash | invite to JSON: role, until when (ms), number |
| ``a`` | hash | streamId of an open ask to JSON: client, model, seq, node, number |
| ``l`` | list | the log: time (ms) and seq in 15 digits each, then messageId and `Draft` |
| ``g`` | list | the newest changes, as the bells say them |
| ``d`` | sorted set | ids of the newest calls that changed something, by their place |
| ``n`` | sorted set | streamIds of the newest answers by their seq |
| ``k`` | sorted set | clientIds that lost their seats last by a kick, by the place of that |
| ``x`` | hash | clientId of who left last to the streams that nobody was left for; a minute |
| ``s:<digest>`` | hash | what was said under an identity's requestId, while that is remembered: |
| | | ``ep`` and ``seq`` of the entry, the call's ``op``, ``print`` of the request |

| field of ``m`` | holds |
|---|---|
| ``ep``, ``seq`` | the log's epoch, and its last seq |
| ``chg``, ``mark`` | how many changes there were, and the last one's mark |
| ``joins``, ``asks``, ``invites`` | counters |
| ``emptied`` | since when (ms) nobody is there |
| ``s:<name>`` | a setting as JSON, named as on the wire |

They last a day from the last sign of life of a process with a seat there, and without members for
the time that empty rooms are kept.

A change is rung at ``wsserver:b:{r:<roomId>}`` as a MessagePack array of binaries: epoch, place,
the mark of the change before, its own mark, kind, origin, and what the kind has. Places count from
1; marks tell whether a place is still that of the same history, should Redis have lost its end.

| key of all rooms | type | holds |
|---|---|---|
| ``wsserver:{rooms}:names`` | sorted set | roomIds, all with score 0 |
| ``wsserver:{rooms}:epochs`` | hash | roomId to its epoch |
| ``wsserver:{rooms}:empty`` | sorted set | roomIds of empty rooms that are kept, since when (ms) |
| ``wsserver:{rooms}:leases`` | sorted set | nodeIds by the end of the lease on their seats (ms) |
| ``wsserver:{n:<nodeId>}:rooms`` | set | roomIds where the node may have seats or asks |

The list of rooms follows the rooms and may be behind them; whoever finds a room gone strikes it.
A node's set may hold too much and never too little: a room enters it before the node sits there.
"""

from __future__ import annotations

from wsserver.stores.redis.bells import PREFIX as BELLS
from wsserver.stores.redis.names import digest

INDEX = [f"wsserver:{{rooms}}:{name}" for name in ("names", "epochs", "empty")]
"""Keys of the list of rooms, in the order of its scripts."""

CHANNEL = f"{BELLS}:{{rooms}}"
"""Where nothing is rung: who hears it is told when the line to its host had to be made anew."""

LEASES = ["wsserver:{rooms}:leases"]


def room_keys(room_id: str) -> list[str]:
    """The keys of a room, in the order of the scripts.

    A brace in a name ends the hash tag early, for all keys of the room at the same place: they
    still lie together, and no two rooms share one.
    """
    return [f"wsserver:{{r:{room_id}}}:{letter}" for letter in "muocrwbialgdnkx"]


def said_key(room_id: str, identity_key: str, request_id: str) -> str:
    """What is remembered of something that somebody said under an id."""
    # One digest of both: the length says where the first one ends.
    name = digest(f"{len(identity_key)}:{identity_key}{request_id}")
    return f"wsserver:{{r:{room_id}}}:s:{name}"


def channel(room_id: str) -> str:
    """Where a room's changes are rung."""
    return f"{BELLS}:{{r:{room_id}}}"


def node_channel(node: str) -> str:
    """Where nothing is rung, on the host that has a node's set of rooms."""
    return f"{BELLS}:{{n:{node}}}:rooms"


def node_key(node: str) -> str:
    """The set of rooms that a node may have something in."""
    return f"wsserver:{{n:{node}}}:rooms"
