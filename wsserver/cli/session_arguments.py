"""The arguments of ``wsserver sessions``, with their help."""

from __future__ import annotations

import argparse

EPILOG = """\
The store is that of the server with the same flags and files: SQLite in --data-dir, or Redis at
sessions.redis_url. A server may be running meanwhile. Sessions of anonymous clients, which end
with their client, are left out.

examples:
  wsserver sessions export --output sessions.jsonl       every session, a line each
  wsserver sessions export --user ann > ann.jsonl        those of one user
  wsserver sessions import sessions.jsonl                what is there already is skipped
  wsserver sessions purge --older-than 90                those unchanged for 90 days
  wsserver sessions migrate --to redis://localhost:6379  copy them all to Redis
"""


def add_sessions(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    settings: argparse.ArgumentParser,
) -> None:
    """Add the command to the parser of all commands."""
    sessions = commands.add_parser(
        "sessions",
        help="export, import, purge or move the kept histories",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = sessions.add_subparsers(dest="action", required=True, metavar="ACTION")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(
            name, help=text, description=text, parents=[settings], allow_abbrev=False
        )

    export = add("export", "Write sessions as JSON, a line each.")
    export.add_argument("--output", metavar="FILE", help="file to write (default: standard output)")
    export.add_argument("--user", metavar="NAME", help="only this user's")
    bring = add("import", "Add sessions from such a file.")
    bring.add_argument("file", metavar="FILE", help="file to read, - for standard input")
    purge = add("purge", "Delete sessions for good; at least one condition must be given.")
    purge.add_argument("--user", metavar="NAME", help="only this user's")
    purge.add_argument(
        "--older-than", metavar="DAYS", type=float, help="only those unchanged so long"
    )
    purge.add_argument("--all", action="store_true", help="every session of everyone")
    move = add("migrate", "Copy every session to another store. What is there already is skipped.")
    move.add_argument(
        "--to",
        metavar="STORE",
        required=True,
        help="a redis:// address, or a path of a SQLite file",
    )
