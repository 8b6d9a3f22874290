"""Who may do what in a room. A table by role, and no state.

Owners and moderators run a room. One acts on those below oneself, and gives roles below one's own;
an owner acts on everyone and gives every role.
"""

from __future__ import annotations

from wsserver.core.rooms.refusals import role_too_low
from wsserver_protocol.fields import Ask, Role

RANKS = {Role.VIEWER: 0, Role.MEMBER: 1, Role.MODERATOR: 2, Role.OWNER: 3}
"""Each role may do what those below it may."""

_ASKERS = {Ask.EVERYONE: Role.VIEWER, Ask.MEMBERS: Role.MEMBER, Ask.MODERATORS: Role.MODERATOR}


def is_at_least(role: Role, least: Role) -> bool:
    return RANKS[role] >= RANKS[least]


def higher(one: Role, other: Role) -> Role:
    return one if is_at_least(one, other) else other


def moderates(role: Role) -> bool:
    """Whether one may stop other people's answers, and run the room."""
    return is_at_least(role, Role.MODERATOR)


def require_moderator(role: Role, doing: str) -> None:
    """Raises ``forbidden``, in words that end in ``doing``, for who runs nothing here."""
    if not moderates(role):
        raise role_too_low(doing)


def reach(role: Role) -> Role:
    """The highest role that someone of this one may act on."""
    return Role.OWNER if role is Role.OWNER else Role.MEMBER


def require_gift(role: Role, gift: Role) -> None:
    """Raises ``forbidden`` if someone may not give this role away."""
    if role is not Role.OWNER and RANKS[gift] >= RANKS[role]:
        raise role_too_low(f"make someone {gift.value}")


def require_voice(role: Role) -> None:
    """Raises ``forbidden`` for who may only look."""
    if role is Role.VIEWER:
        raise role_too_low("write here")


def require_asker(role: Role, who: Ask | None) -> None:
    """Raises ``forbidden`` for who may not ask the model; without a setting members may."""
    if not is_at_least(role, _ASKERS[who or Ask.MEMBERS]):
        raise role_too_low("ask the model here")
