"""What a client may name as a model's source: nothing that lies outside of the folder."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tiny_folders import write_folder
from wsserver.core.models.sources import ModelSource, SourcePolicy
from wsserver.engines.catalog import engine_for
from wsserver_protocol.errors import ErrorCode, WireError


def choose(source: str) -> str | None:
    """The engine of a source, None if there is none."""
    try:
        return engine_for(source)
    except LookupError:
        return None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder with files, a folder and links out of it; a secret lies beside it."""
    models = tmp_path / "models"
    (models / "sub" / "deep").mkdir(parents=True)
    for path in (models / "a.gguf", models / "sub" / "b.gguf", tmp_path / "secret.gguf"):
        path.write_bytes(b"GGUF")
    (models / "out.gguf").symlink_to(tmp_path / "secret.gguf")
    (models / "up").symlink_to(tmp_path)
    (models / "in.gguf").symlink_to(models / "sub" / "b.gguf")
    (models / "loop").symlink_to(models / "loop")
    (models / "dangling.gguf").symlink_to(models / "nothing.gguf")
    return models


@pytest.fixture
def policy(folder: Path) -> SourcePolicy:
    """A policy with that folder, the synthetic scheme and one configured model."""
    demo = ModelSource("demo", "demo.gguf", "llamacpp", "/opt/demo.gguf", {"slots": 2}, "A demo.")
    return SourcePolicy(
        models_dir=folder,
        allowed_schemes=frozenset({"synthetic"}),
        choose_engine=choose,
        configured={"demo": demo},
    )


def test_folder_of_a_model_keeps_its_whole_name(policy: SourcePolicy, folder: Path) -> None:
    """What follows a dot in a folder's name is no suffix; its files choose the engine."""
    write_folder(folder / "Tiny-3.1-8B-6.0bpw")
    source = policy.resolve("Tiny-3.1-8B-6.0bpw", {})
    assert source.id == "Tiny-3.1-8B-6.0bpw"
    assert source.engine in ("exllamav2", "exllamav3")


@pytest.mark.parametrize(
    ("source", "path", "model_id"),
    [
        ("a.gguf", "a.gguf", "a"),
        ("./a.gguf", "a.gguf", "a"),
        ("sub/b.gguf", "sub/b.gguf", "b"),
        ("sub/deep/../b.gguf", "sub/b.gguf", "b"),
        ("in.gguf", "sub/b.gguf", "b"),
    ],
)
def test_files_of_the_folder(
    policy: SourcePolicy, folder: Path, source: str, path: str, model_id: str
) -> None:
    """A path under the folder is taken, its stem is the id, a link counts by where it leads."""
    resolved = policy.resolve(source, {"slots": 1})
    assert resolved.path == str(folder / path)
    assert (resolved.id, resolved.engine, resolved.source) == (model_id, "llamacpp", source)
    assert resolved.settings == {"slots": 1}


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("/etc/passwd", ErrorCode.INVALID_PARAMETERS),
        ("../secret.gguf", ErrorCode.INVALID_PARAMETERS),
        ("sub/../../secret.gguf", ErrorCode.INVALID_PARAMETERS),
        ("out.gguf", ErrorCode.INVALID_PARAMETERS),
        ("up/secret.gguf", ErrorCode.INVALID_PARAMETERS),
        ("up/models/../secret.gguf", ErrorCode.INVALID_PARAMETERS),
        ("", ErrorCode.INVALID_PARAMETERS),
        (".", ErrorCode.INVALID_PARAMETERS),
        ("sub", ErrorCode.INVALID_PARAMETERS),
        ("a.gguf\0.png", ErrorCode.INVALID_PARAMETERS),
        ("http://example.org/a.gguf", ErrorCode.INVALID_PARAMETERS),
        ("FILE:///etc/passwd", ErrorCode.INVALID_PARAMETERS),
        ("hf:x/y", ErrorCode.INVALID_PARAMETERS),
        ("C:\\models\\a.gguf", ErrorCode.INVALID_PARAMETERS),
        ("none.gguf", ErrorCode.MODEL_NOT_FOUND),
        ("dangling.gguf", ErrorCode.MODEL_NOT_FOUND),
        ("loop", ErrorCode.MODEL_NOT_FOUND),
        ("loop/x.gguf", ErrorCode.MODEL_NOT_FOUND),
        ("x" * 5000, ErrorCode.MODEL_NOT_FOUND),
        ("a/" * 3000, ErrorCode.MODEL_NOT_FOUND),
        ("Demo", ErrorCode.MODEL_NOT_FOUND),
    ],
)
def test_everything_else_is_refused(
    policy: SourcePolicy, tmp_path: Path, source: str, code: ErrorCode
) -> None:
    """Outside, unknown or unreadable: an error that names `source` and shows no path."""
    with pytest.raises(WireError) as refused:
        policy.resolve(source, {})
    assert refused.value.code is code
    assert [detail.field for detail in refused.value.details] == ["source"]
    assert str(tmp_path) not in refused.value.message


def test_an_absolute_path_is_refused_even_inside(policy: SourcePolicy, folder: Path) -> None:
    """Where the folder lies is nobody's business, so its full path is no way in."""
    with pytest.raises(WireError) as refused:
        policy.resolve(str(folder / "a.gguf"), {})
    assert refused.value.code is ErrorCode.INVALID_PARAMETERS


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(
    parts=st.lists(
        st.sampled_from(["..", ".", "", "sub", "deep", "up", "models", "secret.gguf", "a.gguf"])
        | st.text(max_size=5),
        max_size=6,
    ),
    leading=st.sampled_from(["", "/", "./", "//", "~", " "]),
)
def test_no_path_leads_out(
    policy: SourcePolicy, folder: Path, parts: list[str], leading: str
) -> None:
    """Whatever is put together, what is taken lies in the folder, really."""
    try:
        resolved = policy.resolve(leading + "/".join(parts), {})
    except WireError:
        return
    if resolved.path is not None:
        assert os.path.realpath(resolved.path).startswith(str(folder) + os.sep)


def test_schemes_and_configured_names(policy: SourcePolicy) -> None:
    """An allowed scheme keeps its source; a configured model its settings, the caller's on top."""
    synthetic = policy.resolve("synthetic:?tps=5", {})
    assert (synthetic.id, synthetic.engine, synthetic.path) == ("synthetic", "synthetic", None)
    demo = policy.resolve("demo", {"slots": 4, "ctx": 8})
    assert (demo.id, demo.path, demo.description) == ("demo", "/opt/demo.gguf", "A demo.")
    assert demo.settings == {"slots": 4, "ctx": 8}
    assert policy.spec(demo, "demo-2").settings == {"slots": 4, "ctx": 8}


def test_without_a_folder_no_file_is_loaded() -> None:
    """Where the operator named no folder, only names and schemes are left."""
    policy = SourcePolicy(models_dir=None, allowed_schemes=frozenset(), choose_engine=choose)
    for source in ("a.gguf", "synthetic:", "/a.gguf"):
        with pytest.raises(WireError) as refused:
            policy.resolve(source, {})
        assert refused.value.code is ErrorCode.INVALID_PARAMETERS


def remote_policy(schemes: frozenset[str] = frozenset()) -> SourcePolicy:
    """A policy with a configured model behind a server, whose key is the operator's."""
    settings = {"api_key_env": "KEY", "slots": 4}
    remote = ModelSource("big", "openai:http://10.0.0.7/v1", "openai", None, settings)
    return SourcePolicy(
        models_dir=None,
        allowed_schemes=schemes,
        choose_engine=lambda source: "openai",
        configured={"big": remote},
        operator_settings={"openai": frozenset(("endpoints", "api_key_env"))},
    )


def test_operators_settings_are_not_a_clients() -> None:
    """Nobody sends the operator's key to an address of their own; other settings are theirs."""
    policy = remote_policy()
    assert policy.resolve("big", {"slots": 1}).settings == {"api_key_env": "KEY", "slots": 1}
    for given_keys in ({"endpoints": ["http://evil/v1"]}, {"slots": 1, "api_key_env": "PATH"}):
        with pytest.raises(WireError) as caught:
            policy.resolve("big", given_keys)
        assert caught.value.code is ErrorCode.INVALID_PARAMETERS
        assert caught.value.details[0].field in ("options.endpoints", "options.api_key_env")
    open_policy = remote_policy(frozenset(("openai",)))
    assert open_policy.resolve("openai:http://x/v1", {}).source == "openai:http://x/v1"
    with pytest.raises(WireError):
        open_policy.resolve("openai:http://x/v1", {"api_key_env": "AWS_SECRET_ACCESS_KEY"})


def test_clients_name_no_address_by_default() -> None:
    """A scheme that is not allowed is refused, whatever engine would take it."""
    with pytest.raises(WireError) as caught:
        remote_policy(frozenset(("synthetic",))).resolve("openai:http://169.254.169.254/v1", {})
    assert caught.value.code is ErrorCode.INVALID_PARAMETERS
    assert "169.254" not in str(caught.value)


def test_files_that_settings_name_lie_under_the_folder_too(
    policy: SourcePolicy, folder: Path
) -> None:
    """A path in a setting becomes the file of the model folder; other keys stay as they are."""
    bounded = replace(policy, file_settings={"llamacpp": frozenset(("draft_model", "lora"))})
    given = {
        "draft_model": "sub/b.gguf",
        "lora": [{"path": "in.gguf", "scale": 0.5}],
        "chat_template": "a.gguf",
    }
    resolved = bounded.resolve("a.gguf", given)
    assert resolved.settings == {
        "draft_model": str(folder / "sub" / "b.gguf"),
        "lora": [{"path": str(folder / "sub" / "b.gguf"), "scale": 0.5}],
        "chat_template": "a.gguf",
    }


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"draft_model": "../secret.gguf"}, "options.draft_model"),
        ({"draft_model": "out.gguf"}, "options.draft_model"),
        ({"lora": [{"path": "a.gguf"}, {"path": "/etc/passwd"}]}, "options.lora[1].path"),
        ({"lora": {"path": "up/secret.gguf"}}, "options.lora.path"),
    ],
)
def test_no_setting_leads_out_of_the_folder(
    policy: SourcePolicy, folder: Path, settings: dict[str, object], name: str
) -> None:
    """Neither dots nor links nor absolute paths; the error names the setting and no path."""
    bounded = replace(policy, file_settings={"llamacpp": frozenset(("draft_model", "lora"))})
    for source in ("a.gguf", "demo"):
        with pytest.raises(WireError) as caught:
            bounded.resolve(source, settings)
        assert caught.value.code is ErrorCode.INVALID_PARAMETERS
        assert [detail.field for detail in caught.value.details] == [name]
        assert str(folder) not in caught.value.message
    with pytest.raises(WireError) as caught:
        bounded.resolve("a.gguf", {"draft_model": "nothing.gguf"})
    assert caught.value.code is ErrorCode.MODEL_NOT_FOUND
    closed = replace(bounded, models_dir=None)
    with pytest.raises(WireError, match="no model folder"):
        closed.resolve("demo", {"draft_model": "a.gguf"})
