"""A connection's view of a batch."""

from __future__ import annotations

from collections.abc import Callable

from wsserver.core.batches import Batch
from wsserver.gateway.outbox import Outbox
from wsserver.gateway.views.base import BaseView
from wsserver_protocol import events
from wsserver_protocol.codec import Encoding
from wsserver_protocol.errors import WireError, error_event


class BatchView(BaseView):
    """One connection follows a batch: start, an item each as it ends, the summary."""

    __slots__ = ("_is_open", "_on_done", "_told", "batch")

    def __init__(
        self,
        batch: Batch,
        outbox: Outbox,
        encoding: Encoding,
        *,
        request_id: str | None,
        on_done: Callable[[BatchView], object],
    ) -> None:
        super().__init__(outbox, encoding, request_id)
        self.batch = batch
        self._on_done = on_done
        self._is_open = False
        self._told = 0  # outcomes
        batch.watchers.add(self)
        self.wake()

    def next_frame(self, now: float) -> bytes | None:
        batch = self.batch
        if batch.refusal is not None:
            return self._refused(batch.refusal)
        if batch.is_held or batch.is_elsewhere:
            return None
        if not self._is_open:
            self._is_open = True
            return self._encode(
                events.BatchStart(
                    request_id=self.request_id, batch_id=batch.batch_id, total=batch.total
                )
            )
        if self._told < len(batch.outcomes):
            outcome = batch.outcomes[self._told]
            self._told += 1
            error = outcome.error
            return self._encode(
                events.BatchItem(
                    request_id=self.request_id,
                    batch_id=batch.batch_id,
                    index=outcome.index,
                    result=outcome.result,
                    error=None if error is None else error.message,
                    code=None if error is None else error.code.value,
                )
            )
        if not batch.is_ended or self.is_done:
            return None
        self.close()
        self._on_done(self)
        return self._encode(
            events.BatchComplete(
                request_id=self.request_id, batch_id=batch.batch_id, summary=batch.summary()
            )
        )

    def _refused(self, error: WireError) -> bytes | None:
        if self.is_done:
            return None
        self.close()
        self._on_done(self)
        return self._encode(error_event(error, "batch", self.request_id))

    def close(self) -> None:
        """Follow no longer. Idempotent."""
        self.is_done = True
        self.batch.watchers.discard(self)
        self._outbox.drop(self)
