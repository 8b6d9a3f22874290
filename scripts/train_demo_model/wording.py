"""Nouns as they stand in a sentence: with article, in the plural, defined, told about."""

from .grammar import (
    DEFINITE,
    PLURAL_ONLY,
    capitalised,
    joined,
    plural,
    with_article,
)
from .nouns import BROAD_CATEGORIES, CATEGORIES, Noun


class Wording:
    """Nouns as they stand in a sentence."""

    def __init__(self, nouns: dict[str, Noun]) -> None:
        self.nouns = nouns

    def article(self, word: str) -> str:
        """ "a violin", "milk", "the moon"."""
        if word in DEFINITE:
            return f"the {word}"
        noun = self.nouns.get(word)
        return with_article(word) if noun is None or self.counted(noun) else word

    def counted(self, noun: Noun) -> bool:
        return noun.countable and noun.word not in PLURAL_ONLY

    def plural(self, word: str) -> str:
        noun = self.nouns.get(word)
        if word in DEFINITE:
            return f"the {word}"
        return plural(word) if noun is None or self.counted(noun) else word

    def verb(self, word: str) -> str:
        return "are" if word in PLURAL_ONLY else "is"

    def define(self, word: str) -> str:
        """ "A violin is a stringed instrument ..."."""
        sentence = f"{self.article(word)} {self.verb(word)} {self.nouns[word].gloss}."
        return capitalised(sentence)

    def kind(self, word: str) -> str:
        """ "a musical instrument": the category, or WordNet's kind where that is a known word."""
        noun = self.nouns[word]
        broad = noun.category in BROAD_CATEGORIES.values() and noun.category not in CATEGORIES
        if broad and noun.kind in self.nouns and noun.kind != word:
            return f"a kind of {noun.kind}"
        return self.category(noun.category)

    def category(self, name: str) -> str:
        return with_article(name)

    def about(self, word: str) -> list[str]:
        """Further sentences about a noun, the best first."""
        noun = self.nouns[word]
        pronoun = "They are" if word in PLURAL_ONLY else "It is"
        more = [noun.extra] if noun.extra else []
        if self.kind(word).split()[-1] not in f"{word} {noun.gloss}":
            more.append(f"{pronoun} {self.kind(word)}.")
        examples = [self.article(w) for w in noun.examples if w != word][:3]
        if len(examples) > 1:
            more.append(f"Examples are {joined(examples)}.")
        if noun.parts and self.counted(noun):
            more.append(f"It has {joined([with_article(part) for part in noun.parts])}.")
        if noun.synonym:
            other = with_article(noun.synonym) if self.counted(noun) else noun.synonym
            more.append(f"{pronoun} also called {other}.")
        if noun.usage:
            more.append(f'For example: "{capitalised(noun.usage)}."'.replace('?."', '?"'))
        return more

    def slots(self, word: str) -> dict[str, str]:
        """What the question forms put in their braces."""
        return {
            "a": self.article(word), "w": word, "W": capitalised(word), "p": self.plural(word),
            "i": self.verb(word),
        }  # fmt: skip
