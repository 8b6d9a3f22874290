"""A conversation that the server keeps: a session.

The server has the history; this room keeps the session's description and nothing else, and looks
at the newest messages whenever it must know what stands there. So it makes no difference whether
another device went on with the conversation, or the server was killed and started again.
"""

from __future__ import annotations

from wsserver_client import Client, ClientError, ConnectionLost, StreamResult, WireFailure
from wsserver_protocol.events import HistoryMessage, SessionInfo
from wsserver_terminal.commands import CommandError
from wsserver_terminal.talk import Aftermath, Attempt, Manner

PAGE = 50

NOTHING = "nothing was asked yet"


class SessionTalk:
    """See `wsserver_terminal.talk.Talk`.

    Attributes:
        info: The session as it was last described; None before its first question.
    """

    def __init__(self, client: Client, system: str | None) -> None:
        self.info: SessionInfo | None = None
        self._client = client
        self._system = system

    @property
    def model(self) -> str | None:
        return self.info.model if self.info is not None else None

    @property
    def session_id(self) -> str:
        """The session's id.

        Raises:
            CommandError: If there is no session yet.
        """
        if self.info is None:
            raise CommandError(NOTHING)
        return self.info.session_id

    # --- questions -----------------------------------------------------------------------------

    async def ask(self, question: str, manner: Manner) -> Attempt:
        if self.info is None:
            self.info = await self._client.open_session(system_prompt=self._system)
        return Attempt(
            self._client.stream(
                question, session_id=self.session_id, model=manner.model, **manner.options
            )
        )

    async def retry(self, manner: Manner) -> Attempt:
        """Have the last answer made anew; the one before stays on a branch of its own."""
        last = await self._last("assistant")
        return Attempt(
            self._client.stream(
                session_id=self.session_id,
                regenerate=last.message_id,
                model=manner.model,
                **manner.options,
            )
        )

    async def edit(self, question: str, manner: Manner) -> Attempt:
        """Put another question in the place of the last one, which stays on its own branch."""
        last = await self._last("user")
        return Attempt(
            self._client.stream(
                question,
                session_id=self.session_id,
                # The session's own id stands before its first message.
                parent_id=last.parent_id or self.session_id,
                model=manner.model,
                **manner.options,
            )
        )

    async def go_on(self, manner: Manner) -> Attempt:
        """Go on with the last answer, which was stopped or cut short."""
        last = await self._last("assistant")
        stream = self._client.continue_(session_id=self.session_id, **manner.options)
        return Attempt(stream, last.content)

    async def follow(self, stream_id: str) -> Attempt:
        """Follow an answer that is being made, asked for from elsewhere."""
        return Attempt(self._client.watch(stream_id))

    async def last_question(self) -> str:
        return (await self._last("user")).content

    def ended(self, attempt: Attempt, result: StreamResult) -> str:
        if not result.saved:
            return "(the server could not store this answer)"
        count = attempt.stream.dropped_messages
        return f"(the model no longer sees the oldest {count} messages)" if count else ""

    async def failed(self, attempt: Attempt, error: ClientError) -> Aftermath:
        """What of a lost answer the server has kept is shown, or can be gone on with."""
        if isinstance(error, WireFailure) and error.code == "session_not_found":
            return Aftermath(hint="/new begins another conversation")
        kept = await self._kept(attempt)
        if kept is None:
            return Aftermath()
        seen = attempt.prior + attempt.stream.text
        rest = kept.content[len(seen) :] if kept.content.startswith(seen) else ""
        if kept.finish_reason is None:
            return Aftermath(rest=rest, hint="it is being answered still; /history shows it later")
        if kept.finish_reason == "error":
            return Aftermath(rest=rest, hint="what came of it is kept; /continue goes on with it")
        return Aftermath(rest=rest, finish_reason=kept.finish_reason)

    # --- the session ---------------------------------------------------------------------------

    def clear(self) -> None:
        self.info = None

    async def set_system(self, text: str) -> None:
        if self.info is not None:
            self.info = await self._client.update_session(self.session_id, system_prompt=text)
        self._system = text or None

    async def set_title(self, title: str) -> None:
        self.info = await self._client.update_session(self.session_id, title=title)

    async def open(self, session_id: str) -> None:
        """Take up a session.

        Raises:
            WireFailure: If there is none of that id.
        """
        await self._client.history(session_id, limit=1)  # opening an unknown one would make it
        self._enter(await self._client.open_session(session_id))

    async def fork(self) -> None:
        """Go on in a copy of the session."""
        page = await self._client.history(self.session_id, limit=1)
        if not page.messages:
            raise CommandError(NOTHING)
        last = page.messages[-1].message_id
        self._enter(await self._client.fork_session(self.session_id, last))

    async def messages(self, count: int) -> tuple[list[HistoryMessage], bool]:
        """The newest messages, oldest first, and whether there are older ones."""
        messages: list[HistoryMessage] = []
        has_more, before = True, None
        while has_more and len(messages) < count:
            page = await self._client.history(
                self.session_id, before=before, limit=min(PAGE, count - len(messages))
            )
            messages[:0] = page.messages
            has_more = page.has_more and bool(page.messages)
            before = messages[0].message_id if messages else None
        return messages, has_more

    def fit(self, context_length: int) -> None:
        """The server knows what fits."""

    async def markdown(self) -> str:
        parts: list[str] = []
        cursor: str | None = None
        while True:
            page = await self._client.export_session(
                self.session_id, format="markdown", cursor=cursor
            )
            parts.append(page.text or "")
            cursor = page.next_cursor
            if cursor is None:
                return "".join(parts)

    def _enter(self, info: SessionInfo) -> None:
        self.info = info
        self._system = info.system_prompt

    async def _last(self, role: str) -> HistoryMessage:
        """The newest message of the user or of the model, of the last turn.

        Raises:
            CommandError: If there is none.
        """
        page = await self._client.history(self.session_id, limit=2)
        for message in reversed(page.messages):
            if message.role == role:
                return message
        raise CommandError(NOTHING)

    async def _kept(self, attempt: Attempt) -> HistoryMessage | None:
        """The answer as the history has it; None if it does not, or does not tell."""
        message_id = attempt.stream.message_id
        if message_id is None or self.info is None:
            return None
        try:
            page = await self._client.history(self.session_id, branch=message_id, limit=1)
        except (WireFailure, ConnectionLost):
            return None  # what failed first is shown
        last = page.messages[-1] if page.messages else None
        return last if last is not None and last.message_id == message_id else None
