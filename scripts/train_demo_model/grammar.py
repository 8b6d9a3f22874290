"""Small English grammar: articles, plurals, lists. Rules for common cases, tables for the rest."""

import re

from .texts import SETS

DEFINITE = SETS["definite"]
"""Words that take "the" where others take "a"."""

PLURAL_ONLY = SETS["plural only"]
"""Words that are plural themselves: no article, and "are"."""

IRREGULAR_PLURALS = {
    "mouse": "mice", "goose": "geese", "foot": "feet", "tooth": "teeth", "sheep": "sheep",
    "fish": "fish", "deer": "deer", "ox": "oxen", "man": "men", "woman": "women",
    "child": "children", "person": "people", "salmon": "salmon", "trout": "trout",
    "potato": "potatoes", "tomato": "tomatoes", "hero": "heroes", "echo": "echoes",
    "cod": "cod", "tuna": "tuna", "bison": "bison", "moose": "moose", "shrimp": "shrimp",
    "piece of furniture": "pieces of furniture", "piece of clothing": "pieces of clothing",
    "body of water": "bodies of water", "part of the body": "parts of the body",
    "thing made by people": "things made by people", "period of time": "periods of time",
    "natural phenomenon": "natural phenomena", "quiz": "quizzes", "cactus": "cacti",
    "means of transport": "means of transport", "citrus fruit": "citrus fruits",
    "part of a computer": "parts of a computer", "aircraft": "aircraft", "spacecraft": "spacecraft",
    "swordfish": "swordfish", "goldfish": "goldfish", "squid": "squid", "series": "series",
    "policeman": "policemen", "fireman": "firemen", "snowman": "snowmen", "dwarf": "dwarfs",
}  # fmt: skip
VES = SETS["f to ves"]


def plural(noun: str) -> str:
    first, _, last = noun.rpartition(" ")
    if noun in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[noun]
    if first:
        return f"{first} {plural(last)}"
    if re.search(r"(woman|man)$", noun) and noun not in ("human", "talisman"):
        return noun[:-3] + "men"
    if noun in VES:
        return re.sub("fe?$", "ves", noun)
    if re.search(r"(s|x|z|ch|sh)$", noun):
        return noun + "es"
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    return noun + "s"


VOWEL = re.compile(r"(?i)([aeio]|u(?!ni|s[eu]|tens|r[aei]|ku))|hour|honest|heir|herb\b|LED\b|X-ray")


def with_article(noun: str) -> str:
    """ "a violin", "an hour", "a unicorn"."""
    if VOWEL.match(noun) and not re.match(r"(?i)eu|one|once|uk|ew", noun):
        return f"an {noun}"
    return f"a {noun}"


def capitalised(text: str) -> str:
    return text[0].upper() + text[1:]


def joined(items: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


_ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
]  # fmt: skip
_TENS = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def number_word(value: int) -> str:
    """0 to 100 in words."""
    if value < 20:
        return _ONES[value]
    if value == 100:
        return "one hundred"
    tens, ones = divmod(value, 10)
    return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")
