"""Answers as text: what was said so far, who watches, how it ended.

`transcript` is the text with its token marks, `record` one answer's whole state, `log` the port
through which a runner writes it. `doorbells`, `follower`, `mirror` and `writer` keep a record true
whose log lives in another process; a single process does without them. Nothing here knows a socket
or an engine.
"""

from wsserver.core.streams.log import Claim, Fenced, RunnerLog, StreamLog
from wsserver.core.streams.record import Ending, EndKind, Facts, StreamRecord, Watcher
from wsserver.core.streams.transcript import Piece, Transcript

__all__ = [
    "Claim",
    "EndKind",
    "Ending",
    "Facts",
    "Fenced",
    "Piece",
    "RunnerLog",
    "StreamLog",
    "StreamRecord",
    "Transcript",
    "Watcher",
]
