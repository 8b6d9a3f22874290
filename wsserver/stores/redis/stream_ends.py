"""Ends of answers that Redis may have lost.

Such an answer would be one that runs for ever, with nobody who writes it; or, if the claim on its
job came back with the lost second, another worker would go on with a text that was whole.
"""

from __future__ import annotations

from functools import partial

from wsserver.stores.redis.lately import Lately
from wsserver.stores.redis.link import RedisLink
from wsserver.stores.redis.stream_writing import Writing


def written_ends(link: RedisLink, retention: int) -> Lately[Writing]:
    """Remembers ends that were written; ended answers are kept for ``retention`` milliseconds."""
    return Lately(link, partial(_end_again, link, retention))


async def _end_again(link: RedisLink, retention: int, writing: Writing) -> None:
    """Have the end be there, and what leads to it; unless another one has gone on since."""
    writer = writing.writer
    writer.reopen()
    while (operation := writer.next_operation()) is not None:
        reply = await link.call(*writing.call_for(operation, retention))
        if not isinstance(reply, int) and reply[0] in (b"gone", b"behind"):
            operation = writer.rest
            reply = await link.call(*writing.call_to_restore())
        writing.replied(operation, reply)
