"""The engine's process: one loop that moves messages in, the engine forward, and outputs out.

Decides the order of things inside the child: **the inbox before every step, and no step while the
parent has not read the last frame**. The first makes a cancel cost at most the step under way;
the second keeps a saturated parent from drowning in deltas that it would have to read before it
sees the end of a cancelled job. It knows no model and no client.

Run as ``python -m wsserver.engines.child FD``, with a connected stream socket at FD. It ignores
SIGINT and SIGTERM (Ctrl-C reaches the whole process group, and a drain must outlive it) and ends
when the socket closes, however its parent ended.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from wsserver.core.engine import EngineJob, Failed, LoadProgress, ModelLoadError, Output
from wsserver.engines import link
from wsserver.engines.catalog import create_engine
from wsserver.engines.contract import Engine, EngineOutput, JobRefused

# Bytes the kernel may hold for the parent (Linux allows twice as many): some 1,000 deltas, a few
# milliseconds of its work.
_SEND_BUFFER: Final = 16 * 1024
_READ_SIZE: Final = 256 * 1024

# A step's outputs are sent in frames of at most so many, so that the parent's loop gets to
# breathe between them.
_OUTPUTS_PER_FRAME: Final = 2048

EXIT_LOAD_FAILED: Final = 3
EXIT_BAD_LINK: Final = 4
EXIT_ENGINE_FAULT: Final = 5


class EngineLoop:
    """Drives one engine until its socket closes or a `link.Close` comes."""

    def __init__(
        self, sock: socket.socket, engine: Engine, splitter: link.FrameSplitter, beat_seconds: float
    ) -> None:
        self._socket = sock
        self._engine = engine
        self._splitter = splitter
        self._beat_seconds = beat_seconds
        self._next_beat = time.monotonic() + beat_seconds
        self._unsent = bytearray()
        self._is_closing = False
        # select(), not epoll: epoll waits in whole milliseconds, and there are at most two files.
        self._selector = selectors.SelectSelector()
        sock.setblocking(False)
        self._is_waiting = False
        self._selector.register(sock, selectors.EVENT_READ)
        self._wake_fd = engine.wake_fd()
        if self._wake_fd is not None:
            self._selector.register(self._wake_fd, selectors.EVENT_READ)

    def run(self) -> None:
        """Serve until the end. An exception of the engine's step leaves it."""
        while not self._is_closing:
            awake = False
            for key, events in self._selector.select(self._timeout()):
                if key.fd == self._wake_fd:
                    awake = True
                elif events & selectors.EVENT_READ:
                    self._take_inbox()
            self._flush()
            self._beat()
            if not self._unsent and not self._is_closing and (awake or self._is_due()):
                self._send(self._engine.step())

    def _is_due(self) -> bool:
        due = self._engine.next_due()
        return due is not None and due <= 0

    def _timeout(self) -> float:
        until_beat = max(0.0, self._next_beat - time.monotonic())
        if self._unsent:
            return until_beat
        due = self._engine.next_due()
        return until_beat if due is None else min(max(0.0, due), until_beat)

    def _take_inbox(self) -> None:
        """Read what is there and act on it, before anything else is done."""
        try:
            data = self._socket.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._is_closing = True
            return
        for kind, body in self._splitter.feed(data):
            self._obey(link.decode_to_child(kind, body))

    def _obey(self, message: link.ToChild) -> None:
        match message:
            case link.Start(job):
                self._start(job)
            case link.Cancel(job_id):
                self._engine.cancel(job_id)
            case link.Count():
                self._engine.count(message)
            case link.Close():
                self._is_closing = True
            case link.Load():
                raise link.LinkError("a second load")

    def _start(self, job: EngineJob) -> None:
        try:
            self._engine.start(job)
        except JobRefused as refused:
            failed = refused.as_failed(job.job_id)
        except Exception:
            # A job that the engine trips over must not take the others with it; ending the child
            # would start it again with the same job.
            traceback.print_exc()
            failed = Failed(job.job_id, "internal_error", "the engine could not begin this job")
        else:
            return
        self._send([failed])

    def _send(self, outputs: Sequence[EngineOutput]) -> None:
        deltas: list[Output] = []
        for output in outputs:
            if isinstance(output, link.Counted | link.CountRefused):
                self._unsent += link.encode_control(output)
            else:
                deltas.append(output)
        for start in range(0, len(deltas), _OUTPUTS_PER_FRAME):
            self._unsent += link.encode_outputs(deltas[start : start + _OUTPUTS_PER_FRAME])
        self._flush()

    def _flush(self) -> None:
        while self._unsent:
            try:
                sent = self._socket.send(self._unsent)
            except BlockingIOError:
                break
            except ConnectionError:
                self._is_closing = True
                return
            del self._unsent[:sent]
        self._wait_for_reader(bool(self._unsent))

    def _wait_for_reader(self, is_waiting: bool) -> None:
        """Choose what wakes the loop: while the parent has not read, outputs must not."""
        if is_waiting == self._is_waiting:
            return
        self._is_waiting = is_waiting
        write = selectors.EVENT_WRITE if is_waiting else 0
        self._selector.modify(self._socket, selectors.EVENT_READ | write)
        if self._wake_fd is not None and is_waiting:
            self._selector.unregister(self._wake_fd)
        elif self._wake_fd is not None:
            self._selector.register(self._wake_fd, selectors.EVENT_READ)

    def _beat(self) -> None:
        now = time.monotonic()
        if now < self._next_beat:
            return
        self._next_beat = now + self._beat_seconds
        if self._engine.has_moved() and not self._unsent:
            self._unsent += link.encode_control(link.Beat())
            self._flush()


def receive_load(sock: socket.socket, splitter: link.FrameSplitter) -> link.Load | None:
    """The first message, waited for; None if the parent went away before it."""
    while data := sock.recv(_READ_SIZE):
        frames = splitter.feed(data)
        if frames:
            # Nothing can follow before the parent has seen `Loaded`.
            message = link.decode_to_child(*frames[0])
            if not isinstance(message, link.Load) or len(frames) > 1:
                raise link.LinkError("the first message is not a load")
            return message
    return None


def load_engine(sock: socket.socket, order: link.Load) -> Engine | None:
    """Make the engine and load the model, telling the parent how it goes; None if it failed."""

    def report(progress: LoadProgress) -> None:
        sock.sendall(link.encode_control(link.Loading(progress)))

    try:
        engine = create_engine(order.spec.engine)
        info = engine.load(order.spec, report)
    except ModelLoadError as error:
        sock.sendall(link.encode_control(link.LoadFailed(str(error))))
        return None
    except Exception:
        # The parent reads the reason from stderr, after all that C++ code wrote there.
        traceback.print_exc()
        sock.sendall(link.encode_control(link.LoadFailed(None)))
        return None
    sock.sendall(link.encode_control(link.Loaded(info)))
    return engine


def serve(sock: socket.socket) -> int:
    """The whole life of the child; returns its exit code."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    splitter = link.FrameSplitter()
    try:
        sock.sendall(link.encode_control(link.Hello(link.VERSION)))
        order = receive_load(sock, splitter)
        if order is None:
            return 0
        engine = load_engine(sock, order)
    except ConnectionError:
        return 0  # the parent went away while the model loaded
    if engine is None:
        return EXIT_LOAD_FAILED
    return _run(EngineLoop(sock, engine, splitter, order.beat_seconds), engine)


def _run(loop: EngineLoop, engine: Engine) -> int:
    try:
        loop.run()
    except link.LinkError as error:
        print(error, file=sys.stderr)  # noqa: T201 - stderr is the parent's log of this child
        return EXIT_BAD_LINK
    except Exception:
        traceback.print_exc()
        return EXIT_ENGINE_FAULT
    engine.close()
    return 0


def die_with_parent(parent: int) -> None:
    """Have the kernel end this process with its parent, where it can.

    The socket's end says the same, but a load that holds the GIL or a step that hangs would not
    look at it.
    """
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        prctl: Callable[..., int] = ctypes.CDLL(None, use_errno=True).prctl
        prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the call above
        os._exit(0)


def main(arguments: Sequence[str]) -> NoReturn:
    """Entry point: ``FD PARENT_PID``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    die_with_parent(int(arguments[1]))
    # Lowest free number: select() takes none above 1023, and a parent with thousands of
    # connections hands down a high one.
    inherited = int(arguments[0])
    sock = socket.socket(fileno=os.dup(inherited))
    os.close(inherited)
    os.dup2(2, 1)  # what an engine prints belongs to the log, too
    # OpenMP's workers spin at their barriers otherwise and starve everything else on the machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    code = serve(sock)
    sys.stderr.flush()
    # Not sys.exit: an engine's C++ threads may still run, and leaving the interpreter under them
    # aborts the process.
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
