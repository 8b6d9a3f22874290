"""Log lines: their form, what they leave out, and how often they repeat."""

from __future__ import annotations

import io
import json
import logging

from wsserver.config import Log
from wsserver.observe.logging import Repeats, log_to

LOGGER = "wsserver.test"


def lines_of(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_carry_event_and_values() -> None:
    """One JSON object a line with level, logger, time, message and extras."""
    stream = io.StringIO()
    with log_to(Log(format="json"), stream):
        logging.getLogger(LOGGER).info("model ready", extra={"model": "demo", "seconds": 1.5})
    (line,) = lines_of(stream)
    assert line["message"] == "model ready"
    assert (line["level"], line["logger"], line["model"]) == ("info", LOGGER, "demo")
    assert str(line["timestamp"]).endswith("Z")


def test_auto_writes_json_where_nobody_looks() -> None:
    """A stream that is no terminal gets JSON, text only when asked for."""
    for format, is_json in (("auto", True), ("text", False)):
        stream = io.StringIO()
        with log_to(Log(format=format), stream):  # type: ignore[arg-type]  # one of its literals
            logging.getLogger(LOGGER).info("hello")
        assert stream.getvalue().startswith("{") is is_json
        assert "hello" in stream.getvalue()


def test_words_of_users_and_secrets_are_left_out() -> None:
    """Values under private names become their length, at every level and in both forms."""
    for format in ("json", "text"):
        stream = io.StringIO()
        with log_to(Log(level="debug", format=format), stream):
            logging.getLogger(LOGGER).debug("asked", extra={"prompt": "hush", "token": "hush"})
        assert "hush" not in stream.getvalue()
        assert "<4>" in stream.getvalue()


def test_tracebacks_show_no_local_variables() -> None:
    """A text traceback has the lines of the code and not the values in them."""
    stream = io.StringIO()
    with log_to(Log(format="text"), stream):
        hushed = "words of a user".upper()
        try:
            raise ValueError(len(hushed))
        except ValueError:
            logging.getLogger(LOGGER).exception("failed")
    assert "ValueError: 15" in stream.getvalue()
    assert "WORDS" not in stream.getvalue()


def test_levels_hold_and_websockets_never_logs_payloads() -> None:
    """Below the level nothing is written; websockets' debug level stays off even at debug."""
    stream = io.StringIO()
    with log_to(Log(level="warning", format="json"), stream):
        logging.getLogger(LOGGER).info("quiet")
    assert stream.getvalue() == ""
    with log_to(Log(level="debug", format="json"), stream):
        logging.getLogger("websockets.server").debug("< TEXT 'words'")
        logging.getLogger(LOGGER).debug("loud")
    assert [line["message"] for line in lines_of(stream)] == ["loud"]


def test_logging_is_given_back() -> None:
    """After the block the root logger is as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    with log_to(Log(level="error"), io.StringIO()):
        assert root.level == logging.ERROR
    assert (root.handlers, root.level) == before


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord(LOGGER, logging.ERROR, __file__, 1, message, None, None)


def test_repeats_are_counted_and_reported_once() -> None:
    """A burst passes, the rest is counted, the next window's first record tells the count."""
    now = 0.0
    repeats = Repeats(burst=3, window=10.0, clock=lambda: now)
    assert [repeats.filter(record("lost")) for _ in range(5)] == [True, True, True, False, False]
    assert repeats.filter(record("another"))
    now = 10.0
    late = record("lost")
    assert repeats.filter(late)
    assert late.__dict__["suppressed"] == 2


def test_memory_of_repeats_is_bounded() -> None:
    """Messages that all differ pass, and do not fill the memory."""
    repeats = Repeats(burst=1, clock=lambda: 0.0)
    assert all(repeats.filter(record(f"message {n}")) for n in range(3 * Repeats.MAX_PLACES))
    assert len(repeats._places) <= Repeats.MAX_PLACES
