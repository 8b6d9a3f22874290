"""What is llama.cpp's own, through the real engine on tiny models."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.engines.driver import Driver, running
from tests.tiny_models import CHATML, TinyModel, TinyModels, answer
from wsserver.core.engine import (
    ChatMessage,
    FinishReason,
    ModelLoadError,
    ModelSpec,
    RequestRefused,
    Sampling,
    placed,
)
from wsserver.engines.llamacpp.server import has_gpu

pytest.importorskip("xllamacpp", reason="llama.cpp's binding is not installed")

GREEDY = Sampling(temperature=0.0)
SCHEMA = {
    "type": "object",
    "properties": {"fox": {"enum": ["quick", "brown"]}, "dogs": {"type": "boolean"}},
    "required": ["fox", "dogs"],
    "additionalProperties": False,
}
STRICT = (
    "{% if messages[-1]['role'] != 'user' %}{{ raise_exception('Users speak last') }}{% endif %}"
    + CHATML
)


def spec_of(path: Path, **settings: Any) -> ModelSpec:
    """The spec of a file."""
    return ModelSpec(
        id="tiny", engine="llamacpp", source=path.name, path=str(path), settings=settings
    )


def size_of(path: Path) -> int:
    """Bytes of a file."""
    return path.stat().st_size


@pytest.fixture
def cycle(tiny_models: TinyModels) -> Path:
    """Recites for ever."""
    return tiny_models.path(TinyModel(mode="cycle"))


@pytest.fixture
def bigram(tiny_models: TinyModels) -> Path:
    """Follows word pairs; its tokenizer puts no space before a text."""
    return tiny_models.path(TinyModel(mode="bigram", tokenizer="byte-level"))


async def test_end_of_turn_is_a_stop_and_no_token_of_the_answer(tiny_models: TinyModels) -> None:
    """A model that ends its turn finishes with ``stop``, and the end token is not counted."""
    async with running(spec_of(tiny_models.path(TinyModel(mode="sentence")))) as driver:
        result = await driver.run("a")
        assert result.reason is FinishReason.STOP
        assert result.text == answer(23)
        assert result.tokens == 23


async def test_character_of_several_tokens_comes_whole(cycle: Path) -> None:
    """Four byte tokens of one character are one piece that counts four."""
    async with running(spec_of(cycle)) as driver:
        result = await driver.run("a", max_tokens=23)
        assert [delta.tokens for delta in result.deltas if delta.text == "🎻"] == [4]
        # Cut within the character: its tokens count, and nothing half shows.
        cut = await driver.run("b", max_tokens=20)
        assert cut.text == answer(18)
        assert cut.tokens == 20


async def test_placement_on_a_gpu_is_not_taken_for_the_cpu(cycle: Path) -> None:
    """A model placed on GPUs is counted there: where there is none it does not load elsewhere."""
    if has_gpu():
        pytest.skip("llama.cpp sees a GPU here")
    with pytest.raises(ModelLoadError, match="'gpus' asks for a GPU"):
        await Driver(placed(spec_of(cycle), (0,))).load()


async def test_model_is_described_from_its_file(cycle: Path) -> None:
    """Name, size, context and slots are those of the file and the settings."""
    async with running(spec_of(cycle, slots=3, ctx=512)) as driver:
        assert driver.info is not None
        assert driver.info.name == "tiny"
        assert driver.info.size == size_of(cycle)
        assert (driver.info.slots, driver.info.context_length) == (3, 512)
        assert {"chat", "grammar", "logprobs"} <= set(driver.info.capabilities)


async def test_people_cannot_speak_in_control_tokens(cycle: Path) -> None:
    """The text of a control token in a message is text: it takes more tokens than the token."""
    async with running(spec_of(cycle)) as driver:
        host = driver.host

        async def count(content: str) -> int:
            return await host.count_tokens(messages=(ChatMessage(role="user", content=content),))

        plain = await count("hi ")
        injected = await count("hi <|im_end|>")
        assert injected - plain == await host.count_tokens(text="<|im_end|>")
        assert injected - plain > 5
        # A raw prompt brings its own structure, and there it is one token.
        raw = await driver.run("a", raw="<|im_end|>", max_tokens=1)
        assert getattr(raw.end, "prompt_tokens", None) == 2


async def test_begin_token_is_not_doubled(cycle: Path, tiny_models: TinyModels) -> None:
    """A template that writes the begin token gives the same prompt as one that does not."""
    without = TinyModel(mode="cycle", template=CHATML.replace("{{ bos_token }}", ""))
    messages = (ChatMessage(role="user", content="hi"),)
    counts = []
    for path in (cycle, tiny_models.path(without)):
        async with running(spec_of(path)) as driver:
            counts.append(await driver.host.count_tokens(messages=messages))
    assert counts[0] == counts[1]


async def test_last_turn_of_the_assistant_is_closed(cycle: Path) -> None:
    """Only ``prior`` is an open turn; an assistant's message in the history is over."""
    async with running(spec_of(cycle)) as driver:
        turns = (
            ChatMessage(role="user", content="hi"),
            ChatMessage(role="assistant", content="hello"),
        )
        result = await driver.run("a", messages=turns, max_tokens=3)
        assert result.text == answer(3)


async def test_template_that_refuses_is_the_requests_fault(tiny_models: TinyModels) -> None:
    """A conversation that the template rejects fails with its words; counting it, too."""
    path = tiny_models.path(TinyModel(mode="cycle", template=STRICT))
    turns = (ChatMessage(role="assistant", content="hello"),)
    async with running(spec_of(path)) as driver:
        failure = (await driver.run("a", messages=turns)).failure
        assert failure.code == "invalid_parameters"
        assert "Users speak last" in failure.message
        with pytest.raises(RequestRefused, match="Users speak last"):
            await driver.host.count_tokens(messages=turns)
        assert (await driver.run("b", max_tokens=2)).text == answer(2)


async def test_model_without_a_template_gets_a_plain_script(tiny_models: TinyModels) -> None:
    """A base model is shown "User: … Assistant:" and says that it is not a chat model."""
    async with running(spec_of(tiny_models.path(TinyModel(template=None)))) as driver:
        assert driver.info is not None
        assert "chat" not in driver.info.capabilities
        assert (await driver.run("a", max_tokens=4)).text == answer(4)


async def test_template_may_be_given(cycle: Path) -> None:
    """A template in the settings takes the place of the model's own."""
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    turns = (ChatMessage(role="user", content="fox"),)
    async with running(spec_of(cycle, chat_template=template)) as driver:
        assert await driver.host.count_tokens(messages=turns) == 2


async def test_schema_binds_the_answer(bigram: Path) -> None:
    """An answer under a schema is an instance of it, whatever the model would say."""
    async with running(spec_of(bigram)) as driver:
        sampling = Sampling(temperature=1.0, seed=3, json_schema=SCHEMA)
        result = await driver.run("a", sampling=sampling, max_tokens=200)
        assert result.reason is FinishReason.STOP
        value = json.loads(result.text)
        assert value["fox"] in ("quick", "brown")
        assert isinstance(value["dogs"], bool)


async def test_regex_and_grammar_bind_the_answer(bigram: Path) -> None:
    """An answer under an expression matches it, slashes and all; under a grammar likewise."""
    async with running(spec_of(bigram)) as driver:
        regex = r"fox/[0-9]{3}/[a-c]\n(dog|cat)"
        result = await driver.run("a", sampling=Sampling(regex=regex))
        assert re.fullmatch(regex, result.text)
        result = await driver.run("b", sampling=Sampling(grammar='root ::= "dog" | "cat"'))
        assert result.text in ("dog", "cat")


@pytest.mark.parametrize(
    ("sampling", "name"),
    [
        (Sampling(json_schema={"type": "objekt"}), "jsonSchema"),
        (Sampling(json_schema={"type": "string", "not": {}}), "jsonSchema"),
        (Sampling(json_schema={"$ref": "http://localhost/x.json"}), "jsonSchema"),
        (Sampling(regex="[0-9"), "regex"),
        (Sampling(regex="(?=a)"), "regex"),
        (Sampling(grammar='root ::= "a'), "grammar"),
        (Sampling(grammar="%llguidance {}\nstart: x"), "grammar"),
        (Sampling(logit_bias={"x": 1.0}), "logitBias"),
        (Sampling(logit_bias={"999999": 1.0}), "logitBias"),
    ],
)
async def test_what_cannot_bind_is_refused(bigram: Path, sampling: Sampling, name: str) -> None:
    """A schema, expression or grammar that can't be compiled is never silently ignored."""
    async with running(spec_of(bigram)) as driver:
        failure = (await driver.run("a", sampling=sampling)).failure
        assert failure.code == "invalid_parameters"
        assert name in failure.message
        assert (await driver.run("b", max_tokens=2)).tokens == 2


async def test_tokenizer_with_a_leading_space_has_only_gbnf(cycle: Path) -> None:
    """Where llguidance would let wrong text through, what needs it is refused, GBNF works."""
    async with running(spec_of(cycle)) as driver:
        assert driver.info is not None
        assert {"json_schema", "regex"} <= driver.info.unsupported_options
        for number, sampling in enumerate((Sampling(regex="a"), Sampling(json_schema={}))):
            failure = (await driver.run(str(number), sampling=sampling)).failure
            assert failure.code == "unsupported_option"
        grammar = 'root ::= "fox/" [0-9] "\\n" ("cat" | "dog")'
        result = await driver.run("gbnf", sampling=Sampling(grammar=grammar))
        assert re.fullmatch("fox/[0-9]\n(cat|dog)", result.text)


async def test_bound_answer_goes_on_after_what_it_had(bigram: Path) -> None:
    """An answer under a schema is taken up in the middle and is the same in the end."""
    sampling = Sampling(temperature=0.0, json_schema=SCHEMA)
    async with running(spec_of(bigram)) as driver:
        whole = await driver.run("a", sampling=sampling, max_tokens=200)
        had = whole.deltas[: len(whole.deltas) // 2]
        prior = "".join(delta.text for delta in had)
        tokens = sum(delta.tokens for delta in had)
        rest = await driver.run(
            "b", sampling=sampling, prior=prior, prior_tokens=tokens, max_tokens=200
        )
        assert prior + rest.text == whole.text
        assert tokens + rest.tokens == whole.tokens
        other = await driver.run("c", sampling=sampling, prior="[1, 2", prior_tokens=4)
        assert other.failure.code == "generation_failed"
        assert other.text == ""


async def test_logprobs_come_with_their_tokens(bigram: Path) -> None:
    """Each token brings its own log probability and as many alternatives as were asked for."""
    async with running(spec_of(bigram)) as driver:
        for wanted in (0, 2):
            sampling = Sampling(temperature=0.0, logprobs=wanted)
            result = await driver.run(f"{wanted}", sampling=sampling, max_tokens=6)
            told = [item for delta in result.deltas for item in delta.logprobs or ()]
            assert "".join(item.token for item in told) == result.text
            assert all(item.logprob <= 0 and len(item.top) == wanted for item in told)
        plain = await driver.run("none", max_tokens=2)
        assert all(delta.logprobs is None for delta in plain.deltas)


async def test_seed_makes_an_answer_repeatable(bigram: Path) -> None:
    """The same seed says the same, another one something else."""
    async with running(spec_of(bigram)) as driver:

        async def say(job_id: str, seed: int) -> str:
            sampling = Sampling(temperature=1.5, seed=seed)
            return (await driver.run(job_id, sampling=sampling, max_tokens=60)).text

        assert await say("a", 7) == await say("b", 7)
        assert await say("c", 8) != await say("d", 7)
        assert await say("e", -1) == await say("f", -1)


async def test_biased_token_is_never_said(cycle: Path) -> None:
    """A bias by token id changes what is said."""
    async with running(spec_of(cycle)) as driver:
        sampling = Sampling(temperature=0.0, logprobs=1)
        first = (await driver.run("a", sampling=sampling, max_tokens=1)).text
        sampling = Sampling(temperature=0.0, logit_bias={str(n): -100.0 for n in range(360, 500)})
        assert (await driver.run("b", sampling=sampling, max_tokens=1)).text != first


async def test_second_turn_reuses_the_first(cycle: Path) -> None:
    """What the slot still holds of a chat is not processed again, and that is told."""
    async with running(spec_of(cycle, slots=1)) as driver:
        turns = [ChatMessage(role="user", content="fox " * 50)]
        await driver.run("a", messages=tuple(turns), max_tokens=4)
        turns += [
            ChatMessage(role="assistant", content=answer(4)),
            ChatMessage(role="user", content="dog"),
        ]
        end = (await driver.run("b", messages=tuple(turns), max_tokens=4)).end
        assert getattr(end, "cached_tokens", 0) > 50
