"""The Lua scripts: each is one atomic step, in a file of its own, called by its hash.

``lua/<area>/<name>.lua`` is the step ``<area>/<name>``. Before its text stand ``lua/common.lua``
and, if there is one, ``lua/<area>/common.lua``: what all steps, and all of one area, share.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import Enum
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple, cast

from wsserver.stores.redis.pipe import Command, Value


class _Publish(Enum):
    COMMAND = "publish"


PUBLISH: Final = _Publish.COMMAND
"""Stands last among a step's arguments for the command that rings a bell there."""

Argument = Value | _Publish


class Script(NamedTuple):
    """One step, as Redis takes it."""

    text: str
    digest: str  # by which Redis knows it


@cache
def script(name: str) -> Script:
    """The step of this name, as ``streams/append``.

    Raises:
        FileNotFoundError: If there is none.
    """
    area, _, step = name.partition("/")
    folder = files(__package__).joinpath("lua")
    parts = [folder.joinpath("common.lua").read_text("utf-8")]
    shared = folder.joinpath(area, "common.lua")
    if shared.is_file():
        parts.append(shared.read_text("utf-8"))
    parts.append(folder.joinpath(area, f"{step}.lua").read_text("utf-8"))
    text = "\n".join(parts)
    # SHA-1 is the name that Redis knows a script by, no secret.
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def command_of(
    name: str,
    keys: Sequence[str],
    args: Sequence[Argument],
    publish: str,
    *,
    as_text: bool = False,
) -> Command:
    """The command that runs a step.

    Args:
        name: Of the step.
        keys: All that it touches.
        args: With `PUBLISH` as the last one if it rings.
        publish: The command that rings here.
        as_text: For a Redis that has never seen the script: it keeps it then.
    """
    code = script(name)
    values = cast("Sequence[Value]", args)
    if args and args[-1] is PUBLISH:
        values = (*values[:-1], publish)
    if as_text:
        return ("EVAL", code.text, len(keys), *keys, *values)
    return ("EVALSHA", code.digest, len(keys), *keys, *values)
