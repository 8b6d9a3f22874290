"""What can be said of a frame that is JSON but for a value in it, which no client could be shown.

JavaScript writes half of a surrogate pair (a text cut in the midst of an emoji) as an escape that
its own parser reads, and Python writes NaN. A decoder refuses the whole frame for it. Whoever sent
that is to learn which field it was, and of which request.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from wsserver_protocol.catalogue import FieldError
from wsserver_protocol.validation import MAX_DETAILS, MAX_FREE_DEPTH, join

MAX_NAME = 128
"""Characters of a requestId, or of a type that is told back."""


class Broken(NamedTuple):
    """The fields at fault, and the request, where that can be read."""

    details: tuple[FieldError, ...]
    request_id: str | None
    request_type: str | None


def broken_fields(data: str | bytes) -> Broken | None:
    """Which fields of a map no strict decoder takes; None if the frame is at fault as a whole."""
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):  # the first one also for bytes that are no UTF-8
        return None
    if not isinstance(fields, dict):
        return None
    details = tuple(islice(_faults(fields, "", 0), MAX_DETAILS))
    if not details:
        return None
    request_id = fields.get("requestId", fields.get("request_id"))
    return Broken(details, _name(request_id), _name(fields.get("type")))


def _faults(value: Any, path: str, depth: int) -> Iterator[FieldError]:
    match value:
        case str() if not _is_whole(value):
            yield FieldError(field=path, message="must be Unicode text, not half a surrogate pair")
        case float() if not math.isfinite(value):
            yield FieldError(field=path, message="must be a finite number")
        case dict() if depth < MAX_FREE_DEPTH:
            for key, item in value.items():
                if _is_whole(key):
                    yield from _faults(item, join(path, key), depth + 1)
                else:
                    where = path or "frame"
                    yield FieldError(field=where, message="must have Unicode text as its keys")
        case list() if depth < MAX_FREE_DEPTH:
            for index, item in enumerate(value):
                yield from _faults(item, f"{path}[{index}]", depth + 1)


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name(value: object) -> str | None:
    """A requestId or type that can be told back."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME:
        return None
    return value if _is_whole(value) and value.isprintable() else None
