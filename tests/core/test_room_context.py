"""A room's log as the model is given it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wsserver.core.room_context import spoken_turns
from wsserver.core.rooms import Draft
from wsserver.stores.memory.room_state import RoomState


def logged(*said: tuple[str, str]) -> RoomState:
    """A room in which people (by name) and the model ("") have said things."""
    room = RoomState("r", 1000)
    for name, text in said:
        room.append(
            Draft(
                role="user" if name else "assistant",
                client_id="c",
                user_id=name or "m",
                name=name or "m",
                text=text,
            ),
            0,
        )
    return room


def test_people_between_two_answers_are_one_turn() -> None:
    """A line each, with names; the model's words stand alone."""
    room = logged(("Ann", "hi"), ("Bob", "ho"), ("", "hello both"), ("Ann", "so"), ("Bob", "well"))
    turns, lines = spoken_turns(room.entries)
    assert [[(m.role, m.content) for m in turn] for turn in turns] == [
        [("user", "Ann: hi\nBob: ho"), ("assistant", "hello both")]
    ]
    assert lines == ["Ann: so", "Bob: well"]


def test_what_has_no_words_and_answers_to_nobody_are_left_out() -> None:
    """Entries with data alone say nothing; a log that begins on an answer drops it."""
    room = logged(("", "to someone forgotten"), ("Ann", ""), ("Ann", "hi"), ("", ""), ("", "yes"))
    turns, lines = spoken_turns(room.entries)
    assert [[m.content for m in turn] for turn in turns] == [["Ann: hi", "yes"]]
    assert lines == []


@given(st.lists(st.tuples(st.sampled_from(["", "Ann", "Bob"]), st.sampled_from(["", "x", "y"]))))
def test_turns_always_alternate(said: list[tuple[str, str]]) -> None:
    """Whatever was said in which order, each turn is a question and its answer."""
    turns, _ = spoken_turns(logged(*said).entries)
    assert all([m.role for m in turn] == ["user", "assistant"] for turn in turns)
    assert all(m.content for turn in turns for m in turn)
