"""The tokenizer: byte-level BPE, trained on generated turns, and the ChatML frame around them."""

from pathlib import Path
from random import Random

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from .conversations import ConversationMaker, Topic

END_OF_TEXT, START, END = 0, 1, 2
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
VOCABULARY = 4096
TURNS = 60_000
"""Turns that the tokenizer is trained on; about 10 MB of text."""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'user' %}{{ ' ' }}{% endif %}"
    "{% set text = message['content'] | trim %}"
    "{% if message['role'] == 'user' and ' ' not in text %}{% set text = text | lower %}{% endif %}"
    "{{ text }}{{ '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""ChatML with a space before a user's words: "violin" at the start of a message is then the same
token as in the middle of one, so that a bare word is understood. A message of one word is put in
small letters: "Moon" has other tokens than "moon", and they were seldom trained."""


def train_tokenizer(maker: ConversationMaker, path: Path, seed: int) -> Tokenizer:
    random, topic = Random(seed), Topic()
    lines: list[str] = []
    for _ in range(TURNS):
        for turn in maker.turns(random, topic):
            lines += [f" {turn.question}", turn.answer]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.save(str(path))
    return tokenizer


class ChatFrame:
    """Token ids of messages, as llama.cpp makes them from the chat template.

    Only the small letters of single words are left out here: training has words in both cases.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.newline = self._ids("\n")
        self.answer_start = [START, *self._ids("assistant\n")]

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def system(self, text: str) -> list[int]:
        return [START, *self._ids(f"system\n{text}"), END, *self.newline]

    def question(self, text: str) -> list[int]:
        """A user's message and the start of the answer."""
        return [START, *self._ids(f"user\n {text.strip()}"), END, *self.newline, *self.answer_start]

    def answer(self, text: str) -> list[int]:
        """The answer with its end mark: the tokens that are trained. A line feed follows it."""
        return [*self._ids(text), END]

    def text(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)
