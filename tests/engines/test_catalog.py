"""Which engines there are and which sources are theirs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from wsserver.engines import catalog


@pytest.mark.parametrize(
    ("source", "engine"),
    [
        ("synthetic:", "synthetic"),
        ("synthetic:?tps=1", "synthetic"),
        ("models/small.gguf", "llamacpp"),
        ("SMALL.GGUF", "llamacpp"),
        ("openai:http://127.0.0.1:8000/v1?model=m", "openai"),
    ],
)
def test_source_belongs_to_its_engine(source: str, engine: str) -> None:
    """A .gguf file is llama.cpp's, synthetic: the synthetic engine's."""
    assert catalog.engine_for(source) == engine


@pytest.mark.parametrize("source", ["", "model.bin", "https://x/y", "gguf", "synthetic"])
def test_source_of_no_engine_is_told(source: str) -> None:
    """Anything else belongs to nobody."""
    with pytest.raises(LookupError, match="no engine"):
        catalog.engine_for(source)


def test_probe_of_a_present_engine_finds_nothing() -> None:
    """An engine without requirements can run."""
    assert catalog.probe("synthetic") is None


def test_probe_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing package is named, with the way to get it."""
    lacking = catalog.ENTRIES["llamacpp"]
    entry = catalog.Entry(
        name="x",
        factory="x:X",
        owns=lambda source: False,
        unsupported_options=frozenset(),
        requires=("not_a_module_of_anyone",),
        extra=lacking.extra,
    )
    monkeypatch.setitem(catalog.ENTRIES, "x", entry)
    assert catalog.probe("x") == (
        "not_a_module_of_anyone not installed: pip install 'wsserver[server,cpu]'"
    )


def test_probe_names_the_instructions_that_the_processor_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A wheel built for a newer processor is told before its child dies of it."""
    monkeypatch.setattr(catalog, "_cpu_flags", lambda: frozenset(("avx2", "fma", "bmi2")))
    entry = catalog.Entry(
        name="x",
        factory="x:X",
        owns=lambda source: False,
        unsupported_options=frozenset(),
        cpu_flags=frozenset(("avx2", "f16c")),
    )
    monkeypatch.setitem(catalog.ENTRIES, "x", entry)
    assert catalog.probe("x") == "this processor lacks f16c"


def test_parent_imports_no_engine() -> None:
    """The host's side never imports what may take seconds or a GPU to import."""
    code = (
        "import sys; import wsserver.engines.host as host, wsserver.engines.catalog as c;"
        "[c.probe(name) for name in c.ENTRIES];"
        "print(sorted({'xllamacpp', 'llguidance', 'aiohttp', 'wsserver.engines.synthetic',"
        " 'wsserver.engines.llamacpp'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
