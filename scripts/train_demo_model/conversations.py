"""Makes the training conversations: an endless stream of question-and-answer turns.

There is no fixed data set. Every turn is drawn anew from the nouns and the hand-written texts, so
the network sees each definition under ever new questions and earlier turns, never one text twice.
"""

import re
from dataclasses import dataclass
from random import Random

from . import texts
from .grammar import capitalised, joined, number_word, plural
from .nouns import CATEGORIES, Noun
from .stories import Storyteller
from .wording import Wording

SHARES = {
    "definition": 0.37, "about": 0.085, "kind": 0.02, "is it": 0.065, "example": 0.015,
    "list": 0.055, "talk": 0.13, "fact": 0.045, "story": 0.022, "long story": 0.012,
    "unknown": 0.08, "refusal": 0.042, "capital": 0.02, "sum": 0.033, "count": 0.006,
}  # fmt: skip
"""Share of each kind of turn."""

BARE_SHARE = 0.28
"""Of the definition turns, those that ask with hardly more than the word itself."""
FOLLOW_UP_SHARE = 0.15
FAMILIAR_SHARE = 0.3
"""Turns that draw their noun from the hand-written entries, the words people try first."""

FIRST_SHARE = 0.3
"""Of the small talk, turns that use the first question of a group, the commonest one."""
KNOWN_REFUSAL_SHARE = 0.6
"""Of the refusals, those about a noun that the model knows and so can at least define."""


@dataclass(frozen=True)
class Turn:
    question: str
    answer: str


@dataclass
class Topic:
    """What the last turns were about, for follow-up questions."""

    word: str = ""
    listing: texts.Listing | None = None
    told: int = 0
    """Items of the list already named."""
    said: str = ""


class ConversationMaker:
    """Draws turns; `turns` gives one exchange, sometimes with a follow-up."""

    def __init__(self, nouns: dict[str, Noun], unknown: list[str]) -> None:
        self.say = Wording(nouns)
        self.nouns, self.unknown, self.capitals = nouns, unknown, texts.capitals()
        self.words = sorted(nouns)
        self.familiar = [w for w in self.words if nouns[w].familiarity >= 9]
        self.forms = texts.weighted_forms("forms")
        self.small_talk = texts.exchanges("smalltalk")
        self.listings = texts.listings()
        self.stories = Storyteller()
        refusals = texts.sections("refusals")
        self.unknown_answers = refusals.pop("unknown answers")
        limits = (line.partition(" | ") for line in refusals.pop("known limits"))
        self.knows = {limit: answer for limit, _, answer in limits}
        """What it says where its knowledge ends: of people, countries and sums."""
        self.refusals = [self._refusal_forms(lines[0]) for lines in refusals.values()]
        commands = [*self.forms["story"], *self.forms["more"], *self.forms["again"]]
        said = [q for e in self.small_talk["talk"] for q in e.questions]
        self.spoken = {text.lower().strip(" .?!") for text in (*commands, *said)}
        """Whole messages with a meaning of their own: "hello" asks for no definition."""
        self.by_category: dict[str, list[str]] = {}
        for word in self.words:
            self.by_category.setdefault(nouns[word].category, []).append(word)
        self.kinds, self.weights = list(SHARES), list(SHARES.values())

    @staticmethod
    def _refusal_forms(line: str) -> tuple[list[str], str, str]:
        questions, known, unknown = (part.strip() for part in line.split("=>"))
        return [form.strip() for form in questions.split("|")], known, unknown

    def system(self, random: Random) -> str:
        """A system message; the model learns to live with one, not to obey it."""
        return random.choice(self.forms["system"])

    def turns(self, random: Random, topic: Topic) -> list[Turn]:
        """One exchange about something new, often with a follow-up about the same."""
        kind = random.choices(self.kinds, self.weights)[0]
        topic.word, topic.listing = "", None
        turn: Turn = getattr(self, f"_{kind.replace(' ', '_')}")(random, topic)
        topic.said = turn.answer
        result = [turn]
        if random.random() < FOLLOW_UP_SHARE and (more := self._follow_up(random, topic)):
            result.append(more)
        return result

    # --- the ways of asking -------------------------------------------------------------------

    def _pick(self, random: Random) -> str:
        return random.choice(self.familiar if random.random() < FAMILIAR_SHARE else self.words)

    def _form(self, random: Random, section: str, **slots: str) -> str:
        return self._mess(random, random.choice(self.forms[section]).format(**slots))

    def _mess(self, random: Random, question: str) -> str:
        """Writes a question as people do: other case, no question mark, a greeting in front."""
        chance = random.random()
        if chance < 0.1:
            question = random.choice(self.forms["greeting before"]) + f" {question}"
        elif chance < 0.17:
            mark = question[-1] if question[-1] in "?.!" else ""
            after = random.choice(self.forms["after"])
            space = "" if after.startswith(",") else " "
            question = f"{question.rstrip('?.!')}{space}{after}{mark}"
        chance = random.random()
        if chance < 0.35:
            question = question.lower()
        elif chance < 0.6:
            question = capitalised(question)
        if random.random() < 0.25:
            question = question.rstrip("?.! ") or question
        return question

    # --- one method for each kind of turn -----------------------------------------------------

    def _definition(self, random: Random, topic: Topic) -> Turn:
        word = topic.word = self._pick(random)
        bare = random.random() < BARE_SHARE and word.lower() not in self.spoken
        section = "bare" if bare else "definition"
        return Turn(self._form(random, section, **self.say.slots(word)), self.say.define(word))

    def _about(self, random: Random, topic: Topic) -> Turn:
        word = topic.word = self._pick(random)
        answer = " ".join([self.say.define(word), *self.say.about(word)[:2]])
        return Turn(self._form(random, "about", **self.say.slots(word)), answer)

    def _kind(self, random: Random, topic: Topic) -> Turn:
        word = topic.word = self._pick(random)
        answer = f"{self.say.article(word)} {self.say.verb(word)} {self.say.kind(word)}."
        if word == self.nouns[word].category:
            answer = self.say.define(word)
        return Turn(self._form(random, "kind", **self.say.slots(word)), capitalised(answer))

    def _is_it(self, random: Random, topic: Topic) -> Turn:
        """ "Is a hammer an animal?" Only categories that are sharp enough to deny."""
        sharp = [name for name in CATEGORIES if len(self.by_category.get(name, [])) > 3]
        category = random.choice(sharp)
        word = topic.word = random.choice(self.by_category[category])
        animal = category in ("mammal", "bird", "fish", "insect", "reptile")
        asked = category
        if random.random() < 0.5:
            near = ("tool", "machine", "container", "weapon") if not animal else ()
            others = [c for c in [*sharp, "animal"] if c != category and c not in near]
            asked = random.choice(others)
        elif animal and random.random() < 0.4:
            asked = "animal"
        true = asked == category or (asked == "animal" and animal)
        question = f"{self.say.article(word)} {self.say.category(asked)}?"
        if self.say.counted(self.nouns[word]) and random.random() < 0.25:
            question = f"Are {self.say.plural(word)} {plural(asked)}?"
        else:
            question = f"Is {question}"
        told = asked if true else category
        answer = f"{self.say.article(word)} {self.say.verb(word)} {self.say.category(told)}."
        return Turn(self._mess(random, question), ("Yes, " if true else "No, ") + answer)

    def _example(self, random: Random, topic: Topic) -> Turn:
        general = random.choice([w for w in self.words if len(self.nouns[w].examples) > 1])
        word = topic.word = self.nouns[general].examples[0]
        answer = f"{self.say.article(word)} is an example of {self.say.article(general)}."
        question = self._form(random, "example", **self.say.slots(general))
        return Turn(question, capitalised(answer))

    def _list(self, random: Random, topic: Topic) -> Turn:
        listing = topic.listing = random.choice(self.listings)
        items, chance = listing.items, random.random()
        one = re.sub(r"^an? ", "", listing.single)
        slots = {"ps": listing.plural, "s": listing.single, "so": one}
        if chance < 0.25:
            topic.told = 1
            question = self._form(random, "list one", **slots)
            return Turn(question, capitalised(f"{items[0]} is {listing.single}."))
        if chance < 0.45:
            count = min(5, len(items))
            question, opening = self._form(random, "list some", **slots), "Some"
        else:
            count = min(len(items), random.choice((2, 3, 3, 3, 4, 4, 5, 5, 6, 7, 8, 10)))
            shown = random.choice((number_word(count), str(count)))
            question = self._form(random, "list", n=shown, **slots)
            opening = capitalised(number_word(count))
        topic.told = count
        return Turn(question, f"{opening} {listing.plural} are {joined(items[:count])}.")

    def _talk(self, random: Random, topic: Topic) -> Turn:
        return self._exchange(random, "talk")

    def _fact(self, random: Random, topic: Topic) -> Turn:
        return self._exchange(random, "facts")

    def _exchange(self, random: Random, section: str) -> Turn:
        exchange = random.choice(self.small_talk[section])
        first = random.random() < FIRST_SHARE
        question = exchange.questions[0] if first else random.choice(exchange.questions)
        if question[-1] not in "?!.:)" and random.random() < 0.5:
            asks = re.match(
                r"(what|who|how|are|can|do|is|where|which|why|when|may|shall|does|did|will)\b",
                question,
            )
            question += "?" if asks else random.choice(".!.")
        return Turn(self._case(random, question), random.choice(exchange.answers))

    @staticmethod
    def _case(random: Random, question: str) -> str:
        chance = random.random()
        if chance < 0.5:
            question = capitalised(question)
        elif chance < 0.53:
            question = question.upper()
        return re.sub(r"\bi\b", "I", question) if chance < 0.35 else question

    def _story(self, random: Random, topic: Topic, *, long: bool = False) -> Turn:
        about = random.choice(self.stories.topics()) if random.random() < 0.5 else None
        section = ("long " if long else "") + ("story about" if about else "story")
        slots = {"a": self.say.article(about)} if about else {}
        question = self._form(random, section, **slots)
        return Turn(question, self.stories.tell(random, about, long=long))

    def _long_story(self, random: Random, topic: Topic) -> Turn:
        return self._story(random, topic, long=True)

    def _unknown(self, random: Random, topic: Topic) -> Turn:
        """A word that was not learnt: from the dictionary, invented, a compound, or a name."""
        word, chance = random.choice(self.unknown), random.random()
        if chance < 0.1:
            name = f"{self._invented(random)} {self._invented(random)}".title()
            name = name if random.random() < 0.7 else name.split()[0]
            return Turn(self._form(random, "person", n=name), self.knows["person"])
        if chance < 0.35:
            word = self._invented(random)
        elif chance < 0.42:
            word = f"{word} {random.choice(self.words)}"
        if random.random() < 0.15:
            word = capitalised(word)
        section = random.choice(("definition", "definition", "bare", "about"))
        question = self._form(random, section, **self.say.slots(word))
        return Turn(question, random.choice(self.unknown_answers))

    def _invented(self, random: Random) -> str:
        """A word that does not exist: the halves of two that do."""
        one, other = random.choice(self.unknown), random.choice(self.unknown)
        return one[: random.randint(2, 5)] + other[-random.randint(2, 5) :]

    def _refusal(self, random: Random, topic: Topic) -> Turn:
        """A question of a type that the model cannot answer, whatever it is about."""
        known = random.random() < KNOWN_REFUSAL_SHARE
        forms, with_word, without = random.choice(self.refusals)
        word, other = (
            (self._pick(random), self._pick(random))
            if known
            else (random.choice(self.unknown), random.choice(self.unknown))
        )
        slots = self.say.slots(word) | {"a2": self.say.article(other)}
        question = self._mess(random, random.choice(forms).format(**slots))
        if question[-1] not in "?.!" and random.random() < 0.5:
            question += "?" if re.match(r"(?i)w|how|do|can|have", question) else "."
        if not known:
            return Turn(question, without)
        topic.word = word
        definitions = {"d": self.say.define(word), "d2": self.say.define(other)}
        return Turn(question, with_word.format(**definitions))

    def _capital(self, random: Random, topic: Topic) -> Turn:
        country = random.choice(list(self.capitals))
        answer = f"The capital of {country} is {self.capitals[country]}."
        if random.random() < 0.15:
            country, answer = capitalised(self._invented(random)), self.knows["country"]
        return Turn(self._form(random, "capital", c=country), answer)

    def _sum(self, random: Random, topic: Topic) -> Turn:
        """Small sums, learnt by heart; one in six is larger and refused."""
        if random.random() < 0.16:
            slots = {"a": str(random.randint(11, 999)), "b": str(random.randint(3, 999))}
            return Turn(self._form(random, "large sum", **slots), self.knows["sum"])
        a, b = random.randint(0, 10), random.randint(0, 10)
        one, two = number_word(a), number_word(b)
        question = self._form(random, "sum", a=str(a), b=str(b), A=one, B=two)
        return Turn(question, capitalised(f"{one} plus {two} is {number_word(a + b)}."))

    def _count(self, random: Random, topic: Topic) -> Turn:
        last = random.choice((5, 10, 10, 20, 20, 30, 50, 100, 100))
        shown = random.choice((str(last), number_word(last), number_word(last)))
        shown = random.choice((shown, "a hundred")) if last == 100 else shown
        numbers = ", ".join(number_word(n) for n in range(1, last + 1))
        return Turn(self._form(random, "count", n=shown), capitalised(numbers) + ".")

    # --- follow-ups ---------------------------------------------------------------------------

    def _follow_up(self, random: Random, topic: Topic) -> Turn | None:
        """A question that only makes sense after the last answer."""
        if random.random() < 0.12 and len(topic.said) < 160:
            return Turn(self._form(random, "again"), topic.said)
        listing = topic.listing
        if listing and topic.told < len(listing.items):
            item = listing.items[topic.told]
            answer = capitalised(f"{item} is {listing.single}.")
            return Turn(self._form(random, "list more"), answer)
        if not topic.word:
            return None
        if random.random() < 0.6:
            more = self.say.about(topic.word)
            answer = " ".join(more[:2]) if more else "I am sorry, I know no more about it."
            return Turn(self._form(random, "more"), answer)
        word = topic.word
        answer = f"{self.say.article(word)} {self.say.verb(word)} {self.say.kind(word)}."
        return Turn(self._form(random, "what kind"), capitalised(answer))
