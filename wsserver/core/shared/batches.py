"""Batches of a fleet: whichever gateway is asked goes on with them.

The answers of a batch are in the log that all share, each under a claim of the batch and its index.
So a request that is sent again to another gateway, because the first one died or its client has
moved, is the same batch there: it gets the answers that were begun, and begins those that were not.
It is led by each gateway where somebody follows it; the claims let each item be begun once.

Its client has the answers among its own (`Client.answers`): when it is gone for good, whoever
clears it stops them. What was not begun by then never is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Coroutine
from functools import partial

from wsserver.core.answers import Answers
from wsserver.core.ask import Answer, Claim
from wsserver.core.batches import Batch, Batches
from wsserver.core.ids import new_id
from wsserver.core.limits import Limits
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.shared.led import store_away
from wsserver.core.shared.ports import Repeats
from wsserver_protocol.errors import ErrorCode, WireError
from wsserver_protocol.lifecycle import StopReason

ITEM = b"item"
"""The fingerprint of an item: its batch and index say all."""


class SharedBatches(Batches):
    """The batches that somebody follows here, or has asked for here.

    Args:
        answers: Makes the items.
        limits: As for `Batches`.
        repeats: What requests became.
    """

    is_shared = True

    def __init__(self, answers: Answers, limits: Limits, repeats: Repeats) -> None:
        super().__init__(answers, limits)
        self._repeats = repeats
        self._outcomes: dict[str, bytes] = {}  # what the requests of batches became, by batchId

    def claim_id(self, batch: Batch, claim: Claim) -> None:
        batch.claim = claim
        batch.on_end.append(self._settle)

    def let_go(self, batch: Batch) -> None:
        """Leave it to others, unless somebody here follows it.

        What is in the log goes on. What is not yet is withdrawn: it would be for nobody.
        """
        if batch.watchers or batch.is_ended:
            return
        if batch.claim is None:  # nobody can ask for it again
            self.stop(batch, StopReason.DISCONNECT, "server")
        else:
            self._let_go(batch)

    def stop_all(self, reason: StopReason) -> None:
        """This process ends: what it began goes on without it, for those who ask again."""
        for batch in list(self._batches.values()):
            if batch.claim is None:
                self.stop(batch, reason, "server")
            else:
                self._let_go(batch)

    async def _admit(self, batch: Batch, admission: Coroutine[None, None, None]) -> None:
        await super()._admit(batch, self._pass(batch, admission))

    async def _pass(self, batch: Batch, admission: Coroutine[None, None, None]) -> None:
        """Charge a batch, unless it was charged before: then it only goes on.

        Raises:
            WireError: If it is refused.
        """
        claim = batch.claim
        own = f"{batch.batch_id} {new_id('req')}".encode()  # another one each time it is sent
        try:
            if claim is not None:
                became = await self._repeats.claim(*claim, own)
                self._outcomes[batch.batch_id] = became.outcome
                if became.outcome != own:
                    admission.close()
                    return
            await admission
        except StoreUnavailable:
            admission.close()
            raise store_away() from None
        except WireError as error:
            admission.close()
            if claim is not None and error.code is not ErrorCode.DUPLICATE_REQUEST:
                self._repeats.release(claim.identity_key, claim.request_id, own)
            raise

    def _follow(self, batch: Batch, index: int, answer: Answer) -> None:
        super()._follow(batch, index, answer)
        batch.on_item(answer)
        if batch.claim is not None:
            self._answers.claim_id(answer, Claim(batch.batch_id, str(index), ITEM))
            answer.on_replaced = partial(self._replaced, batch, index)

    def _replaced(self, batch: Batch, index: int, earlier: Answer) -> None:
        """The item was begun before, perhaps elsewhere."""
        if batch.is_ended:
            return
        super()._follow(batch, index, earlier)
        batch.on_item(earlier)
        if earlier.record.is_ended:
            self._item_ended(batch, index, earlier)
        elif batch.stop is not None:
            self._answers.stop(earlier, *batch.stop)

    def _let_go(self, batch: Batch) -> None:
        batch.is_elsewhere = True
        batch.next_index = batch.total
        gone = WireError(ErrorCode.CANCELLED, "Another server goes on with this batch.")
        for answer in list(batch.running.values()):
            if answer.is_held and answer.claim is None:  # it waits for a place
                self._answers.refuse(answer, gone)
        self._ended(batch)

    def _settle(self, batch: Batch) -> None:
        """From now on its id is remembered for the retention."""
        outcome = self._outcomes.pop(batch.batch_id, None)
        is_over = batch.refusal is None and not batch.is_elsewhere
        if batch.claim is not None and outcome is not None and is_over:
            identity_key, request_id, _ = batch.claim
            self._repeats.settle(identity_key, request_id, outcome, batch.batch_id.encode())


def batch_name(identity_key: str, request_id: str) -> str:
    """The id of what an identity asks for under a requestId: the same wherever it asks."""
    named = f"{len(identity_key)}:{identity_key}{request_id}".encode()
    return f"bat_{hashlib.blake2b(named, digest_size=12).hexdigest()}"
