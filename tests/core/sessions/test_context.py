"""What of a history goes into a context: as much as fits, whole turns, newest first to stay."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsserver.core.engine import ChatMessage
from wsserver.core.sessions.context import Context, Room, build_context
from wsserver.core.sessions.model import Message
from wsserver_protocol.errors import ErrorCode, WireError


class Counter:
    """Counts a token per word and two per message, as a template would add; and its own calls."""

    def __init__(self, extra: int = 2) -> None:
        self.calls = 0
        self._extra = extra

    async def __call__(self, messages: Sequence[ChatMessage]) -> int:
        self.calls += 1
        return self.of(messages)

    def of(self, messages: Sequence[ChatMessage]) -> int:
        """Tokens of a conversation."""
        return sum(len(m.content.split()) + self._extra for m in messages)


def turn(number: int, words: int, answer: str | None = None) -> list[Message]:
    """A question and its answer of so many words each."""
    question = Message(
        message_id=f"q{number}",
        parent_id=f"a{number - 1}" if number else None,
        role="user",
        content=" ".join([f"q{number}"] * words),
        timestamp=0,
    )
    reply = Message(
        message_id=f"a{number}",
        parent_id=question.message_id,
        role="assistant",
        content=" ".join([f"a{number}"] * words) if answer is None else answer,
        timestamp=0,
    )
    return [question, reply]


def user(text: str) -> ChatMessage:
    """A new question."""
    return ChatMessage(role="user", content=text)


async def build(
    history: Sequence[Message], room: Room, count: Counter | None = None, **fields: str
) -> Context:
    """A context for the question "new"."""
    return await build_context(
        count or Counter(),
        room,
        system=fields.get("system"),
        history=history,
        new=[user(fields.get("new", "new"))],
    )


def test_answer_gets_at_most_a_quarter_of_the_context() -> None:
    """The room left for the answer is maxTokens, or a quarter where that is less."""
    assert Room(1000, 100).budget == 900
    assert Room(1000, 5000).budget == 750
    assert Room(1000, 100, reserved=50).budget == 850


async def test_everything_that_fits_is_counted_once() -> None:
    """The common case costs one call of the tokenizer."""
    count = Counter()
    history = turn(0, 3) + turn(1, 3)
    context = await build(history, Room(1000, 100), count, system="be brief")
    assert [m.role for m in context.messages] == ["system", *["user", "assistant"] * 2, "user"]
    assert (context.tokens, context.dropped, count.calls) == (count.of(context.messages), 0, 1)


@given(
    sizes=st.lists(st.integers(1, 60), max_size=40),
    length=st.integers(20, 2000),
    most=st.integers(1, 3000),
    extra=st.integers(0, 5),
    system=st.booleans(),
)
async def test_as_many_newest_whole_turns_as_fit(
    sizes: list[int], length: int, most: int, extra: int, system: bool
) -> None:
    """Against a plain search: the kept turns are the newest, whole, and one more would not fit."""
    count, room = Counter(extra), Room(length, most)
    history = [message for n, words in enumerate(sizes) for message in turn(n, words)]
    context = await build(history, room, count, **({"system": "be brief"} if system else {}))
    head = [ChatMessage(role="system", content="be brief")] if system else []
    spoken = [ChatMessage(role=m.role, content=m.content) for m in history]
    fitting = [
        kept
        for kept in range(len(sizes) + 1)
        if kept == 0
        or count.of([*head, *spoken[len(spoken) - 2 * kept :], user("new")]) <= room.budget
    ]
    best = max(fitting)
    wanted = [*head, *spoken[len(spoken) - 2 * best :], user("new")]
    assert list(context.messages) == wanted
    assert context.tokens == count.of(wanted)
    assert context.dropped == len(history) - 2 * best
    assert count.calls <= 8


async def test_unanswered_turns_are_left_out() -> None:
    """A question whose answer never came would make two turns of the user in a row."""
    history = turn(0, 1) + turn(1, 1, answer="") + turn(2, 1)
    context = await build(history, Room(1000, 100))
    assert [m.content for m in context.messages] == ["q0", "a0", "q2", "a2", "new"]
    assert context.dropped == 2


async def test_context_never_begins_on_an_answer() -> None:
    """A branch that begins with an answer (an import) loses that one."""
    history = [turn(0, 1)[1], *turn(1, 1)]
    context = await build(history, Room(1000, 100))
    assert [m.content for m in context.messages] == ["q1", "a1", "new"]


async def test_turns_with_tools_stay_whole() -> None:
    """What a turn holds between question and answer goes with it."""
    question, answer = turn(0, 1)
    tool = Message(message_id="t", parent_id="q0", role="tool", content="42", timestamp=0)
    context = await build([question, tool, answer], Room(1000, 100))
    assert [m.role for m in context.messages] == ["user", "tool", "assistant", "user"]


async def test_lone_turn_may_use_the_answers_room() -> None:
    """A turn that leaves room for one token is answered; beyond that it is refused in numbers."""
    count = Counter(extra=0)
    full = " ".join(["w"] * 99)
    context = await build(turn(0, 1), Room(100, 50), count, new=full)
    assert (context.tokens, context.dropped) == (99, 2)
    with pytest.raises(WireError, match="100 tokens.*holds 100") as refused:
        await build([], Room(100, 50), count, new=f"{full} w")
    assert refused.value.code is ErrorCode.CONTEXT_LENGTH_EXCEEDED
    with pytest.raises(WireError, match="beside the 5 of the answer so far"):
        await build([], Room(100, 50, reserved=5), count, new=full)
