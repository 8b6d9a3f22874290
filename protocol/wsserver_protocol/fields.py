"""Field types that many messages share, with their bounds.

This room knows no message. A bound stands here once, so that the struct, the JSON Schema made
from it and the words of an error all say the same.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

MAX_SAFE_INTEGER = 2**53 - 1
"""Largest integer (and its negative the smallest) that every client's number type holds exactly."""

MAX_ID_LENGTH = 128

# No controls, no line or paragraph separators; half a surrogate pair cannot be decoded anyway.
# Not `str.isprintable`: that refuses joined emoji, which make fine room names. The look-ahead is
# for Python, where `$` also matches before a final line feed; to ECMAScript it changes nothing.
PRINTABLE = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$(?!\n)"

TOOL_NAME = r"^[A-Za-z0-9_-]*$(?!\n)"

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH, pattern=PRINTABLE)]
"""Any id, whoever made it: 1 to 128 printable characters."""

IdOrNone = Annotated[str, Meta(max_length=MAX_ID_LENGTH, pattern=PRINTABLE)]
"""An id, or an empty text that takes away the one that was set."""

Name = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH, pattern=PRINTABLE)]
"""A name to show to people."""

Title = Annotated[str, Meta(max_length=256)]

NonEmpty = Annotated[str, Meta(min_length=1)]

Credential = Annotated[str, Meta(min_length=1, max_length=16_384)]
"""A key or token; a signed token with many claims stays far below this."""

Count = Annotated[int, Meta(ge=0, le=MAX_SAFE_INTEGER)]
"""A number of things, a position, an offset in bytes, or a time in milliseconds."""

PageSize = Annotated[int, Meta(ge=1, le=200)]
"""How many items a page holds at most; the server sends fewer where a frame would grow too big."""


class Role(StrEnum):
    """What a member may do in a room; each role may do what those after it may."""

    OWNER = "owner"
    MODERATOR = "moderator"
    MEMBER = "member"
    VIEWER = "viewer"


class Access(StrEnum):
    """Who may enter a room."""

    OPEN = "open"
    INVITED = "invited"


class Ask(StrEnum):
    """Who may ask the model in a room."""

    EVERYONE = "everyone"
    MEMBERS = "members"
    MODERATORS = "moderators"


class WhenBusy(StrEnum):
    """What happens to a question asked in a room while another is being answered."""

    QUEUE = "queue"
    REJECT = "reject"
    PARALLEL = "parallel"
    STEER = "steer"


class ModelStatus(StrEnum):
    """Where a model stands; only a ready one answers, a loading one lets requests wait."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


class ExportFormat(StrEnum):
    """How an export is written: ``json`` can be imported again, ``markdown`` is for people."""

    JSON = "json"
    MARKDOWN = "markdown"


class ChatRole(StrEnum):
    """Who speaks in a turn."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
