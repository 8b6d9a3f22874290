"""What every room broker must do with members and the log, run on each of them.

A subclass gives `make`: an async function from bounds to another process on one store, which is
empty for each test.
"""

from __future__ import annotations

import pytest

from tests.contracts.room_samples import MakeProcess, Process, RoomClock, draft, key, origin, seat
from wsserver.core.rooms import MEMBERS_SHOWN, Position, RoomBounds
from wsserver.core.rooms.changes import Asked, Entered, Left, Logged, Ranked, Stated, Withdrawn
from wsserver_protocol.errors import ErrorCode, WireError
from wsserver_protocol.fields import Role


class RoomBrokerContract:
    """Subclass it with a `make` fixture."""

    @pytest.fixture
    def clock(self) -> RoomClock:
        """The stores' time of day."""
        return RoomClock()

    @pytest.fixture
    async def one(self, make: MakeProcess) -> Process:
        """A process."""
        return await make()

    @pytest.fixture
    async def two(self, one: Process, make: MakeProcess) -> Process:
        """Another one."""
        return await make()

    # Members -----------------------------------------------------------------------------------

    async def test_a_new_room_is_its_first_member_s(self, one: Process) -> None:
        """Who comes first owns it, who comes next is a member, and all see all."""
        first = await one.join("ada", state={"x": 1})
        assert (first.role, first.participants, first.seq) == (Role.OWNER, 1, 0)
        assert (first.recovered, first.entries, first.open_asks) == (True, (), ())
        second = await one.join("bob")
        assert (second.role, second.participants) == (Role.MEMBER, 2)
        assert second.epoch == first.epoch
        assert [m.user_id for m in second.members] == ["ada", "bob"]
        assert (second.members[0].state, second.members[0].client_ids) == ({"x": 1}, ("ada-1",))

    async def test_a_user_counts_once_in_all_processes(self, one: Process, two: Process) -> None:
        """Two tabs on two processes are one member, told of once each on coming and going."""
        await one.join("ada")
        await one.join("bob", "1")
        joined = await two.join("bob", "2")
        assert joined.participants == 2
        assert set(joined.members[1].client_ids) == {"bob-1", "bob-2"}
        assert [change.participants for change in one.heard(Entered)] == [2]
        await one.leave("bob", "1")
        assert one.heard(Left) == two.heard(Left) == []
        await two.leave("bob", "2", "timeout")
        (left,) = one.heard(Left)
        assert (left.user_id, left.participants, left.reason) == ("bob", 1, "timeout")
        assert left.client_ids == ("bob-2",)
        await two.leave("bob", "2")
        assert len(one.heard(Left)) == 1

    async def test_joining_again_tells_nobody_but_of_what_is_new(self, one: Process) -> None:
        """A seat taken twice is one seat; another state or name is told."""
        await one.join("ada")
        await one.join("ada", state={})
        assert one.told == []
        await one.join("ada", state={"away": True})
        again = await one.broker.join("r", seat("ada", "2"), rename=True)
        assert again.participants == 1
        assert [change.member.state for change in one.heard(Stated)] == [{"away": True}]

    async def test_a_seat_moves_to_the_process_it_is_taken_through(
        self, one: Process, two: Process
    ) -> None:
        """A client that comes back elsewhere is told there, and its old process no more."""
        await one.join("ada")
        await two.join("bob")
        await two.join("ada")
        before = len(one.told)
        await two.say("bob", "hello")
        assert len(one.told) == before
        assert [change.entry.text for change in two.heard(Logged)] == ["hello"]

    async def test_the_members_list_is_capped(self, one: Process) -> None:
        """A big room counts all and lists the first hundred."""
        for number in range(MEMBERS_SHOWN + 5):
            joined = await one.join(f"user{number}")
        assert joined.participants == MEMBERS_SHOWN + 5
        assert len(joined.members) == MEMBERS_SHOWN

    async def test_a_room_without_members_is_forgotten(self, one: Process) -> None:
        """Its log and roles are gone; one of its name has another epoch."""
        first = await one.join("ada")
        await one.say("ada", "gone")
        assert await one.leave("ada") == []
        second = await one.join("bob", position=Position(seq=1, epoch=first.epoch))
        assert second.epoch != first.epoch
        assert (second.role, second.seq, second.recovered) == (Role.OWNER, 0, False)

    async def test_a_room_may_be_kept(self, make: MakeProcess, clock: RoomClock) -> None:
        """With `keep_seconds` log and roles outlive the last member, until that time is over."""
        one = await make(RoomBounds(keep_seconds=60.0))
        first = await one.join("ada")
        await one.say("ada", "kept")
        await one.leave("ada")
        clock.pass_seconds(59)
        guest = await one.join("bob", position=Position(seq=0, epoch=first.epoch))
        assert (guest.role, guest.seq, guest.recovered) == (Role.MEMBER, 1, True)
        await one.leave("bob")
        assert (await one.join("ada")).role is Role.OWNER
        await one.leave("ada")
        clock.pass_seconds(61)
        await one.broker.sweep()
        assert await one.broker.rooms(key("ada"), None, 10) == ([], False)
        assert (await one.join("bob")).epoch != first.epoch

    async def test_a_kept_room_keeps_what_was_answered(self, make: MakeProcess) -> None:
        """The last member leaves meanwhile: whoever comes back finds the text so far in the log."""
        one = await make(RoomBounds(keep_seconds=60.0))
        await one.join("ada")
        await one.ask("ada", "s1")
        assert await one.leave("ada") == ["s1"]
        assert await one.answer("s1") == 2
        back = await one.join("ada")
        assert [entry.role for entry in back.entries] == ["user", "assistant"]
        assert back.open_asks == ()

    async def test_the_number_of_rooms_is_bounded(self, make: MakeProcess) -> None:
        """One too many is refused, unless it can take the place of an empty one."""
        one = await make(RoomBounds(rooms=2, keep_seconds=60.0))
        await one.join("ada", room_id="a")
        await one.join("ada", room_id="b")
        with pytest.raises(WireError) as refused:
            await one.join("ada", room_id="c")
        assert refused.value.code is ErrorCode.OVERLOADED
        await one.broker.leave("a", key("ada"), "ada-1", "left")
        await one.join("ada", room_id="c")
        rooms, _ = await one.broker.rooms(key("ada"), None, 10)
        assert [room.room_id for room in rooms] == ["b", "c"]

    async def test_ownership_is_handed_on(self, one: Process) -> None:
        """When the last owner leaves, the highest and then longest there owns the room, too."""
        for user in ("ada", "bob", "cyd", "dan"):
            await one.join(user)
        await one.set_role("cyd", Role.MODERATOR)
        one.told.clear()
        await one.leave("ada")
        assert one.kinds() == ["Left", "Ranked"]
        (ranked,) = one.heard(Ranked)
        assert (ranked.user_id, ranked.role, ranked.by) == ("cyd", Role.OWNER, "server")
        assert (await one.join("ada")).role is Role.OWNER
        one.told.clear()
        await one.leave("cyd")
        assert one.heard(Ranked) == []

    # The log -----------------------------------------------------------------------------------

    async def test_all_processes_are_told_one_order(self, one: Process, two: Process) -> None:
        """`seq` counts from 1 without a gap, and everyone hears each entry once, in order."""
        await one.join("ada")
        await two.join("bob")
        for number in range(10):
            speaker = (one, "ada") if number % 2 else (two, "bob")
            assert await speaker[0].say(speaker[1], f"m{number}") == number + 1
        logs = [[c.entry for c in process.heard(Logged)] for process in (one, two)]
        assert logs[0] == logs[1]
        assert [entry.seq for entry in logs[0]] == list(range(1, 11))
        assert logs[0][0].name == "Bob"
        origins = [change.origin for change in one.heard(Logged)]
        assert origins[0] == origin("bob")

    async def test_what_is_told_has_happened_when_the_call_returns(self, one: Process) -> None:
        """Who says something has been told of it by then."""
        await one.join("ada")
        seq = await one.say("ada", "now")
        assert [change.entry.seq for change in one.heard(Logged)] == [seq]

    async def test_joining_begins_where_telling_stands(self, one: Process, two: Process) -> None:
        """What a newcomer is given and what is told from then on join without gap or repeat."""
        await one.join("ada")
        await one.say("ada", "before")
        joined = await two.join("bob")
        await one.say("ada", "after")
        given = [entry.seq for entry in joined.entries]
        told = [change.entry.seq for change in two.heard(Logged)]
        assert (given, joined.seq, told) == ([1], 1, [2])

    async def test_data_and_text_survive(self, one: Process, two: Process) -> None:
        """Whatever script and whatever nesting, the entry is the same elsewhere and later."""
        await one.join("ada")
        said = draft("ada", "Grüße 🎻\x00")
        data = {"a": [1, 2.5, None, True], "": {"b": "ß"}}
        said = type(said)(**{f: getattr(said, f) for f in said.__struct_fields__} | {"data": data})
        entry = (await one.broker.say("r", said, origin("ada"))).entry
        joined = await two.join("bob")
        assert joined.entries == (entry,)
        assert (entry.text, entry.data) == ("Grüße 🎻\x00", data)

    async def test_a_replay_is_all_or_the_newest_page(self, make: MakeProcess) -> None:
        """From a position that is known all that came after it; else the page, and it says so."""
        one = await make(RoomBounds(entries=5))
        epoch = (await one.join("ada")).epoch
        for number in range(8):
            await one.say("ada", f"m{number}")
        cases = [
            (None, True, [4, 5, 6, 7, 8]),
            (Position(seq=6), True, [7, 8]),
            (Position(seq=3, epoch=epoch), True, [4, 5, 6, 7, 8]),
            (Position(seq=8, epoch=epoch), True, []),
            (Position(seq=2, epoch=epoch), False, [4, 5, 6, 7, 8]),
            (Position(seq=9, epoch=epoch), False, [4, 5, 6, 7, 8]),
            (Position(seq=7, epoch="other"), False, [4, 5, 6, 7, 8]),
        ]
        for position, recovered, seqs in cases:
            joined = await one.join("bob", position=position)
            assert (joined.recovered, [e.seq for e in joined.entries]) == (recovered, seqs)

    async def test_history_is_paged(self, one: Process) -> None:
        """Pages before a seq, oldest first, and whether there is more."""
        await one.join("ada")
        for number in range(7):
            await one.say("ada", f"m{number}")
        page, more = await one.broker.history("r", None, 3)
        assert ([entry.seq for entry in page], more) == ([5, 6, 7], True)
        page, more = await one.broker.history("r", 5, 10)
        assert ([entry.seq for entry in page], more) == ([1, 2, 3, 4], False)
        assert await one.broker.history("r", 1, 10) == ([], False)
        newest = await one.broker.newest("r", 5)
        assert [entry.text for entry in newest] == ["m5", "m6"]

    async def test_old_entries_go(self, make: MakeProcess, clock: RoomClock) -> None:
        """With an age bound, what is older is neither replayed nor paged."""
        one = await make(RoomBounds(entry_seconds=60.0))
        await one.join("ada")
        await one.say("ada", "old")
        clock.pass_seconds(61)
        await one.broker.sweep()
        assert await one.broker.history("r", None, 10) == ([], False)
        joined = await one.join("bob", position=Position(seq=0))
        assert (joined.seq, joined.recovered) == (1, False)

    # Asks --------------------------------------------------------------------------------------

    async def test_an_ask_is_open_until_its_answer(self, one: Process, two: Process) -> None:
        """Both are entries, and whoever joins in between sees that it is open."""
        await one.join("ada")
        await two.join("bob")
        assert await one.ask("ada", "s1") == (1, ())
        (asked,) = two.heard(Asked)
        assert asked.entry is not None
        assert (asked.ask.seq, asked.entry.text, asked.steered) == (1, "ask s1", ())
        assert (await two.join("cyd")).open_asks == (asked.ask,)
        assert await one.answer("s1") == 2
        (logged,) = two.heard(Logged)
        assert (logged.entry.role, logged.entry.stream_id) == ("assistant", "s1")
        assert (await two.join("dan")).open_asks == ()

    async def test_an_answer_is_logged_once(self, one: Process, two: Process) -> None:
        """Whoever logs it a second time is given the entry that there is, and nobody is told."""
        await one.join("ada")
        await two.join("bob")
        await one.ask("ada", "s1")
        assert [await process.answer("s1") for process in (one, two, one)] == [2, 2, 2]
        assert [len(process.heard(Logged)) for process in (one, two)] == [1, 1]
        assert await one.say("ada", "next") == 3

    async def test_an_ask_may_want_to_be_alone_or_to_make_way(self, one: Process) -> None:
        """Refused while another is open; or naming all that are to end for it."""
        await one.join("ada")
        await one.ask("ada", "s1", is_alone=True)
        with pytest.raises(WireError) as refused:
            await one.ask("ada", "s2", is_alone=True)
        assert refused.value.code is ErrorCode.OVERLOADED
        await one.ask("ada", "s3", steers=True)
        assert await one.ask("ada", "s4", steers=True) == (3, ("s1", "s3"))
        assert [c.steered for c in one.heard(Asked)] == [(), ("s1",), ("s1", "s3")]
        assert [c.ask.seq for c in one.heard(Asked)] == [1, 2, 3]

    async def test_an_ask_is_withdrawn_once(self, one: Process, two: Process) -> None:
        """Its process has died: it is closed, and nobody waits for it any more."""
        await one.join("ada")
        await two.join("bob")
        await one.ask("ada", "s1")
        await two.broker.withdraw("r", "s1")
        await one.broker.withdraw("r", "s1")
        assert [c.stream_id for c in one.heard(Withdrawn)] == ["s1"]
        assert (await two.join("cyd")).open_asks == ()

    async def test_no_answer_stands_there_without_a_question(
        self, one: Process, two: Process
    ) -> None:
        """Its process may have died before it asked."""
        await one.join("ada")
        await two.join("bob")
        assert await two.answer("s1") is None
        assert await two.answer("s1") is None
        await one.ask("ada", "s2")
        assert await two.answer("s2") == 2
        assert await one.answer("s2") == 2
        assert [c.entry.stream_id for c in one.heard(Logged)] == ["s2"]

    async def test_an_answer_is_of_the_room_that_was_asked(self, one: Process) -> None:
        """One of the same name that was made since has no question of it, and gets no answer."""
        await one.join("ada")
        await one.ask("ada", "s1")
        await one.leave("ada")
        await one.join("bob")
        assert await one.answer("s1") is None
        assert await one.say("bob", "hello") == 1

    async def test_an_asker_s_process_hears_until_the_answer(
        self, one: Process, two: Process
    ) -> None:
        """A process whose clients have left is told on, as long as an ask of its own is open."""
        await one.join("ada")
        await two.join("bob")
        await two.ask("bob", "s1")
        await two.leave("bob")
        await one.say("ada", "still told")
        assert await two.answer("s1") == 3
        await one.say("ada", "no more")
        assert [c.entry.seq for c in two.heard(Logged)] == [2, 3]

    async def test_the_last_to_leave_learns_which_answers_nobody_wants(self, one: Process) -> None:
        """Open asks of an emptied room are named once; their answers have no log any more."""
        await one.join("ada")
        await one.join("bob")
        await one.ask("bob", "s1")
        assert await one.leave("bob") == []
        assert await one.leave("ada") == ["s1"]
        assert await one.answer("s1") is None

    async def test_who_has_no_seat_changes_nothing(self, one: Process) -> None:
        """After a kick whatever was on its way is refused."""
        await one.join("ada")
        await one.join("bob")
        await one.broker.kick("r", key("bob"), reach=Role.OWNER, origin=origin("ada"))
        for call in (
            lambda: one.say("bob", "x"),
            lambda: one.ask("bob", "s1"),
            lambda: one.broker.set_state("r", key("bob"), {}, origin("bob")),
        ):
            with pytest.raises(WireError) as refused:
                await call()
            assert refused.value.code is ErrorCode.NOT_IN_ROOM
        assert one.kinds()[-1] == "Left"
