"""Who this user is to servers that ask for no proof: the same one next week.

Such a server gives a conversation to whoever names the userId that it was begun under. So the
name is the login name, for people to read, and a random part, which nobody guesses; it is made
once and kept in a file that only this user can read.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import secrets
from collections.abc import Mapping

from wsserver_terminal.arguments import state_folder

FILE = "user"


def login_name() -> str:
    """The name that this user has on this machine."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):  # no entry for this number, as in some containers
        name = ""
    return re.sub(r"[^\w.-]", "", name)[:32] or "user"


def known_user(environment: Mapping[str, str]) -> str | None:
    """This user's id, made now if there is none yet; None if it cannot be kept."""
    path = os.path.join(state_folder(environment), FILE)
    known = _read(path)
    if known is not None:
        return known
    made = f"{login_name()}-{secrets.token_hex(8)}"
    own = f"{path}.{secrets.token_hex(4)}"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(made + "\n")
        # Of two programs that start at the same time one makes it, and it is never half there.
        with contextlib.suppress(FileExistsError):
            os.link(own, path)
        os.unlink(own)
    except OSError:
        return None
    return _read(path)


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(128).strip() or None
    except (OSError, UnicodeDecodeError):
        return None
