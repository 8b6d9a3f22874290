"""Names of people, models and requests as parts of keys."""

from __future__ import annotations

import hashlib


def digest(name: str) -> str:
    """A name of any length and any letters as 32 characters.

    Never the name itself: braces in it would end a hash tag early, and who may look at the keys
    of a Redis need not learn who its users are.
    """
    return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
