"""The reader of GGUF headers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tiny_models import SPECIALS, TinyModel, TinyModels
from wsserver.engines.llamacpp.gguf import GgufError, Metadata, has_llguidance, read_metadata


@pytest.fixture(scope="module")
def model(tiny_models: TinyModels) -> Path:
    """A whole file."""
    return tiny_models.path(TinyModel(mode="cycle", context=2048))


def test_header_tells_the_models_shape(model: Path) -> None:
    """Names, numbers and the size of the vocabulary are read; arrays are not kept."""
    metadata = read_metadata(str(model))
    assert metadata.text("general.name") == "tiny"
    assert metadata.of_model("context_length") == 2048
    assert metadata.of_model("block_count") == 1
    assert metadata.number("tokenizer.ggml.bos_token_id") == 1
    assert metadata.number("general.name") is None
    assert metadata.text("llama.block_count") is None
    assert metadata.of_model("nothing") is None
    assert metadata.vocabulary > 300
    assert "tokenizer.ggml.tokens" not in metadata.values


def test_control_tokens_are_found(model: Path) -> None:
    """The texts that steer a conversation are known, those of words are not."""
    steering = read_metadata(str(model)).steering_tokens
    assert set(SPECIALS) - {"<unk>"} <= set(steering)
    assert "fox" not in steering


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a GGUF"),
        (b"GGML" + bytes(40), "not a GGUF"),
        (b"GGUF" + (99).to_bytes(4, "little") + bytes(16), "version 99"),
        (b"GGUF" + (3).to_bytes(4, "little") + b"\xff" * 16, "damaged"),
        (b"GGUF" + (3).to_bytes(4, "little") + bytes(8) + (1).to_bytes(8, "little"), "damaged"),
    ],
)
def test_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    """What can't be a model is told as such."""
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(GgufError, match=reason):
        read_metadata(str(path))


def test_missing_file_is_told_without_its_path(tmp_path: Path) -> None:
    """The reason names no path."""
    with pytest.raises(GgufError, match="No such file") as caught:
        read_metadata(str(tmp_path / "x.gguf"))
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(GgufError, match="can't be read"):
        read_metadata(str(tmp_path))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.integers(0, 3000), st.binary(min_size=1, max_size=8)), min_size=1))
def test_damaged_header_never_fails_otherwise(
    model: Path, tmp_path: Path, damages: list[tuple[int, bytes]]
) -> None:
    """Whatever bytes a header has, it is read or refused, in little time and memory."""
    content = bytearray(model.read_bytes()[:20_000])
    for place, data in damages:
        content[place : place + len(data)] = data
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    try:
        read_metadata(str(path))
    except GgufError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"tokenizer.ggml.model": "gpt2"}, True),
        ({"tokenizer.ggml.model": "llama"}, False),
        ({"tokenizer.ggml.model": "llama", "tokenizer.ggml.add_space_prefix": False}, True),
        ({"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.add_space_prefix": True}, False),
    ],
)
def test_leading_space_of_a_tokenizer_forbids_llguidance(
    values: dict[str, str | bool], expected: bool
) -> None:
    """What a file says of its tokenizer, or the kind's default, decides."""
    assert has_llguidance(Metadata(dict(values), 0, ())) is expected
