"""From a folder to a model that can answer: the order of a load, the same for both libraries.

Decides what is looked at before what, so that the cheap and telling checks come first: the folder,
the settings, this machine, then the library, whose import may compile for minutes, then the
weights. It keeps nothing running.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from wsserver.core.engine import EngineJob, ModelLoadError, ModelSpec
from wsserver.engines.exllama.backend import Backend
from wsserver.engines.exllama.files import ModelFiles, read_files
from wsserver.engines.exllama.machine import first_words, look_around, what_is_missing
from wsserver.engines.exllama.settings import ExllamaSettings, Room, check_keys, choose_settings
from wsserver.engines.exllama.templates import open_template
from wsserver.engines.exllama.tokens import ModelTokenizer
from wsserver.engines.grammar import GRAMMAR_OPTIONS
from wsserver.engines.prompt import PLAIN_STOPS, PromptBuilder

# Of the whole load; the rest is the weights.
_LIBRARY_SHARE: Final = 0.05
_NO_MEMORY: Final = ("out of memory", "Insufficient VRAM", "Insufficient space")


@dataclass(frozen=True)
class Loaded:
    """A model that can answer."""

    files: ModelFiles
    settings: ExllamaSettings
    tokenizer: ModelTokenizer
    prompts: PromptBuilder
    end_tokens: frozenset[int]
    own_stops: tuple[str, ...]
    unsupported: frozenset[str]
    warnings: tuple[str, ...]

    def prompt_of(self, job: EngineJob) -> list[int]:
        """The tokens that the model is fed for a job.

        Raises:
            JobRefused: If the chat template refuses the conversation.
        """
        if job.messages is not None:
            return self.prompts.of_chat(job.messages, job.prior)
        return self.prompts.of_raw(job.raw or "", job.prior)


def load_model(backend: Backend, spec: ModelSpec, report: Callable[[float], None]) -> Loaded:
    """Load the folder of ``spec.path``; ``report`` takes 0 to 1.

    Raises:
        ModelLoadError: With a reason for people, whatever failed.
    """
    report(0.0)
    files = read_files(spec.path, backend.formats, backend.name)
    check_keys(spec.settings, backend.rules)
    template = open_template(
        files, spec.settings.get("chat_template"), spec.settings.get("template_options", {})
    )
    tokenizer = ModelTokenizer(files, template)
    facts = look_around(backend.extension)
    if (missing := what_is_missing(backend.name, facts)) is not None:
        raise ModelLoadError(missing)
    can_batch = _open(backend, files)
    room = Room(facts.gpus, facts.free_memory, can_batch)
    settings = choose_settings(spec.settings, files, room, backend.rules)
    report(_LIBRARY_SHARE)
    warnings = _load(backend, files, settings, report)
    own_end = tokenizer.token(files.special_text("eos_token"))
    end_tokens = files.end_tokens | ({own_end} if own_end is not None else frozenset())
    return Loaded(
        files=files,
        settings=settings,
        tokenizer=tokenizer,
        prompts=prompt_builder(tokenizer, has_template=template is not None),
        end_tokens=end_tokens,
        own_stops=() if template is not None else PLAIN_STOPS,
        unsupported=backend.lacks | _lacking_grammars(backend, tokenizer, end_tokens),
        warnings=tuple(warnings),
    )


def prompt_builder(tokenizer: ModelTokenizer, *, has_template: bool) -> PromptBuilder:
    """Prompts for a tokenizer."""
    return PromptBuilder(
        tokenizer=tokenizer,
        steering_tokens=tokenizer.steering_tokens,
        begin_token=tokenizer.begin_token,
        has_template=has_template,
    )


def _open(backend: Backend, files: ModelFiles) -> bool:
    try:
        return backend.open(files)
    except Exception as error:  # not ImportError alone: RuntimeError, IndexError, OSError were seen
        traceback.print_exc()
        raise ModelLoadError(f"{backend.name} can't be used here: {first_words(error)}") from error


def _load(
    backend: Backend,
    files: ModelFiles,
    settings: ExllamaSettings,
    report: Callable[[float], None],
) -> list[str]:
    def tell(progress: float) -> None:
        report(_LIBRARY_SHARE + (1 - _LIBRARY_SHARE) * progress)

    try:
        return list(backend.load(files, settings, tell))
    except ModelLoadError:
        raise
    except Exception as error:
        traceback.print_exc()
        words = first_words(error)
        if (
            "out of memory" in words
            or "Insufficient VRAM" in words
            or "Insufficient space" in words
        ):
            needed = f"{settings.cache_tokens} tokens of {settings.cache_type} cache"
            words = f"the weights and {needed} do not fit on the GPUs: try fewer slots, less ctx"
        raise ModelLoadError(f"{backend.name} could not load the model: {words}") from error


def _lacking_grammars(
    backend: Backend, tokenizer: ModelTokenizer, end_tokens: frozenset[int]
) -> frozenset[str]:
    """Options that this model lacks because its tokenizer is one that grammars can't be laid on."""
    try:
        backend.open_grammars(tokenizer.source, end_tokens)
    except Exception:  # the library raises nothing narrower
        traceback.print_exc()
        return GRAMMAR_OPTIONS
    return frozenset()
