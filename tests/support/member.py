"""A member for the supervisor's tests: it serves one line, and lives and ends like a real one.

Run as ``python -m tests.support.member NAME PORT [FAULT]``. It shares the port, answers each
connection with its name and process id, says that it is ready, says what it is told, and ends by
SIGTERM or with the end of its standard input. Faults: ``broken`` never becomes ready, ``deaf``
ignores SIGTERM, ``slow`` ends by SIGINT only.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading


def main(name: str, port: int, fault: str = "") -> int:
    if fault == "broken":
        return 3
    if fault == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif fault == "slow":
        signal.signal(signal.SIGTERM, lambda *_: _say(f"{name} takes its time"))
        signal.signal(signal.SIGINT, lambda *_: _end(name))
    else:
        signal.signal(signal.SIGTERM, lambda *_: _end(name))
    threading.Thread(target=_hear, args=(name,), daemon=True).start()
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen()
        _say(f"{name} is ready")
        while True:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(f"{name} {os.getpid()}\n".encode())


def _end(name: str) -> None:
    _say(f"{name} ends")
    sys.exit(0)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _hear(name: str) -> None:
    # A signal that this thread takes would wake nobody: the one that waits for connections runs
    # the handlers.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    while told := os.read(0, 4096):
        for line in told.decode().splitlines():
            _say(f"{name} is told {line}")
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
