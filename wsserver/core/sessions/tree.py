"""A session's tree: branches and turns, from links alone.

Pure functions; nothing here knows a store. The rule: the order of appends decides. Of two
branches the one with the newer message is the newer one, and the newest message of all is the
leaf of the active branch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wsserver.core.sessions.model import Link, Message


def path(links: Iterable[Link], end: str) -> list[str]:
    """Ids from the first message of the branch to ``end``.

    Raises:
        KeyError: If ``end`` or a message before it is not among the links.
    """
    parents = dict(links)
    ids: list[str] = []
    step: str | None = end
    while step is not None:
        ids.append(step)
        step = parents[step]
    ids.reverse()
    return ids


def newest_leaf(links: Sequence[Link], message_id: str) -> str:
    """The newest message at or below ``message_id``: the leaf of the branch that it names.

    Raises:
        KeyError: If it is not among the links.
    """
    below: set[str] = set()
    leaf: str | None = None
    for link in links:  # in order of append: a child never comes before its parent
        if link.message_id == message_id or link.parent_id in below:
            below.add(link.message_id)
            leaf = link.message_id
    if leaf is None:
        raise KeyError(message_id)
    return leaf


def siblings(links: Sequence[Link], message_id: str) -> list[str]:
    """All messages with the same parent, itself included, in the order of their appends.

    Raises:
        KeyError: If it is not among the links.
    """
    parent = dict(links)[message_id]
    return [link.message_id for link in links if link.parent_id == parent]


def turns(messages: Sequence[Message]) -> list[list[Message]]:
    """A branch cut into turns: each a user's messages in a row and all that follows them.

    What comes before the first of them (a greeting, a branch that begins in the middle) is none.
    """
    found: list[list[Message]] = []
    before: str | None = None
    for message in messages:
        if message.role == "user" and before != "user":
            found.append([])
        if found:
            found[-1].append(message)
        before = message.role
    return found


def out_of_order(links: Sequence[Link], known: Iterable[str] = ()) -> str | None:
    """The first message that does not come after its parent, or comes twice; None if all do."""
    seen = set(known)
    new: set[str] = set()
    for link in links:
        if link.message_id in new:
            return link.message_id
        if link.parent_id is not None and link.parent_id not in seen:
            return link.message_id
        seen.add(link.message_id)
        new.add(link.message_id)
    return None
