"""What settings are made of: the base of all sections, and the types that several share."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

PATH = {"kind": "path"}  # expanded, and made absolute against the place that named it
SECRET = {"kind": "secret"}  # never printed
URL = {"kind": "url"}  # printed without its password

Seconds = Annotated[float, Meta(ge=0, le=31_536_000)]
Count = Annotated[int, Meta(ge=0, le=9_007_199_254_740_991)]
Positive = Annotated[int, Meta(ge=1, le=9_007_199_254_740_991)]
# Bytes, or a number with a unit; `size_bytes` reads it.
Size = (
    Annotated[int, Meta(ge=0, le=9_007_199_254_740_991)]
    | Annotated[str, Meta(pattern=r"^\d{1,15}(\.\d{1,6})? ?([KMGT]i?)?B?$")]
)
AutoSize = (
    Annotated[int, Meta(ge=0, le=9_007_199_254_740_991)]
    | Annotated[str, Meta(pattern=r"^(auto|\d{1,15}(\.\d{1,6})? ?([KMGT]i?)?B?)$")]
)


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all sections: immutable, keyword-only, unknown keys refused."""
