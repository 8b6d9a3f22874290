"""The keys of one owner's sessions, and what stands under them.

All keys of an owner carry one hash tag, a digest of the owner, so that in a cluster they lie in
one slot. Only so can a session, its place in the owner's list and his caps change in one atomic
step. What it costs: one user's sessions are never spread over several hosts, which no user needs.

| key | type | holds |
|---|---|---|
| ``…:list`` | sorted set | sessionId by the number of its last change |
| ``…:expiry`` | sorted set | sessionId by the time (ms) at which it is gone |
| ``…:owner`` | hash | ``owner``, ``touched`` (counts changes), ``bytes`` of all sessions |
| ``…:sizes`` | hash | sessionId to its bytes of text |
| ``…:streams`` | hash | streamId to JSON ``[sessionId, messageId]`` |
| ``…:s:<id>`` | hash | the session's own fields |
| ``…:c:<id>`` | hash | messageId to its text |
| ``…:h:<id>`` | hash | messageId to JSON of its other fields |
| ``…:t:<id>`` | hash | messageId to ``<bytes>:<parentId>`` |
| ``…:o:<id>`` | list | messageIds in the order of their appends |
"""

from __future__ import annotations

import hashlib

PREFIX = "wsserver"

LISTS = f"{PREFIX}:{{*}}:list"
"""Pattern of all owners' lists: for tools, never in the path of a request."""


def owner_keys(owner: str) -> list[str]:
    """The keys of an owner, in the order of the scripts."""
    base = _base(owner)
    return [f"{base}:{name}" for name in ("list", "expiry", "owner", "sizes", "streams")]


def session_keys(owner: str, session_id: str) -> list[str]:
    """The keys of an owner and of one of his sessions, in the order of the scripts."""
    base = _base(owner)
    return [*owner_keys(owner), *(f"{base}:{letter}:{session_id}" for letter in "schto")]


def _base(owner: str) -> str:
    # A digest, because an owner's name may hold braces, which would end the tag early.
    tag = hashlib.blake2b(owner.encode(), digest_size=12).hexdigest()
    return f"{PREFIX}:{{{tag}}}"
