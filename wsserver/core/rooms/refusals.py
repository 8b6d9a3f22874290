"""The words with which a room refuses: the same whichever broker finds the reason."""

from __future__ import annotations

from wsserver_protocol.errors import ErrorCode, FieldError, WireError


def not_in_room() -> WireError:
    return WireError(ErrorCode.NOT_IN_ROOM, "You are not in this room.")


def banned() -> WireError:
    return WireError(ErrorCode.FORBIDDEN, "You are banned from this room.")


def locked() -> WireError:
    return WireError(ErrorCode.FORBIDDEN, "This room is locked: nobody new may enter.")


def not_invited(*, had_invite: bool) -> WireError:
    """The room is for the invited; or the invite that was given is none, or has expired."""
    if not had_invite:
        return WireError(
            ErrorCode.FORBIDDEN,
            "This room is for invited users.",
            details=(FieldError(field="invite", message="is required"),),
        )
    return WireError(
        ErrorCode.FORBIDDEN,
        "This invite is unknown or has expired.",
        details=(FieldError(field="invite", message="is unknown or has expired"),),
    )


def full(most: int) -> WireError:
    return WireError(ErrorCode.ROOM_FULL, f"The room has its {most} members.", retry_after=1000)


def too_many_rooms() -> WireError:
    return WireError(ErrorCode.OVERLOADED, "This server holds no more rooms.", retry_after=1000)


class InDoubt(WireError):
    """``store_unavailable`` in the midst of a step: it may have taken place."""


def in_doubt() -> InDoubt:
    """What rooms are kept in has gone away while it was asked."""
    away = store_away()
    return InDoubt(away.code, away.message, retry_after=away.retry_after)


def store_away() -> WireError:
    """What rooms are kept in can't be reached."""
    return WireError(
        ErrorCode.STORE_UNAVAILABLE,
        "The store that all servers share is away; try again soon.",
        retry_after=1000,
    )


def busy() -> WireError:
    """An ask in a room that answers one at a time and lets none wait."""
    return WireError(
        ErrorCode.OVERLOADED,
        "The room is being answered; ask again when that has ended.",
        retry_after=1000,
    )


def role_too_low(doing: str) -> WireError:
    """``doing`` completes "Your role does not let you …"."""
    return WireError(ErrorCode.FORBIDDEN, f"Your role does not let you {doing}.")


def out_of_reach() -> WireError:
    return WireError(ErrorCode.FORBIDDEN, "Their role is not below yours.")


def needs_an_owner() -> WireError:
    return WireError(
        ErrorCode.FORBIDDEN, "The room would have no owner left: make someone else one first."
    )


def is_banned() -> WireError:
    return WireError(ErrorCode.FORBIDDEN, "They are banned from this room: unban them first.")


def no_such_user(message: str) -> WireError:
    """The user that a request names is not there, or not banned: ``message`` says which."""
    return WireError(
        ErrorCode.INVALID_PARAMETERS,
        f"userId {message}.",
        details=(FieldError(field="userId", message=message),),
    )


def too_many_bans(most: int) -> WireError:
    return WireError(
        ErrorCode.OVERLOADED, f"The room has {most} bans; lift one first.", retryable=False
    )
