"""What every session store must do with sessions and messages, run on each of them.

A subclass gives `make`: an async function from bounds (and its `clock`) to an empty store.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.contracts.session_samples import ALICE, BOB, Clock, MakeStore, chain, message, session
from wsserver.core.sessions.model import Bounds, Changes, Link
from wsserver.core.sessions.store import (
    MessageNotFound,
    SessionNotFound,
    SessionStore,
    TakenUp,
)
from wsserver_protocol.lifecycle import FinishReason


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
            asked='{"system": "ü"}',
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

    async def test_who_was_replaced_writes_no_more(self, store: SessionStore) -> None:
        """A stream takes another's place as the writer of a message; what that one still writes
        is refused, and changes nothing."""
        await store.create(session("s"))
        await store.append(ALICE, "s", [message("a", stream_id="str_1"), message("q", "a")], 1)
        second = message("a", content="the second's", stream_id="str_2")
        with pytest.raises(TakenUp):
            await store.revise(ALICE, "s", second, instead_of=("str_0",))
        await store.revise(ALICE, "s", second, instead_of=("str_0", "str_1"))
        await store.revise(ALICE, "s", second, instead_of=())
        with pytest.raises(TakenUp):
            await store.revise(ALICE, "s", message("a", stream_id="str_1"), instead_of=())
        assert (await store.find(ALICE, "s", "a")).content == "the second's"
        assert await store.find_stream(ALICE, "str_1") is None
        await store.revise(ALICE, "s", message("q", stream_id="str_3"), instead_of=())
        assert await store.find_stream(ALICE, "str_3") == ("s", "q")

    async def test_what_has_ended_does_not_go_on(self, store: SessionStore) -> None:
        """What a stream writes of its message after its end, as if it ran, changes nothing; another
        stream may go on with it."""
        await store.create(session("s"))
        await store.append(ALICE, "s", [message("a", stream_id="str_1")], 1)
        ended = message("a", content="all", stream_id="str_1", finish_reason=FinishReason.STOP)
        await store.revise(ALICE, "s", ended)
        await store.revise(ALICE, "s", message("a", content="al", stream_id="str_1"))
        assert (await store.find(ALICE, "s", "a")).content == "all"
        await store.revise(ALICE, "s", message("a", content="all and more", stream_id="str_2"))
        assert (await store.find(ALICE, "s", "a")).content == "all and more"

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
