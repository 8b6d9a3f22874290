"""Messages and frames between host and child."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsserver.core.engine import (
    ChatMessage,
    Delta,
    EngineJob,
    Failed,
    Finished,
    FinishReason,
    LoadProgress,
    ModelInfo,
    ModelSpec,
    Output,
    Prefilled,
    Sampling,
    TokenLogprob,
)
from wsserver.engines import link

COUNT = st.integers(0, 2**40)
TEXT = st.text(max_size=20)
LOGPROB = st.builds(
    TokenLogprob, TEXT, st.floats(-50, 0), st.tuples(st.tuples(TEXT, st.floats(-50, 0)))
)
OUTPUT = st.one_of(
    st.builds(Prefilled, TEXT, COUNT, COUNT, COUNT),
    st.builds(Delta, TEXT, TEXT, COUNT, st.none() | st.tuples(LOGPROB)),
    st.builds(Finished, TEXT, st.sampled_from(FinishReason), COUNT, COUNT),
    st.builds(Failed, TEXT, TEXT, TEXT, st.booleans()),
)
SPEC = ModelSpec(id="m", engine="synthetic", source="synthetic:", settings={"slots": 3, "x": [1.5]})
JOB = EngineJob(
    job_id="j",
    messages=(ChatMessage(role="user", content="hi", name="Bob"),),
    prior="so far ",
    sampling=Sampling(stop=("a",), logit_bias={"5": -1.0}, json_schema={"type": "object"}),
)
TO_CHILD = [
    link.Load(spec=SPEC, beat_seconds=1.5),
    link.Start(JOB),
    link.Cancel("j"),
    link.Count(request=3, messages=JOB.messages),
    link.Count(request=4, text="hi"),
    link.Close(),
]
TO_HOST = [
    link.Hello(link.VERSION),
    link.Loading(LoadProgress("loading", 0.5, estimated=True)),
    link.Loading(LoadProgress("loading", 0.5, False, 512, 1024, 14, 28)),
    link.Loaded(ModelInfo(name="m", slots=2, context_length=9, unsupported_options=frozenset("a"))),
    link.LoadFailed("why"),
    link.LoadFailed(None),
    link.Counted(3, 17),
    link.CountRefused(4, "why"),
    link.Beat(),
]


def frames_of(*data: bytes) -> list[tuple[int, bytes]]:
    """What a splitter makes of these pieces."""
    splitter = link.FrameSplitter()
    return [frame for piece in data for frame in splitter.feed(piece)]


@pytest.mark.parametrize("message", TO_CHILD)
def test_message_to_the_child_arrives_as_it_was(message: link.ToChild) -> None:
    """Each message of the host comes out of its frame unchanged."""
    ((kind, body),) = frames_of(bytes(link.encode_control(message)))
    assert link.decode_to_child(kind, body) == message


@pytest.mark.parametrize("message", TO_HOST)
def test_message_to_the_host_arrives_as_it_was(message: link.ToHost) -> None:
    """Each message of the child comes out of its frame unchanged."""
    ((kind, body),) = frames_of(bytes(link.encode_control(message)))
    assert link.decode_to_host(kind, body) == message


@given(
    st.lists(st.lists(OUTPUT, max_size=5), max_size=5), st.lists(st.integers(0, 5000), max_size=9)
)
def test_frames_survive_any_cut_of_the_stream(steps: list[list[Output]], cuts: list[int]) -> None:
    """Whatever pieces the bytes arrive in, each step's outputs come out once and in order."""
    data = b"".join(bytes(link.encode_outputs(step)) for step in steps)
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = [data[a:b] for a, b in zip(places, places[1:], strict=False)]
    assert [link.decode_to_host(*frame) for frame in frames_of(*pieces)] == steps


def test_frames_survive_single_bytes() -> None:
    """A header cut in the middle is waited for."""
    data = bytes(link.encode_control(link.Beat()) + link.encode_control(link.Cancel("x")))
    assert len(frames_of(*(bytes([byte]) for byte in data))) == 2


@pytest.mark.parametrize("header", [struct.pack(">BI", 9, 1), struct.pack(">BI", 1, 2**31)])
def test_bad_header_is_refused_before_its_body(header: bytes) -> None:
    """An unknown kind or a length over the bound fails at once; nothing is gathered for it."""
    with pytest.raises(link.LinkError, match="header"):
        link.FrameSplitter().feed(header)


def test_frame_over_the_bound_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer refuses what the reader would."""
    monkeypatch.setattr(link, "MAX_FRAME", 100)
    with pytest.raises(link.LinkError, match="exceeds"):
        link.encode_control(link.Cancel("x" * 200))


@pytest.mark.parametrize("body", [b"\xc1", b"\x80", b"\x93\xa1q\x01\x02", b"\x81\xa1\xff\x01"])
def test_unreadable_body_is_a_link_error(body: bytes) -> None:
    """Bytes that are no message of this version are told as such, on both sides."""
    with pytest.raises(link.LinkError):
        link.decode_to_host(link.CONTROL, body)
    with pytest.raises(link.LinkError):
        link.decode_to_host(link.OUTPUTS, body)
    with pytest.raises(link.LinkError):
        link.decode_to_child(link.CONTROL, body)


def test_outputs_are_not_for_the_child() -> None:
    """The host sends no outputs."""
    with pytest.raises(link.LinkError, match="kind"):
        link.decode_to_child(link.OUTPUTS, b"\x90")
