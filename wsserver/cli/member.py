"""What a supervisor starts: ``python -m wsserver.cli.member gateway`` (or ``worker``).

Not for people. The configuration comes on standard input, checked already; when that pipe ends the
supervisor has, and so does this process, in order.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from wsserver.cli.report import CommandError
from wsserver.cli.serve import serve_role
from wsserver.config.handover import receive


def main(role: str) -> int:
    """Run one member. Returns the exit code."""
    config = receive(sys.stdin.buffer)
    watch = threading.Thread(target=_end_with, args=(sys.stdin.fileno(),), daemon=True)
    watch.start()
    try:
        return serve_role(role, config)
    except CommandError as error:
        print(f"wsserver: {error}", file=sys.stderr)
        return error.exit_code


def _end_with(lifeline: int) -> None:
    """Wait for the end of the pipe, and have this process end as by a signal.

    The descriptor, not the stream: an interpreter that ends waits for a stream's lock, and this
    thread would hold it for ever.
    """
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
