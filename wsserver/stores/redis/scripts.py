"""The Lua scripts: each is one atomic step, in a file of its own, called by its hash.

``lua/<area>/<name>.lua`` is the step ``<area>/<name>``. Before its text stand ``lua/common.lua``
and, if there is one, ``lua/<area>/common.lua``: what all steps, and all of one area, share.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import NamedTuple


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
