"""Reads the hand-written text files in `text/`: entries, small talk, lists, forms, word sets.

All files share one look: `#` begins a comment line, `[name]` begins a section, fields are parted
by `|`, and questions are parted from answers by `=>`.
"""

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "text"


@dataclass(frozen=True)
class Entry:
    """A hand-written dictionary entry."""

    word: str
    gloss: str
    category: str
    extra: str
    countable: bool


@dataclass(frozen=True)
class Exchange:
    """Questions that mean the same, and answers any of which will do."""

    questions: list[str]
    answers: list[str]


@dataclass(frozen=True)
class Listing:
    """A curated list: always told in this order, so that greedy decoding has one best word."""

    plural: str
    single: str
    items: list[str]


def sections(name: str) -> dict[str, list[str]]:
    """The lines of text/`name`.txt by section; lines before any section are under ""."""
    found: dict[str, list[str]] = {}
    current = ""
    for line in (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            current = line[1:-1]
        elif line and not line.startswith("#"):
            found.setdefault(current, []).append(line)
    return found


def _fields(text: str, separator: str = "|") -> list[str]:
    return [part.strip() for part in text.split(separator)]


def entries() -> list[Entry]:
    """`word | gloss | category | further sentence`; those in a section take no article."""
    found = []
    for section, lines in sections("entries").items():
        for line in lines:
            word, gloss, category, *extra = _fields(line)
            countable = section == ""
            found.append(Entry(word, gloss, category, extra[0] if extra else "", countable))
    return found


def exchanges(name: str) -> dict[str, list[Exchange]]:
    """`question | question => answer | answer` lines by section."""
    return {
        section: [
            Exchange(_fields(questions), _fields(answers))
            for questions, _, answers in (line.partition("=>") for line in lines)
        ]
        for section, lines in sections(name).items()
    }


def listings() -> list[Listing]:
    """`plural | single | item, item, ...`; items carry their own article where they need one."""
    found = []
    for line in sections("lists")[""]:
        plural, single, items = _fields(line)
        found.append(Listing(plural, single, _fields(items, ",")))
    return found


def capitals() -> dict[str, str]:
    """Country -> capital."""
    pairs = ((country, capital) for country, capital in map(_fields, sections("capitals")[""]))
    return dict(pairs)


def weighted_forms(name: str) -> dict[str, list[str]]:
    """Question forms by section; a line `6 * What is {a}?` counts six times."""
    forms: dict[str, list[str]] = {}
    for section, lines in sections(name).items():
        for line in lines:
            weight, _, form = line.partition(" * ")
            times = int(weight) if weight.isdigit() else 0
            forms.setdefault(section, []).extend([form] * times or [line])
    return forms


def word_sets() -> dict[str, frozenset[str]]:
    """Sets of words; words are parted by spaces, an underscore stands for a space in a word."""
    return {
        section: frozenset(w.replace("_", " ") for w in " ".join(lines).split())
        for section, lines in sections("words").items()
    }


SETS = word_sets()
