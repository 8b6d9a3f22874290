"""Ids that are never used again, and tokens that nobody can guess."""

from __future__ import annotations

import hashlib
import secrets


def new_id(prefix: str) -> str:
    """A fresh id such as ``str_9f3c…``: 96 random bits, so that it is never used twice."""
    return f"{prefix}_{secrets.token_hex(12)}"


def derived_id(prefix: str, *parts: str) -> str:
    """The id of a part of something that has one: the same whoever makes it."""
    text = "\0".join(parts).encode()
    return f"{prefix}_{hashlib.blake2b(text, digest_size=12).hexdigest()}"


def new_token() -> str:
    """A bearer secret of 192 random bits, URL-safe."""
    return secrets.token_urlsafe(24)
