"""Log lines: text for people, JSON for collectors, and no word of what users write or read.

The other rooms use the standard ``logging`` with a short event and values in ``extra``; here the
records become lines. Three rules are kept here so that no caller has to remember them:

* What may hold a user's words or a secret is replaced by its length, whatever the level.
* A message that repeats is written a few times, then counted (`Repeats`): a thousand clients that
  vanish at once are one fact, not a thousand tracebacks.
* websockets is never put to its debug level, at which it writes the payload of frames.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, TextIO

import orjson
import structlog

from wsserver.config import Log

PRIVATE = frozenset(
    {
        *("answer", "content", "messages", "prompt", "raw", "system_prompt", "text"),
        *("api_key", "api_keys", "authorization", "password", "resume_token", "secret", "token"),
    }
)
"""Names in ``extra`` whose values are never written."""


def hide_private(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace the values of `PRIVATE` names by their length."""
    for name in PRIVATE & event.keys():
        value = event[name]
        event[name] = f"<{len(value)}>" if hasattr(value, "__len__") else "<hidden>"
    return event


class Repeats(logging.Filter):
    """Lets ``burst`` records of one place through per ``window`` seconds, and counts the others.

    A place is a logger, a level and an unformatted message. The first record of the next window
    carries ``suppressed``, the number left out before it.
    """

    MAX_PLACES = 1000  # messages should be constants; one that is not must not fill the memory

    def __init__(
        self,
        burst: int = 10,
        window: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._burst = burst
        self._window = window
        self._clock = clock
        self._places: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        place = (record.name, record.levelno, str(record.msg))
        now = self._clock()
        start, count = self._places.get(place, (now, 0))
        if now - start >= self._window:
            if count > self._burst:
                record.suppressed = count - self._burst
            start, count = now, 0
        if place not in self._places and len(self._places) >= self.MAX_PLACES:
            self._places.clear()
        self._places[place] = (start, count + 1)
        return count < self._burst


def _to_json(event: Mapping[str, Any], **_: Any) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _renderers(is_text: bool, is_terminal: bool) -> list[Any]:
    if is_text:
        # plain_traceback: the default prints local variables where rich is installed, and those
        # hold prompts.
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=is_terminal, exception_formatter=plain)]
    return [
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
        structlog.processors.JSONRenderer(serializer=_to_json),
    ]


def _formatter(settings: Log, stream: TextIO) -> logging.Formatter:
    is_terminal = stream.isatty()
    is_text = settings.format == "text" or (settings.format == "auto" and is_terminal)
    time_format = "%H:%M:%S" if is_text else "iso"
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt=time_format, utc=not is_text),
            hide_private,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_renderers(is_text, is_terminal),
        ],
    )


@contextmanager
def log_to(settings: Log, stream: TextIO | None = None) -> Iterator[None]:
    """Write log lines to ``stream`` (standard error) inside the block, as the settings say.

    The root logger is the process's; it is given back as it was, so that a test or an embedding
    program finds its own logging again.
    """
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(settings, stream))
    handler.addFilter(Repeats())
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    root, websockets = logging.getLogger(), logging.getLogger("websockets")
    before = root.handlers[:], root.level, websockets.level
    root.handlers[:] = [handler]
    root.setLevel(level)
    websockets.setLevel(max(level, logging.INFO) if level < logging.INFO else logging.WARNING)
    try:
        yield
    finally:
        handler.flush()
        root.handlers[:], root.level, websockets.level = before
