"""The arguments of ``wsserver chat``."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wsserver_client import OPTION_NAMES

DEFAULT_URL = "ws://127.0.0.1:8080"

EPILOG = """\
examples:
  wsserver chat                                   talk to the server on this machine
  wsserver chat ws://gpu-box:8080 --model big     talk to another one
  wsserver chat -m "What is a violin?"            one question, only the answer is printed
  echo "What is a violin?" | wsserver chat        the same
  wsserver chat --resume                          go on with the newest conversation
  wsserver chat --room lobby --name Ann           talk with others and the model in a room

who you are:
  A server keeps your conversations under your name. One that asks for a proof knows it from
  your key. To others you are the one of --user; without it, a name made of your login name and
  a random part, kept in the file "user" of the state folder. On such a server whoever knows your
  name can read what is kept under it.

environment:
  WSSERVER_URL        address to use where none is given
  WSSERVER_API_KEY    key for servers that ask for one
  XDG_STATE_HOME      its folder "wsserver" is the state folder (default ~/.local/state)

exit codes: 0 done, 1 failed, 2 asked wrongly, 130 interrupted.
"""


@dataclass(frozen=True)
class ChatArguments:
    """What the user asked for.

    Attributes:
        url: Address of the server.
        message: The one question to answer, None to talk.
        model, system, user_id, name, room, session: As on the command line, None where not given.
        resume: Whether to go on with the newest conversation.
        is_private: Whether the server shall keep nothing.
        api_key: From the environment, None if it is not set.
        options: Sampling options by their snake_case names.
        use_msgpack: Whether frames are MessagePack.
    """

    url: str = DEFAULT_URL
    message: str | None = None
    model: str | None = None
    system: str | None = None
    user_id: str | None = None
    name: str | None = None
    room: str | None = None
    session: str | None = None
    resume: bool = False
    is_private: bool = False
    api_key: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    use_msgpack: bool = False


class BadOption(ValueError):
    """An option that does not exist, or a value that cannot be read."""


def parse_arguments(argv: Sequence[str], environment: Mapping[str, str]) -> ChatArguments:
    """Read the command line; ends the process as argparse does where it is wrong."""
    parser = _parser()
    parsed = parser.parse_args(argv)
    url = parsed.url_option or parsed.url or environment.get("WSSERVER_URL") or DEFAULT_URL
    options = {}
    for entry in parsed.set:
        name, separator, value = entry.partition("=")
        if not separator:
            parser.error(f"--set {entry}: write it as name=value")
        try:
            options[option_name(name)] = option_value(value)
        except BadOption as error:
            parser.error(f"--set: {error}")
    return ChatArguments(
        url=full_url(url),
        message=parsed.message,
        model=parsed.model,
        system=parsed.system,
        user_id=parsed.user,
        name=parsed.name or parsed.user,
        room=parsed.room,
        session=parsed.session,
        resume=parsed.resume,
        is_private=parsed.private,
        api_key=environment.get("WSSERVER_API_KEY") or None,
        options=options,
        use_msgpack=parsed.msgpack,
    )


def full_url(url: str) -> str:
    """An address as people write it, as the client needs it."""
    for short, full in (("http://", "ws://"), ("https://", "wss://")):
        if url.startswith(short):
            return full + url.removeprefix(short)
    return url if "://" in url else f"ws://{url}"


def option_name(name: str) -> str:
    """An option's name in snake_case, whichever spelling it was given in.

    Raises:
        BadOption: If there is no such option.
    """
    by_wire_name = {wire: snake for snake, wire in OPTION_NAMES.items()}
    snake = by_wire_name.get(name.strip(), name.strip().replace("-", "_"))
    if snake not in OPTION_NAMES:
        raise BadOption(f"there is no option {name!r}; there are {', '.join(OPTION_NAMES)}")
    return snake


def option_value(text: str) -> Any:
    """A value as JSON where it is JSON, else as the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wsserver chat",
        description="Talk to a wsserver from a terminal.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("url", nargs="?", help=f"address of the server (default {DEFAULT_URL})")
    parser.add_argument("--url", dest="url_option", metavar="URL", help="the same")
    parser.add_argument("-m", "--message", metavar="TEXT", help="ask this, print the answer, leave")
    parser.add_argument("--model", metavar="ID", help="model to ask (default: the server's)")
    parser.add_argument("--system", metavar="TEXT", help="system prompt")
    parser.add_argument("--user", metavar="ID", help="who you are, where the server asks no proof")
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument("--session", metavar="ID", help="go on with this conversation")
    kept.add_argument("--resume", action="store_true", help="go on with the newest conversation")
    kept.add_argument("--private", action="store_true", help="have the server keep nothing")
    parser.add_argument("--name", metavar="NAME", help="name to show to others (default: the user)")
    parser.add_argument("--room", metavar="ROOM", help="enter this room at once")
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a sampling option, such as temperature=0.3 (repeatable)",
    )
    parser.add_argument("--msgpack", action="store_true", help=argparse.SUPPRESS)
    return parser


def state_folder(environment: Mapping[str, str]) -> str:
    """Where this user's programs keep what is worth keeping and not worth a backup."""
    if os.name == "nt":
        base = environment.get("LOCALAPPDATA") or os.path.expanduser("~")
    else:
        base = environment.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(base, "wsserver")
