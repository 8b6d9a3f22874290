"""Sizes as people write them, and how a wrong one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsserver.config import ConfigError, Request, load
from wsserver.config.sizes import size_bytes


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        (7, 7),
        ("7", 7),
        ("7B", 7),
        ("12GiB", 12 << 30),
        ("12 GiB", 12 << 30),
        ("1.5GiB", 3 << 29),
        ("500 MB", 500_000_000),
        ("2K", 2000),
        ("1TiB", 1 << 40),
    ],
)
def test_a_size_has_a_number_and_a_unit(size: int | str, wanted: int) -> None:
    """Binary and decimal units, with and without the B; a bare number is bytes."""
    assert size_bytes(size) == wanted
    given = load(Request(settings=[f"models.max_memory={size}"]), {}, Path("/here"))
    assert size_bytes(given.config.models.max_memory) == wanted


@pytest.mark.parametrize("size", ["12GiBs", "much", "-1", "1e9", "", "GiB"])
def test_what_is_no_size_is_a_fault(size: str) -> None:
    """The fault names the key and shows what a size looks like."""
    with pytest.raises(ConfigError) as caught:
        load(Request(settings=[f"models.max_memory={size}"]), {}, Path("/here"))
    (fault,) = caught.value.faults
    assert fault.key == "models.max_memory"
    assert 'a size such as "12GiB"' in str(fault)


def test_a_text_that_is_no_size_has_no_bytes() -> None:
    """Who asks for the bytes of another text has made a mistake, and hears of it."""
    with pytest.raises(ValueError, match="much"):
        size_bytes("much")
