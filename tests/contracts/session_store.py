"""What every session store must do: one suite, run on each by a subclass with a `store` fixture.

A subclass gives `make`: an async function from bounds and clock to an empty store.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from wsserver.core.sessions.model import Bounds, Changes, Link, Message, Session
from wsserver.core.sessions.store import (
    MessageNotFound,
    SessionNotFound,
    SessionStore,
    TooManySessions,
    TooMuchText,
)
from wsserver_protocol.lifecycle import FinishReason

ALICE, BOB = "named:alice", "named:bob"
MakeStore = Callable[..., Awaitable[SessionStore]]


class Clock:
    """A time of day that moves when told."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1000)


def session(session_id: str, owner: str = ALICE, **fields: object) -> Session:
    """A session to create."""
    defaults = {"user_id": owner.partition(":")[2], "created_at": 1000, "updated_at": 1000}
    return Session(owner=owner, session_id=session_id, **{**defaults, **fields})  # type: ignore[arg-type]


def message(message_id: str, parent_id: str | None = None, **fields: object) -> Message:
    """A message to append."""
    defaults = {"role": "user", "content": f"text of {message_id}", "timestamp": 1000}
    return Message(message_id=message_id, parent_id=parent_id, **{**defaults, **fields})  # type: ignore[arg-type]


def chain(*ids: str) -> list[Message]:
    """Messages each of which follows the one before."""
    return [message(own, before) for own, before in zip(ids, [None, *ids], strict=False)]


class SessionStoreContract:
    """Subclass it with a `make` fixture."""

    @pytest.fixture
    def clock(self) -> Clock:
        """The stores' time of day."""
        return Clock()

    @pytest.fixture
    async def store(self, make: MakeStore) -> AsyncIterator[SessionStore]:
        """An empty store without bounds."""
        yield await make(Bounds())

    async def test_created_session_is_read_back_whole(self, store: SessionStore) -> None:
        """Every field survives, text of any script and nested metadata included."""
        made, is_new = await store.create(
            session(
                "s 1/ü",
                title="Título 🎻",
                system_prompt="Be\nbrief.",
                model="m",
                metadata={"a": [1, {"b": None}]},
            )
        )
        assert is_new
        assert made == await store.get(ALICE, "s 1/ü")
        assert (made.title, made.system_prompt, made.model) == ("Título 🎻", "Be\nbrief.", "m")
        assert made.metadata == {"a": [1, {"b": None}]}
        assert (made.message_count, made.size, made.newest) == (0, 0, None)

    async def test_create_returns_what_is_there(self, store: SessionStore) -> None:
        """A second create under the same id changes nothing and says so."""
        first, _ = await store.create(session("s", title="first"))
        assert await store.create(session("s", title="second")) == (first, False)

    async def test_sessions_of_others_do_not_exist(self, store: SessionStore) -> None:
        """Every operation answers a stranger as for an unknown id, and changes nothing."""
        await store.create(session("s"))
        await store.append(ALICE, "s", chain("a"), 2000)
        calls: list[Callable[[str, str], Awaitable[object]]] = [
            store.get,
            lambda o, s: store.update(o, s, Changes(title="x"), 1),
            lambda o, s: store.append(o, s, chain("x"), 1),
            lambda o, s: store.revise(o, s, message("a", content="x")),
            lambda o, s: store.branch(o, s, limit=5),
            lambda o, s: store.messages(o, s, start=0, limit=5),
            store.links,
            lambda o, s: store.find(o, s, "a"),
            lambda o, s: store.clear(o, s, 1),
            store.delete,
        ]
        for call in calls:
            with pytest.raises(SessionNotFound):
                await call(BOB, "s")
            with pytest.raises(SessionNotFound):
                await call(ALICE, "unknown")
        page = await store.list_sessions(BOB, cursor=None, limit=5, query=None)
        assert page.sessions == []
        branch = await store.branch(ALICE, "s", limit=5)
        assert [m.content for m in branch.messages] == ["text of a"]

    async def test_two_owners_may_use_one_id(self, store: SessionStore) -> None:
        """An id is its owner's: the same one of someone else is another session."""
        await store.create(session("s", title="hers"))
        _, is_new = await store.create(session("s", BOB, title="his"))
        assert is_new
        await store.delete(BOB, "s")
        assert (await store.get(ALICE, "s")).title == "hers"

    async def test_update_changes_what_is_given(self, store: SessionStore) -> None:
        """What is not named stays; an empty text and empty metadata remove."""
        await store.create(session("s", title="t", system_prompt="p", metadata={"a": 1}))
        changed = await store.update(ALICE, "s", Changes(title="new"), 2000)
        assert (changed.title, changed.system_prompt, changed.metadata) == ("new", "p", {"a": 1})
        assert changed.updated_at == 2000
        emptied = await store.update(ALICE, "s", Changes(system_prompt="", metadata={}), 3000)
        assert (emptied.title, emptied.system_prompt, emptied.metadata) == ("new", None, None)
        assert await store.get(ALICE, "s") == emptied

    async def test_appended_messages_are_read_back_whole(self, store: SessionStore) -> None:
        """Every field of a message survives."""
        await store.create(session("s"))
        asked = message("q", content="¿Qué?\u2028\x00 🎻", author_id="alice")
        answered = message(
            "a",
            "q",
            role="assistant",
            content="",
            model="m",
            tokens=7,
            finish_reason=FinishReason.LENGTH,
            stream_id="str_1",
            lease=99,
        )
        changed = await store.append(ALICE, "s", [asked, answered], 2000)
        assert (await store.branch(ALICE, "s", limit=9)).messages == [asked, answered]
        assert await store.find(ALICE, "s", "a") == answered
        assert (changed.message_count, changed.newest, changed.updated_at) == (2, "a", 2000)
        assert changed.size == len(asked.content.encode())

    async def test_append_is_idempotent_by_id(self, store: SessionStore) -> None:
        """The same messages sent again add nothing, also with a new one beside them."""
        await store.create(session("s"))
        await store.append(ALICE, "s", chain("a", "b"), 2000)
        await store.append(ALICE, "s", chain("a", "b"), 3000)
        again = await store.append(ALICE, "s", chain("a", "b", "c"), 4000)
        assert again.message_count == 3
        assert await store.links(ALICE, "s") == [Link("a", None), Link("b", "a"), Link("c", "b")]

    async def test_append_is_all_or_nothing(self, store: SessionStore) -> None:
        """If one message has no parent, none is added."""
        await store.create(session("s"))
        with pytest.raises(MessageNotFound, match="nowhere"):
            await store.append(ALICE, "s", [message("a"), message("b", "nowhere")], 2000)
        assert await store.links(ALICE, "s") == []
        assert (await store.get(ALICE, "s")).size == 0

    async def test_first_title_holds(self, store: SessionStore) -> None:
        """A title that comes with an append is taken only by a session without one."""
        await store.create(session("s"))
        await store.append(ALICE, "s", chain("a"), 1, title="first words")
        changed = await store.append(ALICE, "s", [message("b", "a")], 2, title="later words")
        assert changed.title == "first words"

    async def test_concurrent_appends_all_stay_in_one_order(self, store: SessionStore) -> None:
        """100 appends at once keep all 100, in one chain that all readers see alike."""
        await store.create(session("s"))
        ids = [f"m{number}" for number in range(100)]
        await asyncio.gather(
            *(store.append(ALICE, "s", [message(own)], 1, after_newest=True) for own in ids)
        )
        links, again = await asyncio.gather(store.links(ALICE, "s"), store.links(ALICE, "s"))
        assert sorted(link.message_id for link in links) == sorted(ids)
        assert links == again
        parents = [None, *(link.message_id for link in links)]
        assert [link.parent_id for link in links] == parents[:-1]
        branch = await store.branch(ALICE, "s", limit=200)
        assert [m.message_id for m in branch.messages] == [link.message_id for link in links]
        assert (await store.get(ALICE, "s")).message_count == 100

    async def test_revise_writes_a_message_anew(self, store: SessionStore) -> None:
        """Text, model, tokens, reason, stream and lease change; its place and the count do not."""
        await store.create(session("s"))
        await store.append(ALICE, "s", [*chain("a", "b"), message("c", "b")], 2000)
        revised = message(
            "b",
            "ignored",
            content="longer text",
            model="m",
            tokens=3,
            finish_reason=FinishReason.STOPPED,
            stream_id="str",
        )
        await store.revise(ALICE, "s", revised)
        found = await store.find(ALICE, "s", "b")
        assert (found.content, found.parent_id, found.tokens) == ("longer text", "a", 3)
        assert found.finish_reason is FinishReason.STOPPED
        now = await store.get(ALICE, "s")
        assert now.size == len("text of a" + "longer text" + "text of c")
        assert (now.message_count, now.newest, now.updated_at) == (3, "c", 2000)
        with pytest.raises(MessageNotFound):
            await store.revise(ALICE, "s", message("x"))

    async def test_branch_is_read_in_pages_backwards(self, store: SessionStore) -> None:
        """A page ends at the message asked for and says whether there are older ones."""
        await store.create(session("s"))
        await store.append(ALICE, "s", chain(*"abcdef"), 1)
        newest = await store.branch(ALICE, "s", limit=2)
        assert ([m.message_id for m in newest.messages], newest.has_more) == (["e", "f"], True)
        older = await store.branch(ALICE, "s", end="d", limit=4)
        assert ([m.message_id for m in older.messages], older.has_more) == (list("abcd"), False)
        with pytest.raises(MessageNotFound):
            await store.branch(ALICE, "s", end="x", limit=4)

    async def test_branch_stops_at_its_bytes(self, store: SessionStore) -> None:
        """A page takes what fits, but at least one message."""
        await store.create(session("s"))
        await store.append(ALICE, "s", chain("a", "b", "c"), 1)
        size = len("text of a")
        two = await store.branch(ALICE, "s", limit=9, max_bytes=2 * size)
        assert ([m.message_id for m in two.messages], two.has_more) == (["b", "c"], True)
        one = await store.branch(ALICE, "s", limit=9, max_bytes=1)
        assert [m.message_id for m in one.messages] == ["c"]

    async def test_newest_branch_is_the_active_one(self, store: SessionStore) -> None:
        """A sibling appended later is the leaf; the older branch is still there."""
        await store.create(session("s"))
        await store.append(ALICE, "s", chain("q", "a1"), 1)
        await store.append(ALICE, "s", [message("a2", "q")], 2)
        active = await store.branch(ALICE, "s", limit=9)
        assert [m.message_id for m in active.messages] == ["q", "a2"]
        other = await store.branch(ALICE, "s", end="a1", limit=9)
        assert [m.message_id for m in other.messages] == ["q", "a1"]

    async def test_all_branches_are_read_in_order_of_append(self, store: SessionStore) -> None:
        """An export sees every message once, each after its parent."""
        await store.create(session("s"))
        await store.append(ALICE, "s", [*chain("q", "a"), message("b", "q"), message("c", "a")], 1)
        first = await store.messages(ALICE, "s", start=0, limit=3)
        assert ([m.message_id for m in first.messages], first.has_more) == (["q", "a", "b"], True)
        rest = await store.messages(ALICE, "s", start=3, limit=3)
        assert ([m.message_id for m in rest.messages], rest.has_more) == (["c"], False)
        tight = await store.messages(ALICE, "s", start=0, limit=3, max_bytes=1)
        assert ([m.message_id for m in tight.messages], tight.has_more) == (["q"], True)

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
