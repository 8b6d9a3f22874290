"""Chooses the everyday nouns the model learns and makes a sentence-ready definition of each.

Familiar words are found by how often WordNet's tagged texts and its own glosses use them, with a
quota for each broad class; hand-written entries (text/entries.txt) replace or add words.
"""

import math
import re
from collections import Counter
from dataclasses import dataclass, field

from .grammar import PLURAL_ONLY, plural, with_article
from .texts import SETS, Entry, listings
from .wordnet import Sense, WordNet

CATEGORIES = {
    "musical instrument": "musical_instrument", "vehicle": "vehicle", "weapon": "weapon",
    "tool": "tool", "piece of furniture": "furniture", "piece of clothing": "clothing",
    "building": "building", "container": "container", "machine": "machine", "bird": "bird",
    "fish": "fish", "insect": "insect", "reptile": "reptile", "mammal": "mammal",
    "fruit": "edible_fruit", "vegetable": "vegetable", "drink": "beverage", "tree": "tree",
    "flower": "flower", "metal": "metallic_element", "body of water": "body_of_water",
}  # fmt: skip
"""Category name -> the noun whose first sense heads it; the first match wins."""

BROAD_CATEGORIES = {
    "animal": "animal", "food": "food", "plant": "plant", "body": "part of the body",
    "artifact": "thing made by people", "object": "natural object", "substance": "substance",
    "phenomenon": "natural phenomenon", "time": "period of time", "person": "person",
    "feeling": "feeling", "communication": "kind of communication", "event": "event",
    "group": "group", "location": "place",
}  # fmt: skip

QUOTAS = {
    "animal": 225, "food": 150, "plant": 95, "body": 75, "artifact": 672, "object": 100,
    "substance": 85, "phenomenon": 24, "time": 32, "person": 140, "feeling": 24,
    "communication": 36, "event": 18, "group": 26, "location": 15,
}  # fmt: skip
"""Most words of each broad class; the classes differ in how well their glosses read."""

BONUS = {"musical instrument": 1.5}
"""Extra familiarity of a category; any named category gets 0.5."""

CONCRETE = SETS["concrete"]
"""Categories that win over a rare first sense."""

STARTS_KEPT = SETS["starts kept"]
"""A gloss that begins with one of these needs no article."""

STARTS_REFUSED = SETS["starts refused"]
"""A gloss that begins with one of these does not read as "X is ..."."""

HEAD_ENDS = SETS["noun phrase ends"]
"""Words that end the noun phrase at the start of a gloss."""

HEADS_COUNTED = SETS["heads counted"]
"""Mass nouns that take an article as the head of a definition: "a green fruit with thin skin"."""

LONGEST_GLOSS = 125
"""Characters; longer definitions are hard to learn and dull to read."""


@dataclass
class Noun:
    """One word the model knows."""

    word: str
    gloss: str
    """What follows "A violin is"; or a whole sentence when it begins with "="."""
    category: str
    broad: str
    offset: str
    countable: bool = True
    familiarity: float = 0.0
    kind: str = ""
    parts: list[str] = field(default_factory=list)
    synonym: str = ""
    usage: str = ""
    """An example sentence with the word."""
    extra: str = ""
    """A hand-written further sentence."""
    parents: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)


class NounChooser:
    """Builds the dictionary of nouns; see `choose`."""

    def __init__(self, wordnet: WordNet, entries: list[Entry]) -> None:
        self.wordnet = wordnet
        self.entries = entries
        self.mass, self.count = SETS["mass"], SETS["countable"]
        self.dropped = SETS["dropped"]
        blocked = "|".join(sorted(SETS["blocked"]))
        self.blocked = re.compile(rf"\b({blocked})", re.IGNORECASE)
        self.heads = {name: wordnet.index[word][0] for name, word in CATEGORIES.items()}
        self.jobs = {wordnet.index[word][0] for word in SETS["people"]}
        """Heads of the persons taken: people by their work or family."""

    def choose(self) -> dict[str, Noun]:
        """All nouns by word, hand-written ones included."""
        ranked = [noun for word in self.wordnet.index if (noun := self._candidate(word))]
        ranked.sort(key=lambda noun: (-noun.familiarity, noun.word))
        used: Counter[str] = Counter()
        nouns: dict[str, Noun] = {}
        for noun in ranked:
            if used[noun.broad] < QUOTAS[noun.broad]:
                used[noun.broad] += 1
                nouns[noun.word] = noun
        for entry in self.entries:
            nouns[entry.word] = self._handwritten(entry)
        self._relate(nouns)
        return nouns

    def unknown_words(self, nouns: dict[str, Noun]) -> list[str]:
        """Other dictionary words: the model learns to say that it does not know them."""
        told = re.findall(r"[a-z]+", " ".join(" ".join(x.items) for x in listings()).lower())
        known = {word.lower() for word in nouns} | set(told)
        known |= {noun.synonym for noun in nouns.values()} | {plural(word) for word in nouns}
        return [
            word
            for word, offsets in self.wordnet.index.items()
            if re.fullmatch(r"[a-z]{4,13}", word)
            and word not in known
            and self.wordnet.in_glosses[word] >= 1
            and not re.search(r"[^su]s$", word)
            and not self.blocked.search(f"{word} {self.wordnet.senses[offsets[0]].gloss}")
            and not self.wordnet.senses[offsets[0]].pointers.get("@i")
        ]

    def _category(self, offset: str) -> str | None:
        above = self.wordnet.ancestors(offset)
        return next((name for name, head in self.heads.items() if head in above), None)

    def _sense(self, word: str, offsets: list[str]) -> Sense:
        """The first sense, unless it is rare and a later one names a concrete thing."""
        tagged, senses = self.wordnet.tagged, self.wordnet.senses
        if tagged[word, "1", 1] <= 6 and self._category(offsets[0]) is None:
            for number, offset in enumerate(offsets[1:4], start=2):
                common = tagged[word, "1", number] * 2 >= tagged[word, "1", 1] - 4
                if common and self._category(offset) in CONCRETE and self._gloss(senses[offset]):
                    return senses[offset]
        return senses[offsets[0]]

    def _candidate(self, word: str) -> Noun | None:
        name = word.replace("_", " ")
        if not re.fullmatch(r"[a-z]{3,}(_[a-z]{3,})?", word) or name in self.dropped:
            return None
        if re.search(r"[^su]s$", word) and word not in PLURAL_ONLY:
            return None
        sense = self._sense(word, self.wordnet.index[word])
        if sense.broad not in QUOTAS or sense.pointers.get("@i") or word not in sense.words:
            return None
        if sense.broad == "person" and not self.jobs & set(self.wordnet.ancestors(sense.offset)):
            return None
        by_part = self.wordnet.tagged_by_part[word]
        if (others := sum(by_part.values()) - by_part["1"]) > by_part["1"] and others > 1:
            return None
        gloss = self._gloss(sense)
        if gloss and re.search(rf"\b{name}\b", gloss):
            return None  # "a lobster is the flesh of a lobster"
        if not gloss or self.blocked.search(f"{name} {sense.gloss}"):
            return None
        category = self._category(sense.offset)
        tagged = self.wordnet.tagged[word, "1", 1]
        familiarity = 0.7 * math.log1p(tagged) + math.log1p(self.wordnet.in_glosses[word])
        familiarity += BONUS.get(category or "", 0.5 if category else 0.0)
        familiarity -= 1.0 if "_" in word else 0.0
        return self._noun(
            name, gloss, category or BROAD_CATEGORIES[sense.broad], sense, familiarity
        )

    def _noun(self, name: str, gloss: str, category: str, sense: Sense, familiarity: float) -> Noun:
        pattern = re.compile(rf"\b{name}\b")
        usage = [
            e
            for e in sense.examples
            if pattern.search(e) and 4 <= len(e.split()) <= 14 and not self.blocked.search(e)
        ]
        return Noun(
            name, gloss, category, sense.broad, sense.offset, self._countable(name), familiarity,
            usage=usage[0] if usage else "",
        )  # fmt: skip

    def _handwritten(self, entry: Entry) -> Noun:
        offsets = self.wordnet.index.get(entry.word.replace(" ", "_"))
        broad = self.wordnet.senses[offsets[0]].broad if offsets else "artifact"
        if entry.category in BROAD_CATEGORIES.values():
            broad = next(b for b, name in BROAD_CATEGORIES.items() if name == entry.category)
        offset = ""
        if offsets:
            sense = self._sense(entry.word.replace(" ", "_"), offsets)
            same = self._category(sense.offset) or BROAD_CATEGORIES.get(sense.broad)
            offset = sense.offset if same == entry.category else ""
        return Noun(
            entry.word, entry.gloss, entry.category, broad, offset,
            entry.countable, 9.0, extra=entry.extra,
        )  # fmt: skip

    def _gloss(self, sense: Sense) -> str | None:
        """The definition as it follows "is", or None if it does not read well."""
        text = re.sub(r"\s*\([^)]*\)", "", sense.gloss).split(";")[0].split(":")[0]
        text = re.sub(r"\s+", " ", text).strip(" ,.")
        words = text.split()
        if len(words) < 3 or len(text) > LONGEST_GLOSS or re.search(r'["`]', text):
            return None
        if words[0].lower() in STARTS_KEPT:
            return text
        if words[0].lower() in STARTS_REFUSED:
            return None
        if any(re.search(r"[^suin]s$", w.strip(",")) for w in self._noun_phrase(words)):
            return None
        end = next((i for i, w in enumerate(words) if w.strip(",") in HEAD_ENDS), len(words))
        if end == 0:
            return None
        head = words[end - 1].strip(",")
        counted = head in HEADS_COUNTED or (head not in self.mass and self._countable(head))
        if re.search(r"[^su]s$", head) or not counted:
            return text
        return with_article(text)

    @staticmethod
    def _noun_phrase(words: list[str]) -> list[str]:
        """The words before the first preposition or clause; a plural there spoils "A X is"."""
        ends = HEAD_ENDS - {"or", "and"}
        stop = next((i for i, word in enumerate(words) if word.strip(",") in ends), len(words))
        return words[:stop]

    def _countable(self, noun: str) -> bool:
        """Guessed from the glosses: how much of a word's use is "a X" or its plural."""
        head = noun.split()[-1]
        if head in self.mass or head in self.count:
            return head not in self.mass
        offsets = self.wordnet.index.get(head)
        masslike = ("food", "substance", "phenomenon", "feeling")
        if not offsets or self.wordnet.senses[offsets[0]].broad not in masslike:
            return True
        uses = self.wordnet.in_glosses[head]
        if uses < 8:
            return head.endswith(("fish", "bird", "bug", "er", "tree"))
        counted = self.wordnet.after_article[head] + self.wordnet.in_glosses[plural(head)]
        return counted >= 0.12 * uses

    def _relate(self, nouns: dict[str, Noun]) -> None:
        """Fills in kinds, parts, synonyms and examples from WordNet's pointers."""
        senses, uses = self.wordnet.senses, self.wordnet.in_glosses
        by_offset: dict[str, str] = {}
        for noun in nouns.values():
            by_offset.setdefault(noun.offset, noun.word)
        for noun in nouns.values():
            if not noun.offset:
                continue
            sense = senses[noun.offset]
            above = [by_offset[o] for o in self.wordnet.ancestors(noun.offset) if o in by_offset]
            noun.parents = [word for word in above if word != noun.word][:3]
            if kinds := sense.pointers.get("@"):
                first = senses[kinds[0]].words[0]
                noun.kind = first.replace("_", " ") if first.islower() else ""
            parts = [senses[o].words[0].replace("_", " ") for o in sense.pointers.get("%p", [])]
            noun.parts = [
                part for part in parts
                if part in nouns and part not in (noun.word, "saddle", "flag", "side", "flesh")
                and uses[part.lower()] >= 5
            ][:3]  # fmt: skip
            others = [w for w in sense.words if w.replace("_", " ") != noun.word and w.islower()]
            common = [w.replace("_", " ") for w in others if uses[w] >= 4]
            clean = [w for w in common if not self.blocked.search(w)]
            noun.synonym = clean[0] if clean and noun.familiarity < 9 else ""
        for noun in nouns.values():
            for parent in noun.parents:
                nouns[parent].examples.append(noun.word)
        for noun in nouns.values():
            noun.examples.sort(key=lambda word: -nouns[word].familiarity)
