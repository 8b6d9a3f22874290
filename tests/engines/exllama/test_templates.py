"""Chat templates in their sandbox."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from wsserver.core.engine import ChatMessage, ModelLoadError
from wsserver.engines.contract import JobRefused
from wsserver.engines.exllama.files import ModelFiles, read_files
from wsserver.engines.exllama.templates import ChatTemplate, open_template, template_text
from wsserver.engines.folders import WeightFormat

HELLO = (ChatMessage(role="user", content="hi"),)


def render(text: str, messages: tuple[ChatMessage, ...] = HELLO, **options: Any) -> str:
    """A template's text for a conversation."""
    noon = datetime(2026, 11, 21, 12)
    return ChatTemplate(text, {"bos_token": "<s>"}, options, now=lambda: noon).apply(messages)


def test_template_of_the_folder_words_the_conversation(files: ModelFiles) -> None:
    """ChatML as the tiny model has it, open for an answer."""
    template = open_template(files, None, {})
    assert template is not None
    assert template.apply(HELLO) == "<s><|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ messages[0] | tojson }}", '{"role": "user", "content": "hi"}'),
        ("{{ {'a': '<é>'} | tojson(indent=1) }}", '{\n "a": "<é>"\n}'),
        ("{{ strftime_now('%d %b %Y') }}", "21 Nov 2026"),
        ("{% for m in messages %}{% break %}{% endfor %}x", "x"),
        ("{% generation %}{{ bos_token }}{% endgeneration %}", "<s>"),
        ("  {% if tools %}\nno\n  {% endif %}\nyes", "yes"),
        ("{{ thinking }}{{ add_generation_prompt }}", "FalseTrue"),
    ],
)
def test_names_of_hugging_face_are_there(text: str, expected: str) -> None:
    """Filters, functions, tags and white space are as templates expect them."""
    assert render(text, thinking=False) == expected


def test_name_of_a_speaker_reaches_the_template() -> None:
    """Rooms have several people; a template may name them."""
    named = (ChatMessage(role="user", content="hi", name="Ada"),)
    assert render("{{ messages[0].name }}", named) == "Ada"


@pytest.mark.parametrize(
    "text",
    [
        "{{ raise_exception('roles must alternate') }}",
        "{{ messages[9].content.x }}",
        "{{ messages[0].content + 1 }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
    ],
)
def test_refusal_of_a_template_is_the_requests_fault(text: str) -> None:
    """What the template or its sandbox refuses ends one request, in words."""
    with pytest.raises(JobRefused, match="chat template refuses") as caught:
        render(text)
    assert caught.value.code == "invalid_parameters"


def test_template_that_is_no_jinja_fails_the_load() -> None:
    """Better at the load than at each request."""
    with pytest.raises(ModelLoadError, match="chat template"):
        render("{% if %}")


def test_file_of_its_own_comes_first(folder: Path, tmp_path: Path) -> None:
    """chat_template.jinja, then the named default of tokenizer_config.json, then none."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)

    def text() -> str | None:
        return template_text(read_files(str(copy), frozenset(WeightFormat), "v"))

    (copy / "chat_template.jinja").write_text("alone")
    assert text() == "alone"
    (copy / "chat_template.jinja").unlink()
    several = [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]
    (copy / "tokenizer_config.json").write_text(json.dumps({"chat_template": several}))
    assert text() == "d"
    (copy / "tokenizer_config.json").write_text("{}")
    assert text() is None
