"""Running a room: its settings, who may do what there, who may come in."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from wsserver.core.models.options import check_options
from wsserver.core.rooms import Room, refusals, rights
from wsserver.core.wallclock import wall_ms
from wsserver.gateway.dispatch import Call, Reply
from wsserver.gateway.handlers.rooms import in_lane, origin
from wsserver_protocol import events, requests
from wsserver_protocol.errors import FieldError, WireError
from wsserver_protocol.fields import Role

Work = Coroutine[None, None, Reply]


def update_room(call: Call) -> Work:
    """Change settings, as an owner or a moderator. Everyone is told all of them."""
    return in_lane(call.connection.client, lambda: _update(call))


async def _update(call: Call) -> Reply:
    request: requests.UpdateRoom = call.request
    services, client = call.connection.services, call.connection.client
    room = services.rooms.of_member(client, request.room_id)
    rights.require_moderator(room.role_of(client), "change the settings of this room")
    _check_settings(call, room, request.settings)
    await services.rooms.broker.configure(
        room.room_id, request.settings, client.identity.user_id, origin(call)
    )
    return None


def _check_settings(call: Call, room: Room, settings: requests.RoomSettings) -> None:
    """Refuse a model that there is none of, and options that it can't honour.

    Raises:
        WireError: ``model_not_found``, ``unsupported_option``; ``details`` name the setting.
    """
    models = call.connection.services.models
    try:
        if settings.model:
            models.get(settings.model)
        options = settings.options or room.settings.options
        model_id = room.settings.model if settings.model is None else settings.model
        model = models.get(model_id or None) if model_id or models.default() else None
        if options is not None and model is not None:
            check_options(model, options)
    except WireError as error:
        error.details = tuple(
            FieldError(field=f"settings.{detail.field}", message=detail.message)
            for detail in error.details
        )
        raise


def set_role(call: Call) -> Work:
    """Give a user another role, below one's own; an owner gives every role."""
    return in_lane(call.connection.client, lambda: _set_role(call))


async def _set_role(call: Call) -> Reply:
    request: requests.SetRole = call.request
    services, client = call.connection.services, call.connection.client
    room = services.rooms.of_member(client, request.room_id)
    role = room.role_of(client)
    is_own = request.user_id == client.identity.user_id
    if not is_own:  # one's own role everyone may lower
        rights.require_moderator(role, "change roles in this room")
    rights.require_gift(role, request.role)
    await services.rooms.broker.set_role(
        room.room_id,
        client.identity.key_of(request.user_id),
        request.user_id,
        request.role,
        reach=role if is_own else rights.reach(role),
        by=client.identity.user_id,
        origin=origin(call),
    )
    return None


def kick(call: Call) -> Work:
    """Send a member out; it may come back as anybody may."""
    return in_lane(call.connection.client, lambda: _kick(call))


async def _kick(call: Call) -> Reply:
    request: requests.Kick = call.request
    room, reach = _about_another(call, "send people out of this room")
    await call.connection.services.rooms.broker.kick(
        room.room_id,
        call.connection.client.identity.key_of(request.user_id),
        reach=reach,
        origin=origin(call),
    )
    return None


def ban(call: Call) -> Work:
    """Keep a user out, there or not, until it is unbanned."""
    return in_lane(call.connection.client, lambda: _ban(call))


async def _ban(call: Call) -> Reply:
    room, reach = _about_another(call, "ban people from this room")
    await call.connection.services.rooms.broker.ban(*_whom(call, room), reach=reach, **_by(call))
    return None


def unban(call: Call) -> Work:
    """Let a banned user come again."""
    return in_lane(call.connection.client, lambda: _unban(call))


async def _unban(call: Call) -> Reply:
    room, _ = _about_another(call, "lift bans in this room")
    await call.connection.services.rooms.broker.unban(*_whom(call, room), **_by(call))
    return None


def create_invite(call: Call) -> Work:
    """A secret with which anyone comes in, with a role below one's own."""
    return in_lane(call.connection.client, lambda: _invite(call))


async def _invite(call: Call) -> Reply:
    request: requests.CreateInvite = call.request
    services, client = call.connection.services, call.connection.client
    room = services.rooms.of_member(client, request.room_id)
    role = room.role_of(client)
    rights.require_moderator(role, "invite people to this room")
    rights.require_gift(role, request.role)
    most = round(services.policy.max_invite_seconds * 1000)
    lasting = most if request.expires_in is None else min(request.expires_in, most)
    expires_at = wall_ms() + lasting
    invite = await services.rooms.broker.invite(
        room.room_id, request.role, lasting / 1000, origin(call)
    )
    return events.RoomInvite(
        request_id=call.request_id, room_id=room.room_id, invite=invite, expires_at=expires_at
    )


def _about_another(call: Call, doing: str) -> tuple[Room, Role]:
    """The room, and the highest role that the caller may act on.

    Raises:
        WireError: ``not_in_room``; ``forbidden``; ``invalid_parameters`` if the caller means
            himself.
    """
    request: requests.Kick | requests.Ban | requests.Unban = call.request
    client = call.connection.client
    room = call.connection.services.rooms.of_member(client, request.room_id)
    role = room.role_of(client)
    rights.require_moderator(role, doing)
    if request.user_id == client.identity.user_id:
        raise refusals.no_such_user("is your own")
    return room, rights.reach(role)


def _whom(call: Call, room: Room) -> tuple[str, str, str]:
    user_id: str = call.request.user_id
    return room.room_id, call.connection.client.identity.key_of(user_id), user_id


def _by(call: Call) -> dict[str, Any]:
    return {"by": call.connection.client.identity.user_id, "origin": origin(call)}
