"""The contract of stream logs, kept by the memory log and by the simulator's store."""

from __future__ import annotations

from tests.contracts.stream_log import (
    LogHere,
    LogUnderTest,
    SharedStreamLogContract,
    StreamLogContract,
)
from tests.core.streams.simulated_log import SimulatedLog
from wsserver.stores.memory.stream_log import MemoryStreamLog


class TestMemoryStreamLog(StreamLogContract):
    """The log of a single process."""

    def make(self) -> LogUnderTest:
        return LogHere(MemoryStreamLog(retention=600))


class TestSimulatedLog(SharedStreamLogContract):
    """A log that lives elsewhere, through follower and mirror."""

    def make(self) -> LogUnderTest:
        return LogHere(SimulatedLog())
