"""Answers as text: what was said so far, who watches, how it ended.

`transcript` is the text with its token marks, `record` one answer's whole state, `log` the port
through which a runner writes it. Nothing here knows a socket or an engine.
"""

from wsserver.core.streams.log import Claim, Fenced, StreamLog
from wsserver.core.streams.record import Ending, EndKind, StreamRecord, Watcher
from wsserver.core.streams.transcript import Piece, Transcript

__all__ = [
    "Claim",
    "EndKind",
    "Ending",
    "Fenced",
    "Piece",
    "StreamLog",
    "StreamRecord",
    "Transcript",
    "Watcher",
]
