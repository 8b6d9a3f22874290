"""The child's loop, driven through its socket with engines made for it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from wsserver.core.engine import Delta, EngineJob, Failed, ModelInfo, ModelSpec, Output
from wsserver.engines import link
from wsserver.engines.child import EngineLoop
from wsserver.engines.contract import EngineOutput, JobRefused, ProgressReport


class Flood:
    """Always has outputs; refuses or trips over some jobs; records what it was told."""

    def __init__(self, faulty: bool = False) -> None:
        self.steps = 0
        self.cancelled: list[str] = []
        self.is_closed = False
        self._is_faulty = faulty

    def load(self, spec: ModelSpec, report: ProgressReport) -> ModelInfo:
        """Not used: the loop gets a loaded engine."""
        raise AssertionError

    def start(self, job: EngineJob) -> None:
        """Refuse or trip, as the job's id says."""
        if job.job_id == "refused":
            raise JobRefused("invalid_parameters", "not this one")
        if job.job_id == "poison":
            raise ZeroDivisionError

    def cancel(self, job_id: str) -> None:
        """Remember it."""
        self.cancelled.append(job_id)

    def count(self, request: link.Count) -> None:
        """Not counted."""

    def next_due(self) -> float | None:
        """Always now."""
        return 0.0

    def wake_fd(self) -> int | None:
        """None."""
        return None

    def step(self) -> list[EngineOutput]:
        """A kilobyte."""
        if self._is_faulty:
            raise RuntimeError("the GPU fell off")
        self.steps += 1
        return [Delta("a", "x" * 1000, 1)]

    def has_moved(self) -> bool:
        """Yes."""
        return True

    def close(self) -> None:
        """Remember it."""
        self.is_closed = True


class Parent:
    """The other end of the loop's socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._splitter = link.FrameSplitter()
        self._messages: list[link.ToHost | list[Output]] = []

    def send(self, message: link.ToChild) -> None:
        """One message to the child."""
        self.socket.sendall(link.encode_control(message))

    def next_failure(self) -> Failed:
        """Read until a job has failed."""
        while True:
            for kind, body in self._splitter.feed(self.socket.recv(65536)):
                message = link.decode_to_host(kind, body)
                if isinstance(message, list) and isinstance(message[0], Failed):
                    return message[0]


@contextmanager
def looping(engine: Flood) -> Iterator[tuple[Parent, threading.Thread, list[BaseException]]]:
    """A loop in a thread of its own."""
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    faults: list[BaseException] = []

    def run() -> None:
        try:
            EngineLoop(theirs, engine, link.FrameSplitter(), beat_seconds=60).run()
        except Exception as error:
            faults.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    with ours, theirs:
        yield Parent(ours), thread, faults
        ours.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        assert not thread.is_alive()


def test_inbox_is_read_while_the_parent_reads_nothing() -> None:
    """A loop whose parent is behind makes no steps, and still hears a cancel and the close."""
    engine = Flood()
    with looping(engine) as (parent, thread, faults):
        parent.send(link.Cancel("a"))
        parent.send(link.Close())
        thread.join(10)
        assert not thread.is_alive()
        assert faults == []
        assert engine.cancelled == ["a"]
        assert engine.steps < 1000  # what the socket takes, not what the engine has


def test_refused_job_fails_with_the_engines_words() -> None:
    """A refusal at the start is the job's one output."""
    with looping(Flood()) as (parent, _, _):
        parent.send(link.Start(EngineJob(job_id="refused", raw="x")))
        assert parent.next_failure() == Failed("refused", "invalid_parameters", "not this one")


def test_job_that_the_engine_trips_over_fails_alone(capfd: pytest.CaptureFixture[str]) -> None:
    """An exception at the start fails that job, is in the log, and the loop goes on."""
    with looping(Flood()) as (parent, thread, _):
        parent.send(link.Start(EngineJob(job_id="poison", raw="x")))
        failure = parent.next_failure()
        assert (failure.job_id, failure.code) == ("poison", "internal_error")
        assert thread.is_alive()
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_exception_in_a_step_ends_the_loop() -> None:
    """After a failed step nothing of the engine can be trusted, so the loop ends with it."""
    with looping(Flood(faulty=True)) as (_, thread, faults):
        thread.join(10)
        assert [str(fault) for fault in faults] == ["the GPU fell off"]


def test_garbage_from_the_parent_ends_the_loop() -> None:
    """Bytes that are no message end the loop with a link error."""
    with looping(Flood()) as (parent, thread, faults):
        parent.socket.sendall(b"\xff" * 16)
        thread.join(10)
        assert isinstance(faults[0], link.LinkError)


def test_parent_that_closes_ends_the_loop() -> None:
    """The end of the socket is the end of the loop, in the middle of its work."""
    with looping(Flood()) as (parent, thread, faults):
        parent.socket.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        assert not thread.is_alive()
        assert faults == []
