"""Branches, leaves and turns of a session's tree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsserver.core.engine import ChatMessage
from wsserver.core.sessions import tree
from wsserver.core.sessions.model import Link
from wsserver.core.sessions.turns import TITLE_LENGTH, title_from

FORKED = [Link("a", None), Link("b", "a"), Link("c", "b"), Link("b2", "a"), Link("d", "c")]


def test_path_leads_from_the_beginning() -> None:
    """A path holds every message before its end, once."""
    assert tree.path(FORKED, "d") == ["a", "b", "c", "d"]
    assert tree.path(FORKED, "b2") == ["a", "b2"]
    with pytest.raises(KeyError):
        tree.path(FORKED, "x")


def test_branch_of_a_message_is_its_newest_leaf() -> None:
    """Of the leaves below a message the one appended last counts."""
    assert tree.newest_leaf(FORKED, "a") == "d"
    assert tree.newest_leaf(FORKED, "b2") == "b2"
    assert tree.newest_leaf([*FORKED, Link("e", "b2")], "a") == "e"
    with pytest.raises(KeyError):
        tree.newest_leaf(FORKED, "x")


def test_siblings_share_a_parent() -> None:
    """Edits and other tries, in the order in which they were made."""
    assert tree.siblings(FORKED, "b2") == ["b", "b2"]
    assert tree.siblings(FORKED, "d") == ["d"]


@given(st.lists(st.integers(0, 20), min_size=1, max_size=30))
def test_newest_message_is_the_leaf_of_the_whole(parents: list[int]) -> None:
    """However a tree has grown, its newest message ends a branch that leads to its root."""
    links = [Link(str(n), str(parent % n) if n else None) for n, parent in enumerate(parents)]
    assert tree.out_of_order(links) is None
    newest = links[-1].message_id
    assert tree.newest_leaf(links, newest) == newest
    path = tree.path(links, newest)
    assert tree.newest_leaf(links, path[0]) == newest
    assert path[0] == "0"


def test_documents_are_checked_for_their_order() -> None:
    """Each message once, and after its parent, which may be known before."""
    assert tree.out_of_order(FORKED) is None
    assert tree.out_of_order([Link("b", "a")]) == "b"
    assert tree.out_of_order([Link("b", "a")], known=["a"]) is None
    assert tree.out_of_order([Link("a", None), Link("a", None)]) == "a"
    assert tree.out_of_order([Link("a", "b"), Link("b", "a")]) == "a"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("What is\n  a violin?", "What is a violin?"),
        ("   ", None),
        ("word " * 40, " ".join(["word"] * 12) + "…"),
        ("x" * 100, "x" * TITLE_LENGTH + "…"),
    ],
)
def test_title_is_the_first_words(text: str, title: str | None) -> None:
    """A title fits into a list, and is cut between words where there are any."""
    assert title_from((ChatMessage(role="user", content=text),)) == title
