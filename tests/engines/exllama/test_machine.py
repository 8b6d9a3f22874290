"""What is missing for a GPU engine, in words."""

from __future__ import annotations

import pytest

from wsserver.engines.exllama.machine import (
    Facts,
    first_words,
    is_device_fault,
    look_around,
    what_is_missing,
)

WHOLE = Facts("2.11.0", "CUDA 13.0", gpus=1, free_memory=1, has_kernels=True)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (Facts(None), "pip install 'wsserver[exllamav2]'"),
        (Facts("2.11.0+cpu"), "built for processors only"),
        (Facts("2.11.0", "CUDA 13.0"), "sees no usable GPU"),
        (Facts("2.11.0", "CUDA 13.0", 1, 1, False, ("nvcc",)), "there is no nvcc to compile"),
    ],
)
def test_missing_piece_is_named_with_its_remedy(facts: Facts, words: str) -> None:
    """The first thing that is missing is told, from torch to the compiler."""
    assert words in (what_is_missing("exllamav2", facts) or "")


def test_compiled_kernels_need_no_compiler() -> None:
    """With everything there nothing is said, and compiled kernels make up for no compiler."""
    assert what_is_missing("exllamav2", WHOLE) is None
    assert what_is_missing("x", Facts("2", "CUDA 13.0", 1, 1, True, ("nvcc",))) is None
    assert what_is_missing("x", Facts("2", "CUDA 13.0", 1, 1, False)) is None


def test_looking_around_never_fails_without_torch() -> None:
    """On any machine the look itself gives facts, and those give words or nothing."""
    facts = look_around("exllamav2_ext")
    assert facts.torch is None or facts.torch[0].isdigit()


class AcceleratorError(RuntimeError):
    """Of the name that torch gives its own."""


class OutOfMemoryError(RuntimeError):
    """Of the name that torch gives its own."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AcceleratorError("an illegal memory access was encountered"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), True),
        (RuntimeError("NCCL failure"), True),
        (OutOfMemoryError("CUDA out of memory"), False),
        (AssertionError("Filter excluded all tokens"), False),
        (ValueError("bad"), False),
    ],
)
def test_faults_of_the_device_are_told_from_others(error: Exception, expected: bool) -> None:
    """A lost GPU ends the process; want of memory or a bad job does not."""
    assert is_device_fault(error) is expected


def test_words_of_an_exception_are_short_and_without_paths() -> None:
    """One line, no path of this host; an exception without words is named."""
    assert first_words(RuntimeError("no /usr/lib/x/torch.so\nlong tail")) == "no torch.so"
    assert first_words(IndexError()) == "IndexError"
