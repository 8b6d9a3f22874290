"""``wsserver worker``: engines on this host for gateways anywhere, joined through Redis."""

from __future__ import annotations

import argparse

from wsserver.cli.parser import load_settings
from wsserver.cli.serve import serve_role
from wsserver.config import ConfigError, Fault, unbuilt


def run_worker(parsed: argparse.Namespace) -> int:
    """Be a worker until told to end: a process that keeps it alive, and the worker as its child.

    Raises:
        ConfigError: If the configuration is faulty, or names no Redis.
        CommandError: If it can't start for a reason outside of it.
    """
    loaded = load_settings(parsed)
    config = loaded.config
    faults = list(unbuilt(config, loaded.origins))
    if not config.redis.url:
        faults.append(Fault("redis.url", "a worker needs the Redis of its gateways", None))
    if faults:
        raise ConfigError(faults)
    return serve_role("worker supervisor", config)
