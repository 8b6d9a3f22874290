"""Tools: functions of the client's that a model may ask for, and its calls of them.

This room decides what a tool may look like. It runs none: a call is told to the client, which
runs the function and gives the result back as a message of role ``tool``. Whether a model knows
tools at all is decided where the model is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from wsserver_protocol.catalogue import FieldError
from wsserver_protocol.fields import TOOL_NAME, Id, Name

MAX_TOOLS: Final = 128
MAX_TOOL_CALLS: Final = 128
MAX_TOOLS_BYTES: Final = 256 * 1024
"""All tools of a request together, as JSON."""

ToolName = Annotated[str, Meta(min_length=1, max_length=64, pattern=TOOL_NAME)]


class ToolFunction(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A function that a model may ask for.

    Attributes:
        name: Its name: 1 to 64 letters, digits, ``_`` and ``-``.
        description: What it does and when to ask for it, for the model.
        parameters: JSON Schema of its arguments, a map of type ``object``; absent: it has none.
            At most 64 KiB as JSON.
    """

    name: ToolName
    description: Annotated[str, Meta(max_length=16_384)] | None = None
    parameters: dict[str, Any] | None = None


class Tool(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A tool that a model may ask for.

    Attributes:
        type: ``function``: there is no other kind.
        function: The function.
    """

    type: Literal["function"]
    function: ToolFunction


class NamedTool(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The one tool that the model is to ask for.

    Attributes:
        name: Name of its function.
    """

    name: ToolName


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A model's call of a tool.

    Attributes:
        id: Id of the call; the message with its result names it.
        name: Name of the function.
        arguments: The arguments, as the text of a JSON object. A model wrote it: check it.
    """

    id: Id
    name: Name
    arguments: str


ToolChoice = Literal["auto", "none", "required"] | NamedTool


def check_tools(
    tools: tuple[Tool, ...], choice: ToolChoice | None, path: str
) -> Iterator[FieldError]:
    """What is wrong among tools and the choice of them; ``path`` is that of the options."""
    names: set[str] = set()
    for index, tool in enumerate(tools):
        field = f"{path}.tools[{index}].function"
        if tool.function.name in names:
            yield FieldError(field=f"{field}.name", message="is another tool's name, too")
        names.add(tool.function.name)
        if (tool.function.parameters or {}).get("type", "object") != "object":
            message = 'must be a JSON Schema of type "object"'
            yield FieldError(field=f"{field}.parameters", message=message)
    if choice is not None and not tools:
        message = "can only be used together with tools"
        yield FieldError(field=f"{path}.toolChoice", message=message)
    elif isinstance(choice, NamedTool) and choice.name not in names:
        message = "must be the name of one of the tools"
        yield FieldError(field=f"{path}.toolChoice.name", message=message)
