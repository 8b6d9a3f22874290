"""The requests with one reply each: models, figures, sessions, rooms to list.

Every method sends one message and gives its reply as the protocol's own struct; times in them are
integer milliseconds, as on the wire. All raise `WireFailure` where the server answers with an
error, `RequestTimeout` where it does not answer, `ConnectionLost` where the connection went and
the request must not be repeated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from wsserver_client.calls import Message
from wsserver_client.errors import UnexpectedReply
from wsserver_client.options import ChatMessage, request
from wsserver_protocol import events
from wsserver_protocol.codec import UnreadableFrame, parse_event

Reply = TypeVar("Reply", bound=events.Event)


class ThinCalls(ABC):
    """Base of the client: what it can ask, one message each."""

    @abstractmethod
    async def request(self, message: Mapping[str, Any], *, timeout: float | None = None) -> Message:
        """Send any message and wait for its terminal event."""

    async def models(self) -> tuple[events.ModelDescription, ...]:
        """All models that the server knows."""
        return (await self._typed(events.ModelsList, request("models"))).models

    async def unload_model(self, model_id: str, *, force: bool = False) -> None:
        """Unload a model, or cancel its loading; ``force`` stops its running streams."""
        await self.request(request("unload_model", id=model_id, force=force or None))

    async def count_tokens(
        self,
        text: str | None = None,
        *,
        messages: Sequence[ChatMessage] | None = None,
        model: str | None = None,
    ) -> int:
        """Tokens of a text, or of a conversation as the model's template renders it."""
        message = request("count_tokens", text=text, messages=messages, model=model)
        return (await self._typed(events.TokenCount, message)).tokens

    async def metrics(self) -> events.MetricsData:
        """The server's figures; needs the scope ``metrics:read``."""
        return (await self._typed(events.MetricsReport, request("metrics"))).data

    async def status(self) -> events.Status:
        """What this client runs, where it is, and what is left of its limits."""
        return await self._typed(events.Status, request("get_status"))

    async def interrupt(self) -> events.Interrupted:
        """Stop all that this client runs."""
        return await self._typed(events.Interrupted, request("interrupt"))

    async def list_rooms(
        self, *, cursor: str | None = None, limit: int | None = None
    ) -> events.RoomsList:
        """A page of the rooms that this user may see."""
        return await self._typed(
            events.RoomsList, request("list_rooms", cursor=cursor, limit=limit)
        )

    # --- sessions ------------------------------------------------------------------------------

    async def open_session(
        self,
        session_id: str | None = None,
        *,
        title: str | None = None,
        system_prompt: str | None = None,
        model: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> events.SessionInfo:
        """Open a session, or create it."""
        message = request(
            "open_session",
            session_id=session_id,
            title=title,
            system_prompt=system_prompt,
            model=model,
            metadata=metadata,
        )
        return (await self._typed(events.SessionOpened, message)).session

    async def sessions(
        self, *, query: str | None = None, cursor: str | None = None, limit: int | None = None
    ) -> events.SessionsList:
        """A page of this user's sessions, last used first."""
        message = request("list_sessions", query=query, cursor=cursor, limit=limit)
        return await self._typed(events.SessionsList, message)

    async def history(
        self,
        session_id: str,
        *,
        before: str | None = None,
        limit: int | None = None,
        branch: str | None = None,
    ) -> events.History:
        """A page of a session's messages, oldest first."""
        message = request(
            "get_history", session_id=session_id, before=before, limit=limit, branch=branch
        )
        return await self._typed(events.History, message)

    async def update_session(
        self,
        session_id: str,
        *,
        title: str | None = None,
        system_prompt: str | None = None,
        model: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> events.SessionInfo:
        """Change what is given."""
        message = request(
            "update_session",
            session_id=session_id,
            title=title,
            system_prompt=system_prompt,
            model=model,
            metadata=metadata,
        )
        return (await self._typed(events.SessionUpdated, message)).session

    async def clear_history(self, session_id: str) -> None:
        """Delete a session's messages and keep the session."""
        await self.request(request("clear_history", session_id=session_id))

    async def fork_session(self, session_id: str, message_id: str) -> events.SessionInfo:
        """Copy a session up to a message into a new one."""
        message = request("fork_session", session_id=session_id, message_id=message_id)
        return (await self._typed(events.SessionOpened, message)).session

    async def delete_session(self, session_id: str) -> None:
        """Delete a session and stop its stream."""
        await self.request(request("delete_session", session_id=session_id))

    async def export_session(
        self,
        session_id: str,
        *,
        format: Literal["json", "markdown"] = "json",
        cursor: str | None = None,
    ) -> events.SessionExport:
        """A page of a session as a document."""
        message = request("export_session", session_id=session_id, format=format, cursor=cursor)
        return await self._typed(events.SessionExport, message)

    async def import_session(
        self,
        data: events.ExportedSession | Mapping[str, Any],
        *,
        session_id: str | None = None,
    ) -> events.SessionInfo:
        """Make a session of what an export in JSON gave: its ``data``, also as the wire has it."""
        message = request("import_session", data=data, session_id=session_id)
        return (await self._typed(events.SessionImported, message)).session

    async def _typed(self, kind: type[Reply], message: Message) -> Reply:
        reply = await self.request(message)
        try:
            event = parse_event(reply)
        except UnreadableFrame as fault:
            raise UnexpectedReply(str(fault)) from fault
        if not isinstance(event, kind):
            raise UnexpectedReply(f"{message['type']} was answered with {reply['type']}")
        return event
