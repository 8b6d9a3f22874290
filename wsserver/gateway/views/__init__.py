"""How answers and batches look to one connection: frames made from a cursor, on demand.

A view is the whole state of "this connection follows that answer": an integer for the text, the
last place in line that was told, and whether the opening was sent. It makes exactly one opening,
then pieces that join without a gap, then exactly one terminal event.
"""

from wsserver.gateway.views.audience import Audience, Audiences
from wsserver.gateway.views.batch import BatchView
from wsserver.gateway.views.generation import GenerationView
from wsserver.gateway.views.openings import snapshot, started
from wsserver.gateway.views.stream import Opening, StreamView

__all__ = [
    "Audience",
    "Audiences",
    "BatchView",
    "GenerationView",
    "Opening",
    "StreamView",
    "snapshot",
    "started",
]
