"""Rooms of two processes that share a Redis, alone or a cluster, against a plain model."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.redis_rooms import Fleet
from tests.support.room_history import RoomHistory
from tests.support.seats import rooms_over
from wsserver.core.ids import new_id
from wsserver.core.rooms import Rooms

EXAMPLES = 10


class HistoryOnRedis(RoomHistory):
    """Two processes on one Redis, in a room that nobody was in before."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.room_id = new_id("room")
        super().__init__()

    def begin(self) -> list[Rooms]:
        return self.runner.run(self._open())

    async def _open(self) -> list[Rooms]:
        self.fleet = Fleet(self.url)
        return [rooms_over(self.fleet.broker()), rooms_over(self.fleet.broker())]

    async def settle(self) -> None:
        await self.fleet.settle()

    def teardown(self) -> None:
        self.runner.run(self.fleet.close())
        super().teardown()


def test_all_processes_know_what_the_model_knows(redis_url: str) -> None:
    """Whatever happens in whichever order, each process is told all of it, once, in one order."""
    run_state_machine_as_test(
        lambda: HistoryOnRedis(redis_url),  # type: ignore[arg-type]  # whatever makes one will do
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
