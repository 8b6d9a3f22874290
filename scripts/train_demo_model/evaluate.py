"""Measures the finished file through llama.cpp: recall over all nouns, refusals, long chats.

"Right" means the same words as the training answer, greedily decoded. That is recall, not
understanding, and the model card says so.
"""

import re
from random import Random
from typing import Any

from . import texts
from .chat import Chat
from .conversations import ConversationMaker
from .grammar import capitalised, number_word, with_article
from .nouns import CATEGORIES

FORMS = ("What is {a}?", "{w}", "{W}", "define {w}", "Tell me about {p}.")
ALL_WORDS = ("What is {a}?", "{w}")
"""Forms in which every noun is asked; in the others one in `SAMPLE_EVERY`."""
SAMPLE_EVERY = 5
SAMPLE_TEMPERATURE = 0.6
UNKNOWN_SAMPLE = 200
LONG_CHATS = 8
LONGEST_CHAT = 890
"""Tokens of chat after which a long chat ends; the context is 1024."""
REFUSAL = re.compile(r"I (am sorry|do not|know nothing|cannot|am a program|am only|did not)")

Result = dict[str, Any]


class Evaluation:
    def __init__(self, chat: Chat, maker: ConversationMaker) -> None:
        self.chat, self.maker, self.say = chat, maker, maker.say
        self.questions = texts.sections("evaluation")

    def run(self) -> Result:
        """All measurements; takes several minutes on one core."""
        result: Result = {"recall": {}}
        for form in (*FORMS, *self.questions["other forms"]):
            words = self.maker.words if form in ALL_WORDS else self.maker.words[::SAMPLE_EVERY]
            result["recall"][form] = self.recall(form, words)
            print(form, result["recall"][form], flush=True)
        for name in ("kinds", "capitals", "sums", "unknown", "long_chats", "transcripts"):
            result[name] = getattr(self, name)()
            print(name, result[name] if name != "transcripts" else "", flush=True)
        result["tokens_per_second"] = round(sorted(self.chat.speeds)[len(self.chat.speeds) // 2])
        return result

    def recall(self, form: str, words: list[str]) -> Result:
        """The definitions of some nouns, asked in one form."""
        pairs = []
        for word in words:
            expected = self.say.define(word)
            if form.startswith("Tell me about"):
                expected = " ".join([expected, *self.say.about(word)[:2]])
            pairs.append((form.format(**self.say.slots(word)), expected))
        return self._exact(pairs)

    def kinds(self) -> Result:
        """ "Is a hammer a tool?" (true) for one in three nouns of each named category."""
        pairs = []
        for category in CATEGORIES:
            for word in self.maker.by_category.get(category, [])[::3]:
                claim = f"{self.say.article(word)} {self.say.verb(word)} "
                claim += self.say.category(category)
                question = f"Is {self.say.article(word)} {self.say.category(category)}?"
                pairs.append((question, f"Yes, {claim}."))
        return self._exact(pairs)

    def capitals(self) -> Result:
        return self._exact(
            [
                (f"What is the capital of {country}?", f"The capital of {country} is {capital}.")
                for country, capital in self.maker.capitals.items()
            ]
        )

    def sums(self) -> Result:
        """Zero to ten plus zero to ten; all were trained."""
        words = [number_word(n) for n in range(21)]
        return self._exact(
            [
                (
                    f"what is {a} + {b}?",
                    capitalised(f"{words[a]} plus {words[b]} is {words[a + b]}."),
                )
                for a in range(11)
                for b in range(11)
            ]
        )

    def unknown(self) -> Result:
        """Share of words it cannot know that it says it does not know."""
        dictionary = Random(4).sample(self.maker.unknown, UNKNOWN_SAMPLE)
        modern = " ".join(self.questions["modern words"]).replace("_", "-").split()
        modern = [word.replace("-", " ") for word in modern if word not in self.maker.nouns]
        invented = " ".join(self.questions["unnatural words"]).split()
        pools = {"dictionary": dictionary, "modern": modern, "invented": invented}
        return {name: self._refused(words) for name, words in pools.items()}

    def long_chats(self) -> Result:
        """Recall by how much chat came before, in steps of 128 tokens."""
        random, counts = Random(11), {}
        for _ in range(LONG_CHATS):
            messages: list[dict[str, str]] = []
            while self.chat.prompt_tokens < LONGEST_CHAT or not messages:
                word = random.choice(self.maker.words)
                question = f"What is {self.say.article(word)}?"
                expected = self.say.define(word)
                messages.append({"role": "user", "content": question})
                right = self.chat.ask(messages, limit=60, cache=True) == expected
                messages.append({"role": "assistant", "content": expected})
                start = self.chat.prompt_tokens // 128 * 128
                counts.setdefault(start, []).append(right)
        return {
            f"{start}-{start + 127}": {"right": sum(marks), "of": len(marks)}
            for start, marks in sorted(counts.items())
        }

    def transcripts(self) -> Result:
        """Questions and answers to read, at temperature 0 and at the recommended one."""
        result: Result = {}
        for section in ("planned", "free", "words", "lists", "refusals"):
            result[section] = [
                {
                    "question": question,
                    "greedy": self.chat.ask(question),
                    "sampled": self.chat.ask(question, SAMPLE_TEMPERATURE),
                }
                for question in self.questions[section]
            ]
        result["long"] = [
            {"question": question, "greedy": self.chat.ask(question, limit=700)}
            for question in self.questions["long"]
        ]
        result["conversation"] = self._conversation(self.questions["conversation"])
        return result

    def _conversation(self, questions: list[str]) -> list[dict[str, str]]:
        messages: list[dict[str, str]] = []
        for question in questions:
            messages.append({"role": "user", "content": question})
            messages.append({"role": "assistant", "content": self.chat.ask(messages)})
        return [
            {"question": asked["content"], "greedy": said["content"]}
            for asked, said in zip(messages[::2], messages[1::2], strict=True)
        ]

    def _exact(self, pairs: list[tuple[str, str]]) -> Result:
        wrong = [q for q, expected in pairs if self.chat.ask(q, limit=120) != expected]
        return {"right": len(pairs) - len(wrong), "of": len(pairs), "wrong": wrong[:10]}

    def _refused(self, words: list[str]) -> Result:
        answers = [(w, self.chat.ask(f"What is {with_article(w)}?", limit=40)) for w in words]
        failed = [word for word, answer in answers if not REFUSAL.match(answer)]
        return {"refused": len(words) - len(failed), "of": len(words), "defined": failed[:10]}
