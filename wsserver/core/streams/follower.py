"""Keeps one process's mirror of an answer true, whose log lives elsewhere.

Doorbells may be lost, doubled, late or in any order; a reading may be lost or overtaken by what
came since. The follower decides what of all this to believe, what to ask, and what the mirror
does next. It keeps integers and the bells that came too early; the text is its owner's, who does
what the steps say, in order. It does no I/O and has no clock; times are the caller's, in seconds.

The rule that keeps the mirror true: *under one fence the log's text only grows along one text*
(a log that lost a tail gets the same bytes again, from its writer's buffer), so bytes under the
mirror's own fence merge by offset alone. Between fences there is one way: cut at the lowest base
of the claims that were missed, before anything of the newer fence is taken.

It relies on the log never to lose a claim or an end that it has told of; text it may lose. A log
that can lose its last writes must have those two safe before it tells them or lets anyone act.

What happens, what follows, and the failure that it answers:

======================================  =========================  ===============================
what comes                              what follows               because
======================================  =========================  ===============================
appended, own fence, joins or overlaps  take what is new           a doubled bell, a writer's retry
appended, own fence, known              nothing                    a doubled or late bell
appended, own fence, past the end       keep it, read              a lost bell, or a late one
appended, older fence                   nothing                    late; what of it survived the
                                                                   takeover is under its base
appended, newer fence                   keep it, read              the claim's bell was lost
claimed, next fence                     cut at its base            a writer died; its tail may be
                                                                   lost, another text may follow
claimed, further fence                  read                       a claim between was missed: its
                                                                   base may be the lower one
claimed, known fence                    nothing                    doubled or late
ended, own fence, whole                 end                        the usual case: no reading
ended, else                             keep it, read              text or a claim was missed
reading, older fence                    nothing                    overtaken by a claim's bell
reading, own fence                      merge by offset            bells may have overtaken it
reading, own fence, shorter             nothing: wait              the log lost a tail; its writer
                                                                   has it and writes it again
reading, newer fence                    cut at the lowest base     claims that were missed
                                        missed, then merge
reading, ended, mirror is longer        cut to the end, end        the lost tail's writer is gone
                                                                   too: nobody can write it again
reading, none (the log has no answer)   nothing                    a log that restarts gets its
                                                                   answers back from their writers
nothing for ``patience``                read                       the last bell was lost; no later
                                                                   one will show the gap
======================================  =========================  ===============================

A reading that was asked for before a bell came does not speak for that bell: if the bell is still
ahead of the mirror then, one more follows. One begun after it does, also when it shows less: the
log has lost what the bell told.
"""

from __future__ import annotations

from typing import NamedTuple

from wsserver.core.streams.doorbells import Appended, Claimed, Doorbell, Ended, Reading
from wsserver.core.streams.record import Ending
from wsserver_protocol.lifecycle import StreamState

MAX_EARLY = 64
"""Bells kept until what comes before them is there; past that the reading brings their text."""


class Read(NamedTuple):
    """Ask the log for a `Reading` from here; give it, or None, to `Follower.read`."""

    number: int  # of the reading, from 1
    offset: int


class Take(NamedTuple):
    """Append to the mirror; it then holds ``tokens`` tokens."""

    data: bytes
    tokens: int


class Rewind(NamedTuple):
    """Cut the mirror, and the cursor of each watcher who is past it: tell those."""

    offset: int


class End(NamedTuple):
    """The mirror is whole. Comes once, last."""

    ending: Ending


Step = Read | Take | Rewind | End


class Cursor(NamedTuple):
    """What a reader says it has: ``offset`` bytes of the text as it was under ``fence``.

    None: it does not know. Nothing tells then which text its bytes are of, so it waits for a fresh
    reading (the fence cannot be newer than that) and is cut at the lowest base of all claims after
    the first. That is never wrong, and costs bytes where a writer was replaced.
    """

    fence: int | None
    offset: int


NOTHING = Cursor(None, 0)


class Follower:
    """Follows one answer.

    Its owner subscribes to the doorbells, waits until that is confirmed and calls `begin`. Then it
    gives each bell to `ring`, each reading to `read`, calls `tick` at ``due``, and does the steps
    that they return before it lets anything else look at the mirror.

    Attributes:
        fence: The newest fence that the mirror has taken in.
        bases: Text length at each claim up to it, of fence 1 first.
        have: Length of the mirror in bytes, once all steps are done.
        taken: Number of the newest reading that was taken in.
        state: Where the answer stands.
        ending: How it ended, None before.
        due: When to call `tick`; None once it has ended, or before `begin`.
    """

    __slots__ = (
        "_again",
        "_begun",
        "_early",
        "_end",
        "_is_reading",
        "_patience",
        "bases",
        "due",
        "ending",
        "fence",
        "have",
        "state",
        "taken",
    )

    def __init__(self, *, patience: float = 2.0) -> None:
        """``patience``: seconds without news after which the log is read."""
        self.fence = 0
        self.bases: list[int] = []
        self.have = 0
        self.state = StreamState.QUEUED
        self.ending: Ending | None = None
        self.due: float | None = None
        self.taken = 0
        self._begun = 0  # readings
        self._patience = patience
        self._early: dict[tuple[int, int], Appended] = {}  # by fence and offset
        self._end: Ended | None = None  # heard of, text or claims before it are missing
        self._is_reading = False
        self._again: tuple[int, int] | None = None  # fence, length: heard since the reading began

    def begin(self, now: float) -> list[Step]:
        """The subscription is confirmed: read everything."""
        return self._read(now)

    def doubt(self, now: float) -> list[Step]:
        """Bells may have been missed (a reconnect), or a reader could not be placed: read.

        Also where a reading is under way: it may have been made before.
        """
        if self.ending is not None:
            return []
        self._again = _BEYOND
        return [] if self._is_reading or self.due is None else self._read(now)

    @property
    def next_reading(self) -> int:
        """The first reading that shows all that was in the log by now: a reader's ``since``."""
        return self._begun + 1

    def tick(self, now: float) -> list[Step]:
        """The watchdog: read if nothing came for ``patience``. Needs no bell to run.

        A reading that did not come in that time is taken for lost; should it come after all,
        it does no harm.
        """
        if self.due is None or now < self.due:
            return []
        return self._read(now)

    def read_failed(self, now: float) -> None:
        """The reading did not succeed. The watchdog asks again, so a log that is down is not
        asked in a tight loop."""
        self._is_reading = False
        self.due = now + self._patience

    def ring(self, bell: Doorbell, now: float) -> list[Step]:
        """A doorbell came."""
        if self.ending is not None:
            return []  # late: an end is final, the log refuses claims and text after it
        steps: list[Step] = []
        match bell:
            case Appended():
                self._hear_text(bell, steps, now)
            case Claimed():
                self._hear_claim(bell, steps, now)
            case Ended():
                self._hear_end(bell, steps, now)
        return steps

    def read(self, number: int, reading: Reading | None, now: float) -> list[Step]:
        """A reading came; None: the log has no such answer (now)."""
        if self.ending is not None:
            return []
        self.taken = max(self.taken, number)
        self._is_reading = False
        self.due = now + self._patience
        steps: list[Step] = []
        is_short = False
        if reading is not None and reading.fence >= self.fence:
            self._adopt(reading, steps)
            is_short = self.have < reading.length
        is_behind = self._again is not None and self._again > (self.fence, self.have)
        if self.ending is None and (is_short or is_behind):
            steps += self._read(now)
        return steps

    def place(self, cursor: Cursor, since: int, *, is_patient: bool = True) -> int | None:
        """Where a reader stands in the mirror, at most its own offset: it drops what is past it.

        None: not known yet. The reader waits and asks again after each change, and its owner has
        called `doubt`. It is not reset: the mirror may be behind, and where the log lost a tail,
        its writer will write it again; a reset would take away text that is right.

        Call it, and let the reader in at what it says, in one step: the fence is compared here
        once, and from then on the reader goes along with each `Rewind`. A reader that has nothing
        left waits for its fence, too: let in earlier it would have text of an older fence and
        take it for its own.

        Args:
            cursor: What the reader has.
            since: `next_reading` as it was when the reader came.
            is_patient: Whether a reader that is ahead also of a fresh reading waits on. If not,
                it is cut to what there is.
        """
        is_fresh = self.ending is not None or self.taken >= since
        if cursor.fence is not None and cursor.fence <= self.fence:
            offset = self._survives(cursor.fence, cursor.offset)
        elif is_fresh or cursor == NOTHING:
            # Of a fence that a fresh reading does not show nothing is known, either.
            offset = self._survives(1, cursor.offset)
        else:
            return None
        if offset <= self.have:
            return offset
        return self.have if self.ending is not None or (is_fresh and not is_patient) else None

    def _survives(self, fence: int, offset: int) -> int:
        """How much of an offset under a fence is in the text under the mirror's fence."""
        return min([offset, *self.bases[fence : self.fence]])

    def _hear_text(self, bell: Appended, steps: list[Step], now: float) -> None:
        if bell.fence < self.fence:
            return
        if bell.fence > self.fence or bell.offset > self.have:
            if len(self._early) < MAX_EARLY:
                self._early[bell.fence, bell.offset] = bell
            self._miss((bell.fence, bell.offset + len(bell.data)), steps, now)
        elif self._take(bell.offset, bell.data, bell.tokens, steps):
            self.due = now + self._patience  # only news calms the watchdog, not repetition
            self._go_on(steps)

    def _hear_claim(self, bell: Claimed, steps: list[Step], now: float) -> None:
        if bell.fence <= self.fence:
            return
        if bell.fence > self.fence + 1:
            self._miss((bell.fence, bell.base), steps, now)
            return
        self.bases.append(bell.base)
        self.fence = bell.fence
        self._cut(bell.base, steps)
        self.state = bell.state
        self.due = now + self._patience
        self._go_on(steps)

    def _hear_end(self, bell: Ended, steps: list[Step], now: float) -> None:
        if bell.fence < self.fence:
            return
        self._end = bell
        self._go_on(steps)
        if self.ending is None:
            self._miss(_BEYOND, steps, now)

    def _adopt(self, reading: Reading, steps: list[Step]) -> None:
        if reading.fence > self.fence:
            self._cut(min(reading.bases[self.fence :]), steps)
            self.bases = list(reading.bases)
            self.fence = reading.fence
        self.state = reading.state
        self._take(reading.offset, reading.data, reading.tokens, steps)
        if reading.ending is not None:
            self._cut(reading.length, steps)
            self._end = Ended(reading.fence, reading.length, reading.ending)
        self._go_on(steps)

    def _take(self, offset: int, data: bytes, tokens: int, steps: list[Step]) -> bool:
        """Take what joins and is new. False if there is none."""
        known = self.have - offset
        if known < 0 or known >= len(data):
            return False
        self.have = offset + len(data)
        steps.append(Take(data[known:], tokens))
        return True

    def _go_on(self, steps: list[Step]) -> None:
        """After any change: take the early bells that now join, and end if that is all."""
        for key in sorted(self._early) if self._early else ():
            fence, offset = key
            if fence > self.fence or (fence == self.fence and offset > self.have):
                break
            bell = self._early.pop(key)
            if fence == self.fence:
                self._take(offset, bell.data, bell.tokens, steps)
        end = self._end
        if end is not None and (end.fence, end.total) == (self.fence, self.have):
            self.ending = end.ending
            self.state = StreamState.ENDED
            self.due = None
            self._early.clear()
            steps.append(End(end.ending))

    def _cut(self, offset: int, steps: list[Step]) -> None:
        if offset < self.have:
            self.have = offset
            steps.append(Rewind(offset))

    def _miss(self, heard: tuple[int, int], steps: list[Step], now: float) -> None:
        """The mirror lacks something: read, or hold the reading that is under way against it."""
        if self._is_reading:
            self._again = max(heard, self._again or heard)
        else:
            steps += self._read(now)

    def _read(self, now: float) -> list[Step]:
        self._is_reading = True
        self._again = None
        self._begun += 1
        self.due = now + self._patience
        return [Read(self._begun, self.have)]


_BEYOND = (1 << 62, 0)  # no reading under way satisfies it
