"""The command ``wsserver``: reads arguments, calls one part, turns its failures into one sentence.

This room decides exit codes (0 done, 1 failed, 2 asked wrongly, 130 interrupted) and what a person
reads on standard error. It knows nothing of how anything works. Parts are imported by the command
that needs them: ``wsserver config show`` needs no server packages, and ``--help`` stays quick.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from wsserver.cli.parser import build_parser
from wsserver.cli.report import CommandError
from wsserver.config import ConfigError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. ``argv`` is without the program's name."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(arguments)
    except ConfigError as error:
        count = len(error.faults)
        print(f"wsserver: {count} fault{'s' * (count > 1)} in the configuration:", file=sys.stderr)
        for fault in error.faults:
            print(f"  {fault}", file=sys.stderr)
        return 2
    except CommandError as error:
        print(f"wsserver: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output (head, less) has gone. Python would complain once more when it
        # flushes standard output at exit, so that is sent to nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(arguments: list[str]) -> int:
    # The terminal client has a parser of its own; argparse can't pass unknown options through.
    if arguments[:1] == ["chat"]:
        from wsserver.cli.chat import run_chat

        return run_chat(arguments[1:])
    parser = build_parser()
    parsed = parser.parse_args(arguments)
    if parsed.command == "serve":
        from wsserver.cli.serve import run_serve

        return run_serve(parsed)
    if parsed.command == "worker":
        from wsserver.cli.worker import run_worker

        return run_worker(parsed)
    from wsserver.cli.doctor import run_doctor
    from wsserver.cli.inspect import run_config, run_models, run_version
    from wsserver.cli.sessions import run_sessions

    commands = {
        "config": run_config,
        "doctor": run_doctor,
        "models": run_models,
        "sessions": run_sessions,
        "version": run_version,
    }
    return commands[parsed.command](parsed)
