"""The keys of one model's queue, and what stands under them.

All keys of a queue carry one hash tag, a digest of the model's id, so that in a cluster they lie
in one slot and each step is atomic.

| key | type | holds |
|---|---|---|
| ``…:waiting`` | sorted set | owner, priority, arrival, streamId of each waiting job; by text |
| ``…:line`` | sorted set | each owner that waits as its first job stands: the head is served next |
| ``…:owners`` | hash | owner to its row: counter, turn, number, how many run (MessagePack) |
| ``…:active`` | sorted set | owners that wait or run, by counter |
| ``…:jobs`` | hash | streamId to its `Job` (MessagePack) |
| ``…:notes`` | hash | streamId to what the scripts know of it: owner, claim, claims (MessagePack) |
| ``…:leases`` | sorted set | streamId of what is claimed, by the time (ms) at which it is let go |
| ``…:counts`` | hash | arrivals, turns and owners so far; how many run |

All end a day after the queue's last use. Owners appear as digests. The bells are ``…:work`` (a job
waits) and ``…:places`` (the line has moved).
"""

from __future__ import annotations

from wsserver.stores.redis.names import digest

NAMES = ("waiting", "line", "owners", "active", "jobs", "notes", "leases", "counts")

JOBS = NAMES.index("jobs")
"""Holds all that waits or is claimed, until its end is settled."""


def queue_keys(model_id: str) -> list[str]:
    """The keys of a model's queue, in the order of the scripts."""
    return [f"wsserver:{_tag(model_id)}:{name}" for name in NAMES]


def queue_bell(model_id: str) -> str:
    """What the names of a queue's bells begin with."""
    return f"wsserver:b:{_tag(model_id)}"


def claims_of(node: str) -> str:
    """What the names of all claims of a process begin with."""
    return f"{node}:"


def _tag(model_id: str) -> str:
    return f"{{q:{digest(model_id)}}}"
