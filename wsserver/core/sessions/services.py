"""All that is done with sessions, put together over one store."""

from __future__ import annotations

from wsserver.core.answers import Answers
from wsserver.core.models import ModelDirectory
from wsserver.core.sessions.conversations import Conversations
from wsserver.core.sessions.documents import Documents
from wsserver.core.sessions.elsewhere import Elsewhere
from wsserver.core.sessions.library import Library
from wsserver.core.sessions.store import SessionStore
from wsserver.core.sessions.upkeep import Upkeep


class SessionServices:
    """What the gateway asks about sessions, and the task beside it (`upkeep`)."""

    def __init__(
        self,
        store: SessionStore,
        answers: Answers,
        models: ModelDirectory,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self.conversations = Conversations(store, answers, models, elsewhere)
        self.library = Library(store, self.conversations)
        self.documents = Documents(store, self.library)
        self.upkeep = Upkeep(store)
