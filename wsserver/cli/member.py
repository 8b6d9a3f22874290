"""What a supervisor starts: ``python -m wsserver.cli.member gateway`` (or another role).

Not for people. The configuration comes on standard input, checked already, and then who has died;
when that pipe ends the supervisor has, and so does this process, in order.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from wsserver.cli.report import CommandError
from wsserver.cli.serve import serve_role
from wsserver.config.handover import Lifeline, receive


def main(role: str) -> int:
    """Run one member. Returns the exit code."""
    pipe = sys.stdin.fileno()
    with open(pipe, "rb", buffering=0, closefd=False) as unread:
        handover = receive(unread)
    lifeline = Lifeline(handover.node, handover.dead)
    threading.Thread(target=_end_with, args=(lifeline, pipe), daemon=True).start()
    try:
        return serve_role(role, handover.config, lifeline)
    except CommandError as error:
        print(f"wsserver: {error}", file=sys.stderr)
        return error.exit_code


def _end_with(lifeline: Lifeline, pipe: int) -> None:
    """Wait for the end of the pipe, and have this process end as by a signal."""
    lifeline.hold(pipe)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
