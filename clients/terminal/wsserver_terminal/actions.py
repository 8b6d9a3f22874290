"""What the commands do. Each acts on the `Chat` that it was made for."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from wsserver_terminal.arguments import BadOption, option_name, option_value
from wsserver_terminal.asking import BUSY
from wsserver_terminal.commands import Command, CommandError, Commands
from wsserver_terminal.room_actions import RoomActions, room_commands
from wsserver_terminal.session_actions import session_commands

if TYPE_CHECKING:
    from wsserver_terminal.chat import Chat


def make_commands(chat: Chat) -> Commands:
    """The commands of this chat."""
    actions = _Actions(chat)
    return Commands(
        [
            Command("help", "", "list the commands", actions.help),
            Command("model", "[ID]", "ask this model; without an id: the default", actions.model),
            Command("models", "", "list the server's models", actions.models),
            Command("load", "SOURCE", "load a model on the server", actions.load),
            Command("system", "[TEXT]", "the system prompt; without text: none", actions.system),
            Command("set", "[NAME [VALUE]]", "an option; without value: unset", actions.set),
            Command("new", "", "begin a new conversation", actions.new),
            Command("stop", "", "stop the answer (as Ctrl-C does)", actions.stop),
            Command("retry", "", "have the last question answered again", actions.retry),
            *session_commands(chat.sessions),
            Command("save", "FILE", "write the conversation to a Markdown file", actions.save),
            Command("room", "[ROOM]", "enter a room; without a name: list them", actions.room),
            Command("ask", "TEXT", "in a room: ask the model ('?TEXT' does the same)", actions.ask),
            Command("leave", "", "leave the room", actions.leave),
            *room_commands(RoomActions(chat)),
            Command("stats", "", "how fast the answers were", actions.stats),
            Command("quit", "", "leave the program", actions.quit),
        ]
    )


class _Actions:
    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    async def help(self, argument: str) -> None:
        rows = self._chat.help_rows
        rows += [
            ("Ctrl-C", "stop the answer; twice: leave the program (as Ctrl-D does)"),
            ("Alt-Enter, or \\ at the end", "a new line in the question"),
        ]
        self._chat.screen.rows(rows)

    async def model(self, argument: str) -> None:
        chat = self._chat
        if argument:
            models = await chat.client.models()
            model = next((model for model in models if model.id == argument), None)
            if model is None:
                raise CommandError(f"the server has no model {argument}; /models lists them")
            chat.talk.fit(model.context_length)
        chat.model = argument or None
        chat.screen.notice(
            f"model: {chat.model or chat.talk.model or chat.default_model or 'the default'}"
        )

    async def models(self, argument: str) -> None:
        self._chat.screen.models(await self._chat.client.models(), self._chat.model)

    async def load(self, argument: str) -> None:
        if not argument:
            raise CommandError("load what? A path under the server's model folder, for instance")
        self._chat.spawn(self._load(argument))

    async def _load(self, source: str) -> None:
        chat = self._chat
        load = chat.client.load_model(source)
        try:
            async for progress in load:
                chat.note = f"loading {progress.model_id}: {progress.progress:.0%}"
            model_id = await load
        finally:
            chat.note = ""
        chat.screen.notice(f"loaded; /model {model_id} asks it")

    async def system(self, argument: str) -> None:
        await self._chat.talk.set_system(argument)
        self._chat.screen.notice("system prompt set" if argument else "no system prompt")

    async def set(self, argument: str) -> None:
        chat = self._chat
        name, _, value = argument.replace("=", " ", 1).partition(" ")
        if name:
            try:
                option = option_name(name)
            except BadOption as error:
                raise CommandError(str(error)) from None
            if value.strip():
                chat.options[option] = option_value(value.strip())
            else:
                chat.options.pop(option, None)
        shown = ", ".join(f"{key} = {value}" for key, value in sorted(chat.options.items()))
        chat.screen.notice(shown or "no options set: the server's defaults hold")

    async def new(self, argument: str) -> None:
        self._forbid_while_answering()
        self._chat.talk.clear()
        self._chat.screen.notice("— a new conversation —")

    async def stop(self, argument: str) -> None:
        stream = self._chat.answering or self._chat.feed.on_air
        if stream is None:
            raise CommandError("nothing is being answered")
        await stream.stop()

    async def retry(self, argument: str) -> None:
        self._forbid_while_answering()
        chat = self._chat
        chat.begin(lambda: chat.talk.retry(chat.manner))

    async def save(self, argument: str) -> None:
        if not argument:
            raise CommandError("save where? /save FILE")
        path = await asyncio.to_thread(_write_new, argument, await self._chat.talk.markdown())
        self._chat.screen.notice(f"saved to {path}")

    async def room(self, argument: str) -> None:
        chat = self._chat
        if argument:
            await chat.enter_room(argument)
            chat.screen.notice("What you type is said to all; begin with ? to ask the model.")
            return
        rooms = (await chat.client.list_rooms()).rooms
        if not rooms:
            raise CommandError("there are no rooms; /room NAME makes one")
        chat.screen.rows([(room.room_id, f"{room.participants} people") for room in rooms])

    async def ask(self, argument: str) -> None:
        if not argument:
            raise CommandError("ask what?")
        if self._chat.room is None:
            self._chat.ask(argument)
        else:
            self._chat.room.ask(argument, self._chat.model, self._chat.options)

    async def leave(self, argument: str) -> None:
        if self._chat.room is None:
            raise CommandError("this is no room; /quit leaves the program")
        await self._chat.leave_room()

    async def stats(self, argument: str) -> None:
        self._chat.screen.rows(self._chat.asking.stats.rows())

    async def quit(self, argument: str) -> None:
        self._chat.leave()

    def _forbid_while_answering(self) -> None:
        if self._chat.answering is not None or self._chat.asking.is_busy:
            raise CommandError(BUSY)


def _write_new(path: str, text: str) -> str:
    """Write a new file; its whole path.

    Raises:
        CommandError: If it exists (a slip of the fingers overwrites nothing) or cannot be written.
    """
    full = os.path.abspath(os.path.expanduser(path))
    try:
        with open(full, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise CommandError(f"{full} exists; choose another name") from None
    except OSError as error:
        raise CommandError(f"cannot write {full}: {error.strerror}") from None
    return full
