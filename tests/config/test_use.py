"""No setting is ignored in silence."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.architecture.source import package_modules
from wsserver.config import Config, Request, load, unbuilt
from wsserver.config.keys import catalogue
from wsserver.config.unbuilt import UNBUILT

UNUSED: set[str] = set()
"""Accepted without effect."""


def keys_read() -> set[str]:
    """ "section.key" of each such attribute below the command line: ``config.server.port``,
    or ``server.port`` of a local name."""
    found = set()
    for module in package_modules():
        if module.name.startswith(("wsserver.config", "wsserver.cli")):
            continue
        for node in ast.walk(module.tree):
            match node:
                case ast.Attribute(value=ast.Attribute(attr=section) | ast.Name(id=section)):
                    found.add(f"{section}.{node.attr}")
    # The logging room is given its section under another name.
    return found | {name.replace("settings.", "log.") for name in found}


def test_every_key_is_used_or_refused() -> None:
    """A key that the server does not read must be refused at the start when somebody sets it."""
    unread = catalogue().keys() - keys_read()
    assert unread - UNBUILT.keys() == UNUSED


def test_defaults_ask_for_nothing_unbuilt() -> None:
    """A server with no settings starts."""
    assert unbuilt(Config(), {}) == ()


@pytest.mark.parametrize("path", UNBUILT)
def test_what_is_not_built_is_refused_with_its_origin(path: str) -> None:
    """Each such key, set to anything else, is a fault that names who set it."""
    values = {"redis.url": "redis://x", "auth.enabled": "true"}
    needs = ["redis.url=redis://x", "auth.api_keys=k"]  # what other keys must have beside them
    settings = [*needs, f"{path}={values.get(path, '7')}"]
    loaded = load(Request(settings=settings), {"XDG_CONFIG_HOME": "/none"}, Path("/here"))
    faults = {fault.key: str(fault) for fault in unbuilt(loaded.config, loaded.origins)}
    assert faults[path].endswith("is not built yet in this version (--set)")
