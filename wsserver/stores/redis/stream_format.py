"""The keys of one answer, what stands under them, and what its bells say.

All keys carry the answer's hash tag, ``{g:<streamId>}``, so that each step is atomic in a cluster.

| key | type | holds |
|---|---|---|
| ``…:m`` | hash | the answer without its text, see below |
| ``…:t`` | string | its text, UTF-8 |
| ``…:p`` | list | log probabilities, only if asked for: ``<end offset>|`` and MessagePack |
| ``…:v`` | sorted set | nodes where someone looks at it, by the time (ms) until which we know |
| ``…:x`` | string | there if it must not begin: its maker was taken for dead; alone, for a day |

| field | holds |
|---|---|
| ``fence``, ``writer`` | the newest claim's number, and who made it |
| ``claims`` | of all fences ``<writer>:<length of the text then>``, between commas, 1 first |
| ``state`` | queued, running, ended |
| ``tokens`` | of the text |
| ``cancel``, ``cancelled_by`` | the first end that was asked for (MessagePack), and who asked |
| | or, from its seal on, the end that its writer has decided |
| ``ending`` | how it ended (MessagePack) |
| ``model``, ``meta`` | its model, and what else its creator knew, opaque here |
| ``attempts`` | claims that were given back |
| ``lease`` | for how long (ms) its asker is believed to be there; absent: it goes on without |
| ``asked`` | until when (ms) he is believed to be; 0: he is gone for good |
| ``alive`` | when (ms) its keys' time is next prolonged |

A living answer's keys last an hour from the last sign of life, prolonged at most once a minute; an
ended one's last for the retention, and 15 s at least.

Bells come at ``wsserver:b:{g:<streamId>}``: a letter and fields between bars, the last one raw.

| bell | says |
|---|---|
| ``A|fence|offset|tokens|n|…`` | text was added: n bytes of log probabilities, then the text |
| ``C|fence|base|state|writer`` | a new claim, or (queued) a claim that was given back |
| ``E|fence|total|ending`` | it has ended |
| ``X|ending`` | an end was asked for |
| ``R|`` | its writer gave back what Redis had lost: look |

C and X come at ``wsserver:b:{g:<streamId>}:w`` as well. Its writer listens there, and does not get
back all that it writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from wsserver.core.engine import TokenLogprob
from wsserver.core.streams.doorbells import Appended, Claimed, Doorbell, Ended, Reading
from wsserver.core.streams.record import Ending
from wsserver.stores.redis.bells import PREFIX
from wsserver_protocol.lifecycle import StreamState

Logprobs = list[tuple[int, tuple[TokenLogprob, ...]]]
"""Byte offset at which a piece ended, and its tokens' entries."""

_endings = msgspec.msgpack.Decoder(Ending)
_logprobs = msgspec.msgpack.Decoder(Logprobs)


class Rung(NamedTuple):
    """A bell, and what came with it that a `Doorbell` does not have."""

    bell: Doorbell
    logprobs: Sequence[tuple[int, tuple[TokenLogprob, ...]]] = ()
    writer: str = ""  # of a claim


class Asked(NamedTuple):
    """A bell: an end was asked for."""

    ending: Ending


class Restored(NamedTuple):
    """A bell: the log has again what it had lost."""


class Look(NamedTuple):
    """The log at one moment, with what a `Reading` does not have."""

    reading: Reading
    claims: str
    logprobs: Logprobs
    cancel: Ending | None
    model_id: str
    meta: bytes


LEAST_KEPT_SECONDS = 15.0
"""Ended answers are kept for so long at least: a mirror that missed the end must still find it."""


def kept_ms(retention: float) -> int:
    """Milliseconds for which an ended answer is kept, where ``retention`` seconds are wished."""
    return round(max(retention, LEAST_KEPT_SECONDS) * 1000)


def stream_keys(stream_id: str) -> list[str]:
    """The keys of an answer, in the order of the scripts."""
    return [f"wsserver:{{g:{stream_id}}}:{letter}" for letter in "mtpv"]


def beginning_keys(stream_id: str) -> list[str]:
    """The keys of an answer's beginning: those, and the one that bars it."""
    return [*stream_keys(stream_id), f"wsserver:{{g:{stream_id}}}:x"]


def channel(stream_id: str) -> str:
    """Where its bells come."""
    return f"{PREFIX}:{{g:{stream_id}}}"


def writer_channel(stream_id: str) -> str:
    """Where those of its bells come that its writer must hear."""
    return f"{channel(stream_id)}:w"


def pack_ending(ending: Ending) -> bytes:
    return msgspec.msgpack.encode(ending)


def ending_of(data: bytes) -> Ending:
    return _endings.decode(data)


def pack_logprobs(logprobs: Logprobs) -> bytes:
    """Empty for none."""
    return msgspec.msgpack.encode(logprobs) if logprobs else b""


def logprobs_of(entries: list[bytes]) -> Logprobs:
    """All of a list as Redis keeps it."""
    return [piece for entry in entries for piece in _logprobs.decode(entry.partition(b"|")[2])]


def bases_of(claims: str) -> tuple[int, ...]:
    """The text's length at each claim."""
    return tuple(int(claim.rpartition(":")[2]) for claim in claims.split(",") if claim)


def bell_of(data: bytes) -> Rung | Asked | Restored:
    """What a bell says."""
    kind, _, rest = data.partition(b"|")
    match kind:
        case b"A":
            fence, offset, tokens, size, tail = rest.split(b"|", 4)
            cut = int(size)
            appended = Appended(int(fence), int(offset), tail[cut:], int(tokens))
            return Rung(appended, _logprobs.decode(tail[:cut]) if cut else [])
        case b"C":
            fence, base, state, writer = rest.split(b"|")
            claim = Claimed(int(fence), int(base), StreamState(state.decode()))
            return Rung(claim, writer=writer.decode())
        case b"E":
            fence, total, ending = rest.split(b"|", 2)
            return Rung(Ended(int(fence), int(total), ending_of(ending)))
        case b"X":
            return Asked(ending_of(rest))
        case b"R":
            return Restored()
        case _:
            raise ValueError(f"no bell: {data[:40]!r}")


def look_of(reply: list[Any], offset: int) -> Look | None:
    """What the script ``streams/read`` replied when asked from ``offset`` on; None: no answer."""
    if reply[0] != b"ok":
        return None
    (fence, claims, state, tokens, ending, cancel, model, meta), length, data, logprobs = reply[1:]
    reading = Reading(
        fence=int(fence),
        bases=bases_of(claims.decode()),
        state=StreamState(state.decode()),
        length=length,
        tokens=int(tokens),
        ending=None if ending is None else ending_of(ending),
        offset=offset,
        data=data,
    )
    return Look(
        reading=reading,
        claims=claims.decode(),
        logprobs=logprobs_of(logprobs),
        cancel=None if cancel is None else ending_of(cancel),
        model_id=model.decode(),
        meta=meta,
    )
