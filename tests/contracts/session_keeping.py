"""What every session store must do with lists, searches, caps, deletion and time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contracts.session_samples import ALICE, BOB, Clock, MakeStore, chain, message, session
from wsserver.core.sessions.model import Bounds, Session
from wsserver.core.sessions.store import (
    SessionNotFound,
    SessionStore,
    TooManySessions,
    TooMuchText,
)


class SessionKeepingContract:
    """Subclass it with a `make` fixture, as `SessionStoreContract`."""

    @pytest.fixture
    def clock(self) -> Clock:
        """The stores' time of day."""
        return Clock()

    @pytest.fixture
    async def store(self, make: MakeStore) -> AsyncIterator[SessionStore]:
        """An empty store without bounds."""
        yield await make(Bounds())

    async def test_empty_session_has_an_empty_history(self, store: SessionStore) -> None:
        """No message is no error."""
        await store.create(session("s"))
        assert await store.branch(ALICE, "s", limit=9) == ([], False)
        assert await store.messages(ALICE, "s", start=0, limit=9) == ([], False)
        assert await store.links(ALICE, "s") == []

    async def test_list_is_paged_last_changed_first(self, store: SessionStore) -> None:
        """Pages join without a gap or a repetition; an append moves its session to the head."""
        for number in range(5):
            await store.create(session(f"s{number}"))
        await store.append(ALICE, "s1", chain("a"), 2)
        seen: list[str] = []
        cursor = None
        for _ in range(3):
            page = await store.list_sessions(ALICE, cursor=cursor, limit=2, query=None)
            seen += [s.session_id for s in page.sessions]
            cursor = page.cursor
        assert seen == ["s1", "s4", "s3", "s2", "s0"]
        assert cursor is None
        with pytest.raises(ValueError):
            await store.list_sessions(ALICE, cursor="no number", limit=2, query=None)

    async def test_search_finds_titles_and_text(self, store: SessionStore) -> None:
        """A query is literal text, ASCII letters in any case, in titles or any branch."""
        await store.create(session("title", title="About 100% Violins"))
        await store.create(session("text"))
        await store.append(ALICE, "text", [message("a", content="a VIOLIN and a Ünicode")], 1)
        await store.create(session("none"))
        await store.create(session("foreign", BOB, title="violin"))

        async def search(query: str) -> set[str]:
            found: set[str] = set()
            cursor = None
            while True:
                page = await store.list_sessions(ALICE, cursor=cursor, limit=1, query=query)
                found |= {s.session_id for s in page.sessions}
                cursor = page.cursor
                if cursor is None:
                    return found

        assert await search("violin") == {"title", "text"}
        assert await search("100%") == {"title"}
        assert await search("Ünicode") == {"text"}
        assert await search("v_olin") == set()
        assert await search("[a-z]") == set()

    async def test_stream_leads_to_its_message(self, store: SessionStore) -> None:
        """The last stream that wrote a message is found, by its owner alone."""
        await store.create(session("s"))
        await store.append(ALICE, "s", [message("a", stream_id="str_1")], 1)
        assert await store.find_stream(ALICE, "str_1") == ("s", "a")
        assert await store.find_stream(BOB, "str_1") is None
        await store.revise(ALICE, "s", message("a", stream_id="str_2"))
        assert await store.find_stream(ALICE, "str_2") == ("s", "a")
        await store.clear(ALICE, "s", 2)
        assert await store.find_stream(ALICE, "str_2") is None

    async def test_clear_keeps_the_session(self, store: SessionStore) -> None:
        """Messages go; title and settings stay, and the session can be used again."""
        await store.create(session("s", title="t"))
        await store.append(ALICE, "s", chain("a", "b"), 1)
        await store.clear(ALICE, "s", 2000)
        cleared = await store.get(ALICE, "s")
        assert (cleared.title, cleared.message_count, cleared.size) == ("t", 0, 0)
        assert (cleared.newest, cleared.updated_at) == (None, 2000)
        assert (await store.append(ALICE, "s", chain("c"), 3)).message_count == 1

    async def test_deleted_session_leaves_nothing(self, store: SessionStore) -> None:
        """It is gone from the list, its id is free, and its bytes count no more."""
        await store.create(session("s"))
        await store.append(ALICE, "s", chain("a"), 1)
        await store.delete(ALICE, "s")
        with pytest.raises(SessionNotFound):
            await store.get(ALICE, "s")
        page = await store.list_sessions(ALICE, cursor=None, limit=5, query=None)
        assert page.sessions == []
        fresh, is_new = await store.create(session("s"))
        assert is_new
        assert fresh.message_count == 0
        assert await store.links(ALICE, "s") == []

    async def test_owner_is_deleted_with_all_sessions(self, store: SessionStore) -> None:
        """The sessions of one owner go, those of others stay."""
        await store.create(session("s1"))
        await store.create(session("s2"))
        await store.create(session("s1", BOB))
        assert await store.delete_owner(ALICE) == 2
        assert await store.delete_owner(ALICE) == 0
        assert (await store.get(BOB, "s1")).owner == BOB

    async def test_caps_on_bytes_refuse_and_change_nothing(self, make: MakeStore) -> None:
        """Past a session's or an owner's cap an append is refused whole; deletion frees."""
        store = await make(Bounds(max_session_bytes=10, max_owner_bytes=15))
        await store.create(session("s1"))
        await store.create(session("s2"))
        await store.append(ALICE, "s1", [message("a", content="12345678")], 1)
        with pytest.raises(TooMuchText) as refused:
            await store.append(ALICE, "s1", [message("b", "a", content="123")], 1)
        assert (refused.value.limit, refused.value.is_session) == (10, True)
        with pytest.raises(TooMuchText) as refused:
            await store.append(ALICE, "s2", [message("b", content="12345678")], 1)
        assert (refused.value.limit, refused.value.is_session) == (15, False)
        assert await store.links(ALICE, "s2") == []
        await store.delete(ALICE, "s1")
        await store.append(ALICE, "s2", [message("b", content="12345678")], 1)

    async def test_cap_on_sessions_refuses(self, make: MakeStore) -> None:
        """One too many is refused; opening one that is there is not, and others are not hit."""
        store = await make(Bounds(max_sessions=2))
        await store.create(session("s1"))
        await store.create(session("s2"))
        with pytest.raises(TooManySessions):
            await store.create(session("s3"))
        await store.create(session("s1"))
        await store.create(session("s3", BOB))
        await store.delete(ALICE, "s1")
        await store.create(session("s3"))

    async def test_unused_session_expires_and_use_prolongs(
        self, make: MakeStore, clock: Clock
    ) -> None:
        """Past its TTL a session is gone from every view at once; a use in time keeps it."""
        store = await make(Bounds(ttl=100.0, max_sessions=2))
        await store.create(session("used"))
        await store.create(session("idle"))
        await store.append(ALICE, "idle", [message("a", stream_id="str")], 1)
        clock.advance(60)
        await store.get(ALICE, "used")
        clock.advance(60)
        page = await store.list_sessions(ALICE, cursor=None, limit=5, query=None)
        assert [s.session_id for s in page.sessions] == ["used"]
        assert await store.find_stream(ALICE, "str") is None
        with pytest.raises(SessionNotFound):
            await store.branch(ALICE, "idle", limit=1)
        await store.create(session("third"))  # the expired one is not counted any more
        fresh, is_new = await make_room_and_create(store, "idle")
        assert is_new
        assert fresh.message_count == 0

    async def test_every_session_is_listed_for_tools(self, store: SessionStore) -> None:
        """All owners' sessions come once, least recently changed first within an owner."""
        for number in range(3):
            await store.create(session(f"s{number}"))
        await store.create(session("s0", BOB))
        await store.append(ALICE, "s0", chain("a"), 2)
        found = [(s.owner, s.session_id) async for s in store.all_sessions()]
        assert [sid for owner, sid in found if owner == ALICE] == ["s1", "s2", "s0"]
        assert [sid for owner, sid in found if owner == BOB] == ["s0"]


async def make_room_and_create(store: SessionStore, session_id: str) -> tuple[Session, bool]:
    """Create a session where a cap of two would refuse it: the other ones go first."""
    await store.delete(ALICE, "third")
    return await store.create(session(session_id))
