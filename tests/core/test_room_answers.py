"""Looking for answers of a room that other processes make."""

from __future__ import annotations

from tests.support.virtual_time import pass_time, until, virtual
from wsserver.core.ask import Answer, Ask
from wsserver.core.identity import Identity
from wsserver.core.rooms import refusals
from wsserver.core.rooms.answering import LOOKS, RoomAnswers
from wsserver.core.streams import StreamRecord
from wsserver_protocol.options import GenerationOptions


class Elsewhere:
    """Another process, whose answer can be found from some moment on."""

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.is_away = False
        self.looks = 0

    async def fetch(self, stream_id: str) -> Answer | None:
        self.looks += 1
        if self.is_away:
            raise refusals.store_away()
        return self.answer

    def answers(self) -> RoomAnswers:
        return RoomAnswers(
            find=lambda stream_id: None,
            stop=lambda answer, reason, by: None,
            fetch=self.fetch,
        )


def made() -> Answer:
    ask = Ask(owner=Identity.anonymous("cli_1", ""), client_id="cli_1", options=GenerationOptions())
    return Answer(StreamRecord("str_1", "m", 0.0), ask)


@virtual
async def test_an_answer_is_shown_once_it_is_found() -> None:
    """A replica of the store may have it a little later."""
    elsewhere, shown = Elsewhere(), list[Answer]()
    elsewhere.answers().when_found("str_1", shown.append, while_=lambda: True)
    await until(lambda: elsewhere.looks > 2)
    elsewhere.answer = made()
    await until(lambda: bool(shown))
    assert shown == [elsewhere.answer]


@virtual
async def test_a_store_that_is_away_does_not_end_the_looking() -> None:
    """Whoever waits for a room's answer is shown it when the store is back."""
    elsewhere, shown = Elsewhere(), list[Answer]()
    elsewhere.is_away = True
    elsewhere.answers().when_found("str_1", shown.append, while_=lambda: True)
    await pass_time(60)
    elsewhere.is_away, elsewhere.answer = False, made()
    await until(lambda: bool(shown))
    assert shown == [elsewhere.answer]


@virtual
async def test_who_wants_what_is_gone_learns_that() -> None:
    """A store may have lost it. Who does not want it any more is not told, and nobody goes on."""
    elsewhere, other, missed = Elsewhere(), Elsewhere(), list[str]()
    elsewhere.answers().when_found(
        "str_1", lambda answer: None, while_=lambda: True, missed=lambda: missed.append("wanted")
    )
    other.answers().when_found(
        "str_1",
        lambda answer: None,
        while_=lambda: other.looks < 3,
        missed=lambda: missed.append("unwanted"),
    )
    await pass_time(60)
    assert (missed, elsewhere.looks) == (["wanted"], LOOKS)
