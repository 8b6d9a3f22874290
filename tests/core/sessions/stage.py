"""A core with sessions, over a synthetic engine and a store that can fail, on virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from tests.core.sessions.faulty_store import FaultyStore, faulty_store
from tests.support.core import Core
from wsserver.core.ask import Answer
from wsserver.core.engine import ChatMessage
from wsserver.core.sessions.conversations import Conversations
from wsserver.core.sessions.library import Library
from wsserver.core.sessions.model import Bounds, Message, Session
from wsserver.core.sessions.store import SessionStore
from wsserver.core.sessions.turns import Wish
from wsserver_protocol.errors import ErrorCode

OWNER = "named:ada"


class Stage:
    """One session of ``ada``, made and empty."""

    core: Core
    store: FaultyStore
    real: SessionStore
    conversations: Conversations
    library: Library

    @classmethod
    async def set_up(
        cls,
        folder: Path,
        source: str = "synthetic:?tps=100&ttft_ms=10",
        bounds: Bounds | None = None,
    ) -> Stage:
        """A loaded model and an empty session ``s``."""
        stage = cls()
        stage.core = Core()
        await stage.core.ready(source)
        stage.store, stage.real = await faulty_store(folder / "sessions.db", bounds)
        store = cast(SessionStore, stage.store)
        stage.conversations = Conversations(store, stage.core.answers, stage.core.models)
        stage.library = Library(store, stage.conversations)
        await stage.real.create(
            Session(owner=OWNER, session_id="s", user_id="ada", created_at=1, updated_at=1)
        )
        return stage

    def begin(self, *words: str, options: dict[str, Any] | None = None, **wish: Any) -> Answer:
        """Ask in the session, or make another wish of it."""
        ask = replace(self.core.ask("ada", **({"max_tokens": 3} | (options or {}))), messages=None)
        answer = self.core.answers.accept(ask)
        new = tuple(ChatMessage(role="user", content=word) for word in words)
        self.conversations.begin(answer, Wish(session_id="s", new=new, **wish))
        return answer

    async def ask(self, *words: str, **wish: Any) -> Answer:
        """The same, to its end."""
        answer = self.begin(*words, **wish)
        await self.core.ended(answer)
        return answer

    async def insist(self, *words: str, **wish: Any) -> Answer:
        """The same, asked again while the store is away, as a client does."""
        while True:
            answer = await self.ask(*words, **wish)
            ending = answer.record.ending
            assert ending is not None
            if ending.code is not ErrorCode.STORE_UNAVAILABLE:
                return answer
            assert answer.is_refused
            await asyncio.sleep(1)  # virtual time

    async def kept(self) -> list[Message]:
        """What the store has of the active branch."""
        return (await self.real.branch(OWNER, "s", limit=1000)).messages

    async def all_kept(self) -> list[Message]:
        """What the store has of all branches."""
        return (await self.real.messages(OWNER, "s", start=0, limit=1000)).messages

    async def close(self) -> None:
        """Nothing may be left under way."""
        await self.conversations.close()
        await self.core.close()
        await self.real.close()


def said(messages: list[Message]) -> list[tuple[str, str, str | None]]:
    """Role, text and end of each message."""
    return [(m.role, m.content, m.finish_reason) for m in messages]
