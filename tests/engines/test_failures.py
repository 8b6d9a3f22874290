"""What people are told of a process that failed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsserver.engines.failures import LogTail, ending, load_failure, without_host_paths

LLAMA_LOG = [
    "0.00.003.423 E gguf_init_from_file: failed to open GGUF file '/srv/models/x.gguf' (No such"
    " file or directory)",
    "0.00.003.536 E llama_model_load: error loading model: failed to load model from /srv/x.gguf",
    "Traceback (most recent call last):",
    '  File "/opt/wsserver/child.py", line 197, in load_engine',
    "RuntimeError: Failed to init server, please check the input params.",
]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("can't open /srv/models/x.gguf", "can't open x.gguf"),
        ("can't open '/srv/my models/x.gguf'", "can't open 'x.gguf'"),
        ("/a/b/c: bad", "c: bad"),
        ("at (/a/b/c.py), /d/e", "at (c.py), e"),
        ("unix:///tmp/x/y.sock", "unix://y.sock"),
        ("C:\\Users\\me\\x.gguf is bad", "x.gguf is bad"),
        ("3 and/or 4 tokens/s", "3 and/or 4 tokens/s"),
        ("jsonSchema at #/properties/a", "jsonSchema at #/properties/a"),
        ("see https://example.com/a/b.html", "see https://example.com/a/b.html"),
        ("no paths here", "no paths here"),
    ],
)
def test_paths_of_the_host_are_cut_to_their_last_part(text: str, shown: str) -> None:
    """Where a file lies is not for clients; its name is."""
    assert without_host_paths(text) == shown


def test_library_tells_more_than_its_exception() -> None:
    """Of a failed load's log the C++ library's first complaint is the reason."""
    reason = load_failure(LLAMA_LOG)
    assert reason == "failed to open GGUF file 'x.gguf' (No such file or directory)"


def test_exception_is_the_reason_where_there_is_no_other() -> None:
    """A Python traceback gives its last line, without the exception's name."""
    assert load_failure(LLAMA_LOG[2:]) == ("Failed to init server, please check the input params.")


def test_log_without_a_complaint_gives_no_reason() -> None:
    """Idle words on stderr are not taken for a reason."""
    assert load_failure(["loading", "warming up"]) is None
    assert load_failure([]) is None


def test_reason_is_bounded() -> None:
    """A reason is a sentence, not a dump."""
    reason = load_failure(["error: " + "x" * 5000])
    assert reason is not None
    assert len(reason) <= 400


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, "was killed by SIGKILL"),
        (-4, "SIGILL (this processor lacks"),
        (-250, "signal 250"),
        (3, "exit code 3"),
    ],
)
def test_end_of_a_process_in_words(code: int, words: str) -> None:
    """An exit code is told as people know it."""
    assert words in ending(code)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_tail_is_the_same_however_it_comes(data: bytes, cuts: list[int]) -> None:
    """Lines come out alike whatever pieces they arrived in, and invalid bytes do no harm."""
    whole = LogTail()
    whole.feed(data)
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    cut = LogTail()
    for start, end in zip(places, places[1:], strict=False):
        cut.feed(data[start:end])
    assert cut.lines() == whole.lines()


def test_tail_is_bounded() -> None:
    """Neither many lines nor an endless one fill the memory."""
    tail = LogTail(lines=3, line_bytes=10)
    for number in range(100):
        tail.feed(f"line {number}\n".encode())
    for _ in range(100):
        tail.feed(b"x" * 50)
    assert tail.lines() == ["line 97", "line 98", "line 99", "xxxxxxxxxx"]
    assert tail.last(1) == "xxxxxxxxxx"
