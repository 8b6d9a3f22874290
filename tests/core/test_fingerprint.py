"""Loads of the same files with the same settings are the same build."""

from __future__ import annotations

from pathlib import Path

from wsserver.core.engine import ModelSpec
from wsserver.core.models.fingerprint import PIECE_BYTES, fingerprint


def spec(path: Path | None, **settings: object) -> ModelSpec:
    return ModelSpec(
        id="m", engine="e", source="s", path=None if path is None else str(path), settings=settings
    )


def test_it_is_of_what_is_in_the_files_not_of_where_they_are(tmp_path: Path) -> None:
    """A copy elsewhere is the same; another byte, name of a part, length or setting is not."""
    size = 40 * PIECE_BYTES
    one, two, other = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    for folder, last in ((one, b"x"), (two, b"x"), (other, b"y")):
        folder.mkdir()
        (folder / "weights").write_bytes(bytes(size) + last)
    assert fingerprint(spec(one)) == fingerprint(spec(two))
    assert fingerprint(spec(one / "weights")) == fingerprint(spec(two / "weights"))
    assert fingerprint(spec(one)) != fingerprint(spec(other))
    assert fingerprint(spec(one)) != fingerprint(spec(one, slots=3))
    (two / "more").touch()
    assert fingerprint(spec(one)) != fingerprint(spec(two))


def test_what_is_no_file_has_none() -> None:
    """Behind an address may be another model tomorrow."""
    assert fingerprint(spec(None)) is None
