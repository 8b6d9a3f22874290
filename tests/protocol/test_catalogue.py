"""The catalogue is whole, and agrees with the ranges that clients go by."""

from __future__ import annotations

import pytest

from wsserver_protocol.catalogue import (
    CATALOGUE,
    CLOSE_CATALOGUE,
    CloseCode,
    ErrorCode,
    may_reconnect,
)


def test_every_error_code_is_explained() -> None:
    """The catalogue has each code once, in the order of the enumeration."""
    assert list(CATALOGUE) == list(ErrorCode)


@pytest.mark.parametrize("code", ErrorCode)
def test_an_error_has_a_meaning_and_an_http_twin(code: ErrorCode) -> None:
    """Each code has a sentence for people and a status of HTTP's error ranges."""
    info = CATALOGUE[code]
    assert info.meaning.endswith(".")
    assert 400 <= info.http_status <= 599


@pytest.mark.parametrize("code", ErrorCode)
def test_faults_of_the_request_are_not_worth_a_retry(code: ErrorCode) -> None:
    """A request that is wrong in itself stays wrong; 429 and 503 may pass."""
    info = CATALOGUE[code]
    if info.http_status in (400, 401, 403, 404, 410, 413, 422):
        assert not info.retryable
    if info.http_status in (429, 503, 504):
        assert info.retryable


def test_every_close_code_is_explained() -> None:
    """The catalogue has each close code once."""
    assert list(CLOSE_CATALOGUE) == list(CloseCode)


@pytest.mark.parametrize("code", CloseCode)
def test_the_range_of_a_close_code_says_whether_to_come_back(code: CloseCode) -> None:
    """The table and the rule that clients use never disagree."""
    assert CLOSE_CATALOGUE[code].reconnect == may_reconnect(code)


@pytest.mark.parametrize(
    ("code", "back"),
    [
        (1000, False),
        (1001, True),
        (1005, True),
        (1006, True),
        (1008, False),
        (1011, True),
        (1012, True),
        (1013, True),
        (3999, False),
        (4000, True),
        (4499, True),
        (4500, False),
        (4999, False),
        (5000, False),
    ],
)
def test_codes_of_later_versions_follow_their_range(code: int, back: bool) -> None:
    """A client knows what to do after a code that it does not know."""
    assert may_reconnect(code) is back
