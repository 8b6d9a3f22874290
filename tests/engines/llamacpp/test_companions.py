"""LoRA adapters and drafts beside a model, through the real engine on tiny models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.engines.driver import Driver, Result, running
from tests.tiny_models import TinyModel, TinyModels, answer, write_tiny_adapter
from wsserver.core.engine import FinishReason, ModelLoadError, ModelSpec, Sampling
from wsserver.engines.llamacpp.gguf import read_metadata
from wsserver.engines.llamacpp.settings import Machine, choose_settings

pytest.importorskip("xllamacpp", reason="llama.cpp's binding is not installed")

CYCLE = TinyModel(mode="cycle")


def spec_of(path: Path, **settings: Any) -> ModelSpec:
    """The spec of a file."""
    return ModelSpec(
        id="tiny", engine="llamacpp", source=path.name, path=str(path), settings=settings
    )


async def load_error(path: Path, **settings: Any) -> str:
    """Why the load of a model with these settings fails."""
    with pytest.raises(ModelLoadError) as caught:
        await Driver(spec_of(path, **settings)).load()
    return str(caught.value)


@pytest.fixture
def cycle(tiny_models: TinyModels) -> Path:
    """Recites for ever."""
    return tiny_models.path(CYCLE)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """Has the fox followed by the dog."""
    return write_tiny_adapter(tmp_path / "dog.gguf", CYCLE, "fox", "dog")


async def test_adapter_changes_what_is_said(cycle: Path, adapter: Path) -> None:
    """At scale 1 the adapter's word follows; at scale 0 the answer is the model's own."""
    async with running(spec_of(cycle, lora=[{"path": str(adapter)}])) as driver:
        assert driver.info is not None
        assert "lora" in driver.info.capabilities
        said = (await driver.run("a", max_tokens=6)).text
        assert said == " the quick brown fox dog and"
    async with running(spec_of(cycle, lora=[{"path": str(adapter), "scale": 0}])) as driver:
        assert (await driver.run("a", max_tokens=6)).text == answer(6)


async def test_adapters_add_up(cycle: Path, adapter: Path, tmp_path: Path) -> None:
    """Several adapters work at once, each at its scale."""
    other = write_tiny_adapter(tmp_path / "fox.gguf", CYCLE, "the", "fox")
    both = [{"path": str(adapter), "scale": 1.0}, {"path": str(other), "scale": 0.5}]
    async with running(spec_of(cycle, lora=both)) as driver:
        assert (await driver.run("a", max_tokens=4)).text == " the fox dog and"


async def test_adapter_that_does_not_fit_fails_the_load(cycle: Path, tmp_path: Path) -> None:
    """One for another architecture, or no adapter at all, fails in llama.cpp's words, no path."""
    other = write_tiny_adapter(tmp_path / "other.gguf", CYCLE, "fox", "dog", "qwen2")
    reason = await load_error(cycle, lora=[{"path": str(other)}])
    assert "model arch and LoRA arch mismatch" in reason
    reason = await load_error(cycle, lora=[{"path": str(cycle)}])
    assert "expect general.type to be 'adapter'" in reason
    assert str(cycle.parent) not in reason
    reason = await load_error(cycle, lora=[{"path": str(tmp_path / "gone.gguf")}])
    assert reason == "'lora[0].path': there is no such file"


def text_and_drafts(path: Path, draft: Path | None, folder: Path) -> tuple[str, int]:
    """What llama.cpp says with the engine's own parameters, and accepted tokens of a draft."""
    from wsserver.engines.llamacpp.server import open_server, server_parameters

    given = {} if draft is None else {"draft_model": str(draft), "draft_max": 4}
    machine = Machine(cores=1, free_memory=0, has_gpu=False)
    settings = choose_settings(given, read_metadata(str(path)), 1 << 20, machine)
    socket = str(folder / ("plain.sock" if draft is None else "draft.sock"))
    server = open_server(server_parameters(str(path), settings, socket, "key"))
    chunks: list[dict[str, Any]] = []

    def take(data: bytes) -> bool:
        chunks.append(json.loads(data))
        return False

    body = {"prompt": "hello", "n_predict": 40, "temperature": 0, "stream": True}
    server.handle_completions(json.dumps(body | {"timings_per_token": True}).encode(), take)
    text = "".join(chunk["choices"][0]["text"] for chunk in chunks if chunk["choices"])
    return text, chunks[-1]["timings"].get("draft_n_accepted", 0)


def test_drafted_tokens_are_accepted(cycle: Path, tmp_path: Path) -> None:
    """A model that drafts for itself has its tokens accepted, and says the same."""
    plain, none = text_and_drafts(cycle, None, tmp_path)
    drafted, accepted = text_and_drafts(cycle, cycle, tmp_path)
    assert drafted == plain
    assert none == 0
    assert accepted > 20


async def test_draft_changes_no_byte_of_an_answer(cycle: Path, tiny_models: TinyModels) -> None:
    """Text, tokens and pieces are those without a draft, also with one that guesses wrongly."""
    wrong = tiny_models.path(TinyModel(mode="sentence", name="draft"))
    for draft in (cycle, wrong):
        async with running(spec_of(cycle, draft_model=str(draft))) as driver:
            assert driver.info is not None
            assert "draft" in driver.info.capabilities
            result = await driver.run("a", max_tokens=69)
            assert (result.text, result.tokens) == (answer(69), 69)
            assert result.reason is FinishReason.LENGTH
            stopped = await driver.run(
                "b", sampling=Sampling(temperature=0.0, stop=("lazy",)), max_tokens=40
            )
            assert stopped.reason is FinishReason.STOP_STRING
            assert stopped.text == " the quick brown fox jumps over "


async def test_draft_under_load_ends_at_a_cancel(cycle: Path) -> None:
    """Four answers at once are each whole; a cancelled one ends and its slot serves the next."""
    settings = {"draft_model": str(cycle), "draft_max": 8, "slots": 4}
    async with running(spec_of(cycle, **settings)) as driver:
        for number in range(4):
            driver.start(f"{number}", max_tokens=3000)
        await driver.until("0", _has_text)
        driver.host.cancel("0")
        cancelled = await driver.ended("0")
        assert cancelled.reason is FinishReason.CANCELLED
        assert cancelled.text == answer(2999)[: len(cancelled.text)]
        assert (await driver.run("next", max_tokens=23)).text == answer(23)
        for number in range(1, 4):
            driver.host.cancel(f"{number}")
            assert (await driver.ended(f"{number}")).reason is FinishReason.CANCELLED


async def test_draft_goes_on_with_an_answer(cycle: Path) -> None:
    """An answer that was begun before is taken up with a draft as without one."""
    async with running(spec_of(cycle, draft_model=str(cycle))) as driver:
        rest = await driver.run("a", prior=answer(5), prior_tokens=5, max_tokens=10)
        assert answer(5) + rest.text == answer(15)


async def test_log_probabilities_are_not_offered_with_a_draft(cycle: Path) -> None:
    """llama.cpp tells none of drafted tokens, so the option is declared and refused as missing."""
    async with running(spec_of(cycle, draft_model=str(cycle))) as driver:
        assert driver.info is not None
        assert "logprobs" in driver.info.unsupported_options
        failure = (await driver.run("a", sampling=Sampling(logprobs=1))).failure
        assert failure.code == "unsupported_option"


async def test_draft_of_another_vocabulary_fails_the_load(
    cycle: Path, tiny_models: TinyModels, tmp_path: Path
) -> None:
    """A draft that could never be used is no silent loss; nor is a file that is no model."""
    for model in (TinyModel(mode="bigram"), TinyModel(tokenizer="byte-level")):
        reason = await load_error(cycle, draft_model=str(tiny_models.path(model)))
        assert reason == "'draft_model' has another vocabulary than the model"
    nonsense = tmp_path / "nonsense.gguf"
    nonsense.write_bytes(b"no model")
    reason = await load_error(cycle, draft_model=str(nonsense))
    assert reason == "'draft_model': the file is not a GGUF model"


def _has_text(result: Result) -> bool:
    return bool(result.text)
