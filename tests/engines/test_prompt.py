"""Prompts, against a tokenizer of one token per character."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from wsserver.core.engine import ChatMessage
from wsserver.engines.prompt import PromptBuilder, plain_script

BEGIN, OPEN, CLOSE, CLOSE_ALL = 1, 2, 3, 4
CONTROL = {"<s>": BEGIN, "<|open|>": OPEN, "<|close|>": CLOSE, "<|close|>all": CLOSE_ALL}


class CharacterTokenizer:
    """Control tokens, and beyond them a token for each character."""

    def apply_template(self, messages: Sequence[ChatMessage]) -> str:
        """ChatML in short."""
        turns = (f"<|open|>{m.role}:{m.content}<|close|>" for m in messages)
        return "<s>" + "".join(turns) + "<|open|>"

    def tokenize(self, text: str, *, is_beginning: bool, parse_control: bool) -> list[int]:
        """As llama.cpp does it: longest control texts first, a begin token where one is due."""
        tokens = [BEGIN] if is_beginning else []
        while text:
            names = [name for name in CONTROL if parse_control and text.startswith(name)]
            if names:
                tokens.append(CONTROL[max(names, key=len)])
                text = text[len(max(names, key=len)) :]
            else:
                tokens.append(100 + ord(text[0]))
                text = text[1:]
        return tokens


def builder(has_template: bool = True) -> PromptBuilder:
    """Of a model with these control tokens."""
    return PromptBuilder(CharacterTokenizer(), tuple(CONTROL), BEGIN, has_template)


def characters(text: str) -> list[int]:
    """Text as plain tokens."""
    return [100 + ord(character) for character in text]


def user(content: str) -> list[ChatMessage]:
    """One turn."""
    return [ChatMessage(role="user", content=content)]


def test_template_speaks_in_control_tokens() -> None:
    """The structure is control tokens, with one begin token though two places write it."""
    expected = [BEGIN, OPEN, *characters("user:hi"), CLOSE, OPEN]
    assert builder().of_chat(user("hi")) == expected


def test_prior_opens_the_answer() -> None:
    """What the answer had stands open after the template."""
    assert builder().of_chat(user("hi"), "so far")[-7:] == [OPEN, *characters("so far")]


WORDS = st.lists(st.sampled_from([*CONTROL, "a", " ", "<|", "|>", "all", "\U000f0000"]), max_size=8)


@given(WORDS.map("".join), WORDS.map("".join))
def test_people_never_speak_in_control_tokens(content: str, prior: str) -> None:
    """Whatever a message or an answer so far holds, its characters come as characters."""
    expected = [BEGIN, OPEN, *characters(f"user:{content}"), CLOSE, OPEN, *characters(prior)]
    assert builder().of_chat(user(content), prior) == expected


@given(WORDS.map("".join))
def test_raw_prompt_may_speak_in_control_tokens_but_its_answer_not(prior: str) -> None:
    """A raw prompt is parsed as it is, what the model had said is not."""
    expected = [BEGIN, OPEN, *characters("x"), CLOSE, *characters(f":{prior}")]
    assert builder().of_raw("<|open|>x<|close|>:", prior) == expected


def test_bare_text_is_counted_as_text() -> None:
    """Counting a text adds no begin token and parses no control text."""
    assert builder().of_text("<s>a") == characters("<s>a")


def test_plain_script_names_the_speakers() -> None:
    """Without a template the turns are a script, the system's words its heading."""
    turns = [
        ChatMessage(role="system", content="Be brief."),
        ChatMessage(role="user", content="Hi"),
        ChatMessage(role="assistant", content="Hello"),
        ChatMessage(role="user", content="Bye"),
    ]
    script = "Be brief.\nUser: Hi\nAssistant: Hello\nUser: Bye\nAssistant:"
    assert plain_script(turns) == script
    assert builder(has_template=False).of_chat(turns) == [BEGIN, *characters(script)]
