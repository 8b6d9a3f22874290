"""Chat templates as Hugging Face's models carry them: Jinja, run in a sandbox.

Decides which template a folder has and what it may use. It knows no tokens. The rule: a template
is a program out of a download. It runs in Jinja's immutable sandbox, with no loader and no names
but those below, and what it refuses is the request's fault.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from wsserver.core.engine import ChatMessage, ModelLoadError
from wsserver.engines.contract import JobRefused
from wsserver.engines.exllama.files import ModelFiles
from wsserver.engines.folders import read_json

_FILES: Final = ("chat_template.jinja", "chat_template.json")
_NAMES: Final = ("bos_token", "eos_token", "unk_token", "pad_token")
_MAX_WORDS: Final = 300


class _Generation(Extension):
    """``{% generation %}…{% endgeneration %}``: marks a model's own words for training; here it
    is its content."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class ChatTemplate:
    """One model's template, compiled."""

    def __init__(
        self,
        text: str,
        names: dict[str, str],
        options: dict[str, Any],
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        """``names``: texts of special tokens. ``options``: further variables, the operator's.

        Raises:
            ModelLoadError: If the template is no Jinja.
        """
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda form: now().strftime(form)
        try:
            self._template = environment.from_string(text)
        except jinja2.TemplateError as error:
            raise ModelLoadError(f"the chat template can't be read: {error}") from error
        self._variables = {"tools": None, "documents": None, **names, **options}

    def apply(self, messages: Sequence[ChatMessage]) -> str:
        """The conversation as the model knows it, open for an answer.

        Raises:
            JobRefused: ``invalid_parameters`` if the template refuses it.
        """
        turns = [
            {"role": m.role, "content": m.content} | ({"name": m.name} if m.name else {})
            for m in messages
        ]
        try:
            return self._template.render(
                self._variables | {"messages": turns, "add_generation_prompt": True}
            )
        # Templates index, add and call what a conversation may not have.
        except (jinja2.TemplateError, TypeError, ValueError, LookupError, ArithmeticError) as error:
            words = str(error)[:_MAX_WORDS] or type(error).__name__
            message = f"the model's chat template refuses this conversation: {words}"
            raise JobRefused("invalid_parameters", message) from error


def open_template(
    files: ModelFiles, given: str | None, options: dict[str, Any]
) -> ChatTemplate | None:
    """The template ``given``, or else the folder's own; None if it has none.

    Raises:
        ModelLoadError: If it is no Jinja.
    """
    text = given if given is not None else template_text(files)
    if text is None:
        return None
    names = {key: files.special_text(key) or "" for key in _NAMES}
    return ChatTemplate(text, names, options)


def template_text(files: ModelFiles) -> str | None:
    """The folder's template: a file of its own, or an entry of ``tokenizer_config.json``."""
    alone = files.folder / _FILES[0]
    if alone.is_file():
        return alone.read_text(encoding="utf-8", errors="replace")
    for source in (read_json(files.folder / _FILES[1]), files.tokenizer):
        value = source.get("chat_template")
        if isinstance(value, list):  # several with names; one of them for plain conversations
            named = {item.get("name"): item.get("template") for item in value}
            value = named.get("default")
        if isinstance(value, str):
            return value
    return None


def _refuse(message: object) -> NoReturn:
    raise jinja2.TemplateError(str(message))


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any
) -> str:
    """As Hugging Face has it: jinja2's own would escape HTML, which models never saw."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)
