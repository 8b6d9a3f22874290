"""The conversation on the screen: a prompt that is always there, and answers above it.

This room decides what a typed line means, what Ctrl-C does, and which words an error gets. Only
one answer of one's own runs at a time; everything else goes on beside the prompt in tasks, and
all of them have ended when `Chat.run` returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Coroutine
from typing import Any

from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyPressEvent
from prompt_toolkit.output import Output

from wsserver_client import (
    Client,
    ClientError,
    LinkState,
    LinkStatus,
    StreamHandle,
)
from wsserver_terminal.actions import make_commands
from wsserver_terminal.arguments import ChatArguments
from wsserver_terminal.asking import Asking, Start
from wsserver_terminal.bottom import prompt_line, toolbar
from wsserver_terminal.commands import CommandError
from wsserver_terminal.conversation import Conversation
from wsserver_terminal.feed import Feed
from wsserver_terminal.input import make_prompt, redraw
from wsserver_terminal.local_talk import LocalTalk
from wsserver_terminal.room_view import RoomView
from wsserver_terminal.screen import Screen
from wsserver_terminal.session_actions import SessionActions
from wsserver_terminal.session_talk import SessionTalk
from wsserver_terminal.talk import Manner, Talk

LEAVE_WITHIN = 2.0
"""Seconds within which a second Ctrl-C leaves."""


class Chat:
    """The interactive client. One for each run of the program.

    Attributes:
        client, screen, feed: What it talks to, and where it shows.
        talk: The conversation of one's own, kept by the server if it keeps any.
        asking: The answer that is on its way in it.
        sessions: What is done about conversations that the server keeps.
        options, model: What the commands change and show.
        draft: What stands in the prompt when it is shown next.
        room: The room that is on the screen, None in a conversation of one's own.
    """

    def __init__(
        self,
        client: Client,
        arguments: ChatArguments,
        screen: Screen,
        *,
        history_file: str | None,
        input_: Input | None = None,
        output: Output | None = None,
    ) -> None:
        self.client = client
        self.screen = screen
        self.feed = Feed(screen, self._redraw)
        self.talk = _talk(client, arguments)
        self.asking = Asking(screen, self.feed)
        self.options = dict(arguments.options)
        self.model = arguments.model
        self.default_model: str | None = None
        self.draft = ""
        self.sessions = SessionActions(self)
        self.room: RoomView | None = None
        self.note = ""
        self._url = arguments.url
        self._user = arguments
        self._tasks: set[asyncio.Task[None]] = set()
        self._interrupted_at = -LEAVE_WITHIN
        self._is_leaving = False
        self._is_offline = False
        self._failure: str | None = None
        self._commands = make_commands(self)
        self._prompt = make_prompt(
            message=self._message,
            toolbar=self._toolbar,
            commands=self._commands.names,
            on_interrupt=self._on_interrupt,
            history_file=history_file,
            input_=input_,
            output=output,
        )

    async def run(self) -> int:
        """Talk until the user leaves or the connection ends for good; the exit code."""
        await self._greet()
        await self._do(self._enter())
        try:
            while not self._is_leaving:
                line = await self._read_line()
                if line is None:
                    break
                await self._take(line)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._failure is not None:
            self.screen.error(self._failure)
            return 1
        return 0

    # --- what commands use ---------------------------------------------------------------------

    @property
    def answering(self) -> StreamHandle | None:
        """The answer to this user's question that is on its way, None if there is none."""
        for stream in (self.asking.stream, self.room.mine if self.room else None):
            if stream is not None and not stream.is_ended:
                return stream
        return None

    @property
    def help_rows(self) -> list[tuple[str, str]]:
        return self._commands.rows

    @property
    def manner(self) -> Manner:
        """How to answer, as it is set now."""
        return Manner(self.model, dict(self.options))

    def ask(self, question: str) -> None:
        """Ask in the conversation of one's own.

        Raises:
            CommandError: If an answer is on its way still.
        """
        self.begin(lambda: self.talk.ask(question, self.manner))

    def begin(self, start: Start) -> None:
        """Show the answer that ``start`` asks for.

        Raises:
            CommandError: If an answer is on its way still.
        """
        self.spawn(self.asking.begin(self.talk, start))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside the prompt; what goes wrong in it is shown."""
        task = asyncio.create_task(self._do(work))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def enter_room(self, room_id: str, invite: str | None = None) -> None:
        await self.leave_room()
        room = await self.client.join_room(room_id, name=self._user.name, invite=invite)
        view = RoomView(room, self.client.client_id, self.screen, self.feed)
        self.room = view
        self.spawn(self._show_room(view))

    async def leave_room(self) -> None:
        if self.room is not None:
            view, self.room = self.room, None
            await view.room.leave()
            self.screen.notice(f"— left the room {view.room.room_id} —")

    def leave(self) -> None:
        self._is_leaving = True

    def on_status(self, status: LinkStatus) -> None:
        """The connection has changed. Attempts that fail are for the toolbar: they may be many."""
        if status.state is LinkState.OFFLINE and not self._is_offline:
            self._is_offline = True
            self.screen.mark(f"— offline: {status.reason}; reconnecting —")
        elif status.state is LinkState.ONLINE:
            self._is_offline = False
            self.screen.notice("— connected again —")
        elif status.state is LinkState.CLOSED and not self._is_leaving:
            self._end(f"the connection has ended: {status.reason}")
        self._redraw()

    # --- lines and keys ------------------------------------------------------------------------

    async def _read_line(self) -> str | None:
        """What the user enters next; None: they leave."""
        draft, self.draft = self.draft, ""
        try:
            return await self._prompt.prompt_async(default=draft)
        except (EOFError, KeyboardInterrupt):
            self._is_leaving = True
            return None

    async def _take(self, line: str) -> None:
        text = line.strip()
        if not text:
            return
        self.screen.echo(text)
        try:
            if text.startswith("/"):
                await self._interruptible(self._commands.run(text))
            elif self.room is not None and text.startswith("?"):
                self.room.ask(text[1:].strip(), self.model, self.options)
            elif self.room is not None:
                self.spawn(self._say(self.room, text))
            else:
                self.ask(text)
        except CommandError as error:
            self.screen.mark(str(error))
            self.draft = line
        except ClientError as error:
            self.screen.error(str(error))

    def _on_interrupt(self, event: KeyPressEvent) -> None:
        now = time.monotonic()
        again = now - self._interrupted_at < LEAVE_WITHIN
        self._interrupted_at = now
        running = self.answering
        if again:
            event.app.exit(exception=EOFError)
        elif running is not None and running.is_watched_only:
            self.spawn(running.stop())  # begun elsewhere: only asked for by its id it ends
        elif running is not None:
            running.abandon()
        elif self.asking.interrupt():
            pass
        elif event.current_buffer.text:
            event.current_buffer.reset()
        else:
            self.screen.notice("Ctrl-C again, or Ctrl-D, leaves.")

    async def _interruptible(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a command to its end, or to a Ctrl-C: no prompt is there to take it meanwhile."""
        task = asyncio.create_task(self._do(work))
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError, RuntimeError):  # not on every system
            loop.add_signal_handler(signal.SIGINT, task.cancel)
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
            with contextlib.suppress(NotImplementedError, RuntimeError):  # as above
                loop.remove_signal_handler(signal.SIGINT)
        if task.cancelled():
            self.screen.mark("interrupted")
        else:
            task.result()

    async def _do(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something of the user's; what goes wrong is shown in words."""
        try:
            await work
        except CommandError as error:
            self.screen.mark(str(error))
        except ClientError as error:
            self.screen.error(str(error))

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        fault = None if task.cancelled() else task.exception()
        if fault is not None:  # a fault of this program: said in words, and no reason to go on
            self._end(f"this program has failed: {fault!r}")

    def _end(self, failure: str) -> None:
        """Leave because of a failure; the first one is told."""
        self._failure = self._failure or failure
        self._is_leaving = True
        if self._prompt.app.is_running:
            self._prompt.app.exit(exception=EOFError)

    # --- work beside the prompt ----------------------------------------------------------------

    async def _enter(self) -> None:
        """Go where the command line says."""
        user = self._user
        if user.session is not None and isinstance(self.talk, SessionTalk):
            try:
                await self.sessions.enter(self.talk, user.session)
            except CommandError as error:
                self._end(str(error))
        elif user.session is not None or user.resume:
            await self.sessions.resume()
        if user.system and isinstance(self.talk, SessionTalk) and self.talk.info is not None:
            await self.talk.set_system(user.system)
        if user.room is not None:
            await self.enter_room(user.room)

    async def _greet(self) -> None:
        self.screen.notice(f"Connected to {self._url}. /help lists the commands, Ctrl-D leaves.")
        if isinstance(self.talk, SessionTalk):
            self.screen.notice("The server keeps your conversations; /sessions lists them.")
        try:
            models = await self.client.models()
        except ClientError as error:
            self.screen.mark(f"The server does not list its models: {error}")
            return
        default = next((model for model in models if model.default), None)
        chosen = next((model for model in models if model.id == self.model), default)
        self.default_model = default.id if default is not None else None
        if self.model is not None and (chosen is None or chosen.id != self.model):
            self.screen.mark(f"The server has no model {self.model}; /models lists those it has.")
        if chosen is not None:
            self.talk.fit(chosen.context_length)
            about = f": {chosen.description}" if chosen.description else ""
            self.screen.notice(f"Model {chosen.id}{about}")

    async def _say(self, view: RoomView, text: str) -> None:
        await view.room.send(text)

    async def _show_room(self, view: RoomView) -> None:
        try:
            await view.run()
        finally:
            if self.room is view:
                self.room = None

    # --- what stands at the bottom -------------------------------------------------------------

    def _message(self) -> StyleAndTextTuples:
        return prompt_line(self.feed.partial, self.room.room.room_id if self.room else None)

    def _toolbar(self) -> StyleAndTextTuples:
        facts = [f"model {self.model or self.talk.model or self.default_model or 'default'}"]
        if self.room is not None:
            facts.append(f"room {self.room.room.room_id} ({self.room.room.participants})")
        return toolbar(self.client.connection, [*facts, self.feed.activity, self.note])

    def _redraw(self) -> None:
        redraw(self._prompt)


def _talk(client: Client, arguments: ChatArguments) -> Talk:
    """The conversation to begin with."""
    if client.session.capabilities.get("sessions") and not arguments.is_private:
        return SessionTalk(client, arguments.system)
    return LocalTalk(client, Conversation(system=arguments.system))
