"""What the documents point to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.architecture.source import ROOT

FOLDERS = (".", "docs", "protocol", "clients/*", "scripts", "scripts/*", "wsserver/demo")

PAGES = sorted(page for folder in FOLDERS for page in ROOT.glob(f"{folder}/*.md"))

LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.M | re.S)


def headings(page: Path) -> set[str]:
    """The names under which a page's headings are linked to."""
    found = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.M)
    texts = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text).strip().lower() for text in found]
    return {re.sub(r"[^\w\- ]", "", text).replace(" ", "-") for text in texts}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every link within the repository names a file that is there, and a heading of it."""
    lost = []
    for link in LINK.findall(FENCED.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (heading and heading not in headings(target)):
            lost.append(link)
    assert lost == []


def test_the_pages_are_found() -> None:
    """The readme, its neighbours and the documents are among the pages that are looked through."""
    names = {str(page.relative_to(ROOT)) for page in PAGES}
    assert {"README.md", "ARCHITECTURE.md", "docs/fleet.md", "protocol/README.md"} <= names
