"""What a server's errors become."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wsserver.engines.openai import faults


def of(status: int, body: Any = None, retry_after: str | None = None) -> faults.Fault:
    """The fault of an answer."""
    content = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
    return faults.of_status(status, content, retry_after, ("sk-123",))


LLAMA = {
    "error": {
        "code": 400,
        "message": "request (1521 tokens) exceeds the available context size (512 tokens)",
        "type": "exceed_context_size_error",
    }
}
VLLM = {
    "error": {
        "message": "This model's maximum context length is 4096 tokens. However, you requested"
        " 5000 tokens (4000 in the messages, 1000 in the completion).",
        "type": "BadRequestError",
        "code": 400,
    }
}
SGLANG = {
    "object": "error",
    "message": "The input (9000 tokens) is longer than the model's context length (8192 tokens).",
    "type": "BadRequestError",
    "code": 400,
}


@pytest.mark.parametrize(
    ("status", "body", "code", "retryable", "again", "counts"),
    [
        (400, LLAMA, "context_length_exceeded", False, False, False),
        (400, VLLM, "context_length_exceeded", False, False, False),
        (400, SGLANG, "context_length_exceeded", False, False, False),
        (400, {"error": {"message": "bad seed"}}, "invalid_parameters", False, False, False),
        (422, {"detail": "no"}, "invalid_parameters", False, False, False),
        (401, {"error": "key"}, "generation_failed", False, False, False),
        (403, None, "generation_failed", False, False, False),
        (404, VLLM["error"] | {"message": "no model"}, "model_not_found", False, False, False),
        (413, None, "payload_too_large", False, False, False),
        (429, None, "overloaded", True, True, False),
        (500, None, "generation_failed", True, False, True),
        (502, b"<html>", "overloaded", True, True, True),
        (503, {"error": {"message": "Loading model"}}, "overloaded", True, True, True),
        (504, None, "overloaded", True, True, True),
        (302, None, "generation_failed", False, False, False),
    ],
)
def test_status_tells_code_retry_and_whose_fault_it_is(
    status: int, body: Any, code: str, retryable: bool, again: bool, counts: bool
) -> None:
    """The table of statuses."""
    fault = of(status, body)
    assert fault.code == code
    assert (fault.retryable, fault.may_retry, fault.is_servers) == (retryable, again, counts)


def test_client_reads_no_secret_and_no_address() -> None:
    """A server that repeats key, path and address in its words is not quoted whole."""
    words = "key sk-123 for /home/me/models/x.gguf at http://10.0.0.7:8000/v1 is wrong"
    fault = of(400, {"error": {"message": words}})
    assert "wrong" in fault.message
    for secret in ("sk-123", "/home/me", "10.0.0.7"):
        assert secret not in fault.message
    assert "sk-123" not in fault.detail
    assert "sk-1" not in of(401, {"error": {"message": "bad key sk-1…"}}).message


def test_long_words_are_cut() -> None:
    """A page of text is no error message."""
    assert len(of(400, {"message": "x" * 10_000}).message) < 400


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("3", 3.0), ("0.5", 0.5), (None, None), ("-1", None), ("nan", None), ("Wed, 21 Oct", None)],
)
def test_retry_after_is_seconds_or_nothing(header: str | None, seconds: float | None) -> None:
    """A date is left unread."""
    assert of(429, retry_after=header).retry_after == seconds


def test_error_within_a_stream_is_its_own_status() -> None:
    """A server that finds out after its 200 says the status in the event."""
    assert faults.of_event(LLAMA["error"], ()).code == "context_length_exceeded"
    long = {"message": "Prompt exceeds the context length of 512", "type": "error"}
    assert faults.of_event(long, ()).code == "context_length_exceeded"
    assert faults.of_event({"message": "boom"}, ()).is_servers
    assert faults.of_event("boom", ()).code == "generation_failed"
