"""What the documents say is there is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wsserver.config import Config
from wsserver.config.keys import catalogue, sections
from wsserver.config.show import toml_value

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "protocol/*.md", "scripts/*/*.md", "clients/*/*.md")
    for path in ROOT.glob(pattern)
)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_inside_the_repository_lead_somewhere(name: str) -> None:
    """Every relative link and picture of a document exists."""
    text = (ROOT / name).read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", text)
    folder = (ROOT / name).parent
    assert [target for target in targets if not (folder / target).exists()] == []


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md"])
def test_settings_named_in_documents_exist(name: str) -> None:
    """`section.key` in a document is a key of the configuration."""
    text = (ROOT / name).read_text(encoding="utf-8")
    named = re.findall(rf"`((?:{'|'.join(sections())})\.[a-z_]+)", text)
    assert [key for key in named if key not in catalogue()] == []


def test_defaults_in_the_readme_are_the_defaults() -> None:
    """The table's second column is what the code says, where it shows one value."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+\.\w+)` \| `([^`]+)`", text, re.MULTILINE)
    assert len(rows) > 5
    for path, shown in rows:
        section, name = path.split(".")
        if path == "data.dir":
            continue  # made from the environment
        default = getattr(getattr(Config(), section), name)
        whole = int(default) if isinstance(default, float) else default
        assert shown == toml_value(whole), path
