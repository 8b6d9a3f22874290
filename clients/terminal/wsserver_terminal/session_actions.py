"""What the commands about conversations that the server keeps do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from wsserver_client import WireFailure
from wsserver_protocol.events import HistoryMessage, SessionInfo
from wsserver_terminal.asking import BUSY
from wsserver_terminal.commands import Command, CommandError
from wsserver_terminal.session_talk import SessionTalk

if TYPE_CHECKING:
    from wsserver_terminal.chat import Chat

LISTED = 20
SHOWN_ON_OPENING = 6
SHOWN = 20
NO_SESSIONS = "this conversation is not kept by the server"

ENDINGS = {
    "stopped": "■ stopped; /continue goes on",
    "error": "(cut off; /continue goes on)",
    "length": "(cut short; /continue goes on)",
    "timeout": "(cut short; /continue goes on)",
}
"""What is said about a last answer by its finish reason."""


def session_commands(actions: SessionActions) -> list[Command]:
    """The commands that are about sessions."""
    return [
        Command("sessions", "[TEXT]", "your conversations, or those with TEXT", actions.list),
        Command("open", "N", "go on with a conversation of the list, or of this id", actions.open),
        Command("history", "[N]", f"the last N messages (default {SHOWN})", actions.history),
        Command("title", "TEXT", "give this conversation a title", actions.title),
        Command("edit", "[TEXT]", "put another question in the place of the last", actions.edit),
        Command("continue", "", "go on with an answer that was stopped", actions.go_on),
        Command("fork", "", "go on in a copy of this conversation", actions.fork),
        Command("delete", "N", "delete a conversation for good", actions.delete),
    ]


class SessionActions:
    """The handlers; also what the command line asks for at the start."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._listed: list[SessionInfo] = []

    async def list(self, argument: str) -> None:
        talk = self._talk
        page = await self._chat.client.sessions(query=argument or None, limit=LISTED)
        if not page.sessions:
            raise CommandError("no conversation has that" if argument else "there are none yet")
        self._listed = list(page.sessions)
        open_id = talk.info.session_id if talk.info is not None else None
        self._chat.screen.sessions(self._listed, int(time.time() * 1000), open_id)
        if page.next_cursor is not None:
            self._chat.screen.notice("(there are more; /sessions TEXT looks for one)")

    async def open(self, argument: str) -> None:
        talk = self._free_talk
        await self.enter(talk, self._named(argument, "open which? /sessions lists them"))

    async def resume(self) -> None:
        """Take up the newest conversation, if there is one."""
        talk = self._talk
        page = await self._chat.client.sessions(limit=1)
        if page.sessions:
            await self.enter(talk, page.sessions[0].session_id)
        else:
            self._chat.screen.notice("There is no earlier conversation.")

    async def enter(self, talk: SessionTalk, session_id: str) -> None:
        """Take up a conversation and show its end.

        Raises:
            CommandError: If there is none of that id.
        """
        try:
            await talk.open(session_id)
        except WireFailure as error:
            if error.code not in ("session_not_found", "invalid_parameters"):
                raise
            raise CommandError(f"there is no conversation {session_id}") from None
        title = talk.info.title if talk.info is not None else None
        self._chat.screen.notice(f"— {title or session_id} —")
        last = await self._show(talk, SHOWN_ON_OPENING)
        if last is not None and _is_running(last):
            stream_id = str(last.stream_id)
            self._chat.begin(lambda: talk.follow(stream_id))

    async def history(self, argument: str) -> None:
        if argument and not argument.isdecimal():
            raise CommandError("how many messages? /history N")
        await self._show(self._talk, int(argument or SHOWN))

    async def title(self, argument: str) -> None:
        if not argument:
            raise CommandError("which title? /title TEXT")
        await self._talk.set_title(argument)
        self._chat.screen.notice(f"title: {argument}")

    async def edit(self, argument: str) -> None:
        talk = self._free_talk
        if not argument:
            # To be changed in the prompt; Enter sends it.
            self._chat.draft = f"/edit {await talk.last_question()}"
            return
        self._chat.begin(lambda: talk.edit(argument, self._chat.manner))

    async def go_on(self, argument: str) -> None:
        talk = self._free_talk
        self._chat.begin(lambda: talk.go_on(self._chat.manner))

    async def fork(self, argument: str) -> None:
        await self._free_talk.fork()
        self._chat.screen.notice("— a copy; the conversation before stays as it is —")

    async def delete(self, argument: str) -> None:
        talk = self._free_talk
        session_id = self._named(argument, "delete which? /sessions lists them")
        listed = next((one for one in self._listed if one.session_id == session_id), None)
        await self._chat.client.delete_session(session_id)
        if talk.info is not None and talk.info.session_id == session_id:
            talk.clear()
        self._chat.screen.notice(f"deleted: {(listed and listed.title) or session_id}")

    @property
    def _talk(self) -> SessionTalk:
        talk = self._chat.talk
        if not isinstance(talk, SessionTalk):
            raise CommandError(NO_SESSIONS)
        return talk

    @property
    def _free_talk(self) -> SessionTalk:
        """The conversation, while nothing is being answered in it."""
        if self._chat.asking.is_busy:
            raise CommandError(BUSY)
        return self._talk

    def _named(self, argument: str, otherwise: str) -> str:
        """The id that a number of the last list, or an id, means."""
        if not argument:
            raise CommandError(otherwise)
        if not argument.isdecimal():
            return argument
        if not 1 <= int(argument) <= len(self._listed):
            raise CommandError(f"there is no number {argument}; /sessions lists them")
        return self._listed[int(argument) - 1].session_id

    async def _show(self, talk: SessionTalk, count: int) -> HistoryMessage | None:
        """Show the newest messages, but for an answer that is being made; the last one."""
        messages, has_more = await talk.messages(count)
        screen = self._chat.screen
        if has_more:
            screen.notice("(there is more before this; /history N shows it)")
        for message in messages:
            if message.role == "user":
                screen.echo(message.content)
            elif not _is_running(message):
                screen.answer(message.content)
        if not messages:
            return None
        if messages[-1].finish_reason in ENDINGS:
            screen.mark(ENDINGS[messages[-1].finish_reason])
        screen.gap()
        return messages[-1]


def _is_running(message: HistoryMessage) -> bool:
    return message.finish_reason is None and message.stream_id is not None
