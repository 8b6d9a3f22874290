"""``wsserver serve``: configuration in, exit code out, failures at the door in one sentence."""

from __future__ import annotations

import argparse
import errno
import socket
import sys

from wsserver.cli.parser import load_settings
from wsserver.cli.report import CommandError
from wsserver.config import Config, ConfigError, unbuilt
from wsserver.config.handover import Lifeline

SERVER_PACKAGES = frozenset({"jwt", "prometheus_client", "psutil", "redis", "structlog", "uvloop"})

MEMBER = (sys.executable, "-P", "-m", "wsserver.cli.member")
"""Starts a member of a supervisor; its role follows."""


def run_serve(parsed: argparse.Namespace) -> int:
    """Run the server until it is told to end.

    Raises:
        ConfigError: If the configuration is faulty, or asks for what is not built yet.
        CommandError: If the server can't start for a reason outside of it.
    """
    loaded = load_settings(parsed)
    if faults := unbuilt(loaded.config, loaded.origins):
        raise ConfigError(faults)
    config = loaded.config
    return serve_role("gateway" if config.server.processes == 1 else "supervisor", config)


def serve_role(role: str, config: Config, lifeline: Lifeline | None = None) -> int:
    """Be one of the processes of a server, until told to end. Returns the exit code.

    Args:
        role: ``supervisor``, ``worker supervisor``, or what those start: ``gateway``, ``worker``.
        config: The configuration.
        lifeline: What the supervisor of this process tells it.

    Raises:
        CommandError: If it can't start for a reason outside of it.
    """
    try:
        if "supervisor" in role:
            return _supervise(role, config)
        return _be_member(role, config, lifeline or Lifeline())
    except ModuleNotFoundError as error:
        if error.name not in SERVER_PACKAGES:
            raise
        raise CommandError(
            f"the server needs the package {error.name}, which is not installed: "
            "pip install 'wsserver[server,cpu]'"
        ) from None
    except OSError as error:
        raise _explained(error, config) from error


def _supervise(role: str, config: Config) -> int:
    # Without what its members need: it is there all the time and does next to nothing.
    from wsserver.supervisor import supervise, supervise_worker

    return (supervise if role == "supervisor" else supervise_worker)(config, MEMBER)


def _be_member(role: str, config: Config, lifeline: Lifeline) -> int:
    from wsserver.app import CannotStart, serve

    try:
        if role == "worker":
            from wsserver.app.worker import serve_worker

            return serve_worker(config, lifeline)
        return serve(config, lifeline)
    except CannotStart as error:
        raise CommandError(str(error)) from error


def _explained(error: OSError, config: Config) -> Exception:
    """A sentence for what a person can mend; any other error as it is."""
    server = config.server
    if isinstance(error, socket.gaierror):
        return CommandError(f"{server.host}: no such host (--host)", 2)
    match error.errno:
        case errno.EADDRINUSE:
            return CommandError(
                f"port {server.port} on {server.host} is in use; another server may be running "
                "(take another one with --port, or --port 0 for a free one)"
            )
        case errno.EADDRNOTAVAIL:
            return CommandError(f"{server.host} is not an address of this machine (--host)", 2)
        case errno.EACCES | errno.EPERM if error.filename is None:
            return CommandError(
                f"not allowed to listen on port {server.port} of {server.host}; ports below 1024 "
                "need rights that other ports don't (--port)"
            )
        case errno.EACCES | errno.EPERM | errno.EROFS | errno.ENOSPC | errno.ENOTDIR | errno.EEXIST:
            return CommandError(
                f"{error.filename or config.data.dir}: {error.strerror} (--data-dir)"
            )
        case _:
            return error
