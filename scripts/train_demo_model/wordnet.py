"""Reads the noun part of WordNet 3.0 from its text files (format: man pages wndb and lexnames)."""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

FILES = [
    "adj.all", "adj.pert", "adv.all", "tops", "act", "animal", "artifact", "attribute", "body",
    "cognition", "communication", "event", "feeling", "food", "group", "location", "motive",
    "object", "person", "phenomenon", "plant", "possession", "process", "quantity", "relation",
    "shape", "state", "substance", "time",
]  # fmt: skip
"""Names of the lexicographer files by number: the broad class of a sense."""


@dataclass
class Sense:
    """One noun sense (a synset)."""

    offset: str
    broad: str
    words: list[str]
    gloss: str
    examples: list[str]
    pointers: dict[str, list[str]] = field(default_factory=dict)
    """Noun offsets by pointer symbol: @ kind of, @i instance of, %p has part."""


class WordNet:
    """The noun database with word counts taken from all glosses."""

    def __init__(self, folder: Path) -> None:
        self.senses = {s.offset: s for s in map(_parse_sense, _lines(folder / "data.noun"))}
        self.index: dict[str, list[str]] = {}
        for line in _lines(folder / "index.noun"):
            fields = line.split()
            self.index[fields[0]] = fields[-int(fields[2]) :]
        self.tagged: Counter[tuple[str, str, int]] = Counter()
        """How often (word, part of speech, sense number) occurs in WordNet's tagged texts."""
        self.tagged_by_part: dict[str, Counter[str]] = defaultdict(Counter)
        for line in _lines(folder / "cntlist.rev"):
            key, number, count = line.split()
            word, _, rest = key.partition("%")
            self.tagged[word, rest[0], int(number)] += int(count)
            self.tagged_by_part[word][rest[0]] += int(count)
        self.in_glosses: Counter[str] = Counter()
        """Occurrences of words and of word_pairs in the glosses of all parts of speech."""
        self.after_article: Counter[str] = Counter()
        for part in ("noun", "verb", "adj", "adv"):
            for line in _lines(folder / f"data.{part}"):
                words = re.findall(r"[a-z]+", line.partition(" | ")[2].lower())
                pairs = list(zip(words, words[1:], strict=False))
                self.in_glosses.update(words)
                self.in_glosses.update(f"{a}_{b}" for a, b in pairs)
                self.after_article.update(b for a, b in pairs if a in ("a", "an"))

    def ancestors(self, offset: str) -> list[str]:
        """Offsets of everything the sense is a kind of, nearest first."""
        found: list[str] = []
        queue = [offset]
        while queue:
            pointers = self.senses[queue.pop(0)].pointers
            for target in pointers.get("@", []) + pointers.get("@i", []):
                if target not in found:
                    found.append(target)
                    queue.append(target)
        return found


def _lines(path: Path) -> list[str]:
    """The data lines of a file; the licence at its head is indented by two spaces."""
    text = path.read_text(encoding="latin-1")
    return [line for line in text.splitlines() if line and not line.startswith("  ")]


def _parse_sense(line: str) -> Sense:
    head, _, gloss = line.partition(" | ")
    fields = head.split()
    word_count = int(fields[3], 16)
    words = [fields[4 + 2 * i] for i in range(word_count)]
    start = 4 + 2 * word_count
    pointers: dict[str, list[str]] = {}
    for i in range(int(fields[start])):
        symbol, target, part, _ = fields[start + 1 + 4 * i : start + 5 + 4 * i]
        if part == "n":
            pointers.setdefault(symbol, []).append(target)
    gloss = gloss.strip()
    examples = [e for e in re.findall(r'"([^"]+)"', gloss) if " " in e]
    definition = re.split(r';\s*"|\s*"', gloss)[0].strip().rstrip(";")
    return Sense(fields[0], FILES[int(fields[1])], words, definition, examples, pointers)
