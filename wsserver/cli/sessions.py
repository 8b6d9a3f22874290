"""``wsserver sessions``: export, import, purge, and the move to another store."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from wsserver.cli.parser import load_settings
from wsserver.cli.report import CommandError
from wsserver.config import Config


def run_sessions(parsed: argparse.Namespace) -> int:
    """Do what was asked for, and say on standard error how many sessions that were.

    Raises:
        CommandError: If it can't be done.
    """
    config = load_settings(parsed).config
    try:
        from wsserver import archive
    except ModuleNotFoundError as error:
        raise CommandError(
            f"this needs the package {error.name}, which is not installed: "
            "pip install 'wsserver[server]'"
        ) from None
    actions: dict[str, Callable[[argparse.Namespace, Config], Awaitable[str]]] = {
        "export": _export,
        "import": _import,
        "purge": _purge,
        "migrate": _migrate,
    }
    try:
        print(asyncio.run(_wait(actions[parsed.action](parsed, config))), file=sys.stderr)
    except (archive.ArchiveError, OSError) as error:
        raise CommandError(str(error)) from error
    return 0


async def _wait(work: Awaitable[str]) -> str:
    return await work


async def _export(parsed: argparse.Namespace, config: Config) -> str:
    from wsserver import archive

    selection = archive.Selection(user=parsed.user)
    async with archive.opened(config) as store:
        with _output(parsed.output) as file:
            count = await archive.export(store, selection, file)
    return f"{_sessions(count)} exported"


async def _import(parsed: argparse.Namespace, config: Config) -> str:
    from wsserver import archive

    async with archive.opened(config) as store:
        with _input(parsed.file) as file:
            count = await archive.take_in(store, file)
    return f"{_sessions(count)} imported"


async def _purge(parsed: argparse.Namespace, config: Config) -> str:
    from wsserver import archive

    if not parsed.all and parsed.user is None and parsed.older_than is None:
        raise CommandError("say what to delete: --user, --older-than, or --all", 2)
    selection = archive.Selection(user=parsed.user, older_than_days=parsed.older_than)
    async with archive.opened(config) as store:
        count = await archive.purge(store, selection)
    return f"{_sessions(count)} deleted"


async def _migrate(parsed: argparse.Namespace, config: Config) -> str:
    from wsserver import archive

    is_redis = "://" in parsed.to
    ttl = config.sessions.redis_ttl_seconds if is_redis else config.sessions.ttl_seconds

    def told(count: int) -> None:
        print(f"{count} …", file=sys.stderr)

    async with archive.opened(config) as store:
        count = await archive.move(store, parsed.to, ttl, told)
    return f"{_sessions(count)} copied"


@contextmanager
def _output(path: str | None) -> Iterator[BinaryIO]:
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    with Path(path).open("wb") as file:
        yield file


@contextmanager
def _input(path: str) -> Iterator[BinaryIO]:
    if path == "-":
        yield sys.stdin.buffer
        return
    with Path(path).open("rb") as file:
        yield file


def _sessions(count: int) -> str:
    return f"{count} session{'s' * (count != 1)}"
