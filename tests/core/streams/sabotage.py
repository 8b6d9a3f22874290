"""The rules of the design, each broken on purpose: the simulator must notice every one."""

from __future__ import annotations

from enum import Enum

from wsserver.core.streams.doorbells import Appended, Claimed, Doorbell, Reading
from wsserver.core.streams.follower import Cursor, Follower, Step, Take


class Sabotage(Enum):
    """What is broken. The number is that of the rule in `wsserver.core.streams.log`."""

    CLAIM_READS_TEXT_SEPARATELY = 1, "a claim takes its fence in a second step after the text"
    CLAIM_READS_TEXT_AFTERWARDS = 1, "a claim reads its text in a second step after the fence"
    FINISH_CHECKS_NOTHING = 2, "finish ends the answer whatever the length of the text"
    FINISH_TAKES_MORE = 2, "finish refuses missing text, but not text that is too much"
    APPEND_AFTER_THE_END = 3, "append looks at the fence only, not whether the answer has ended"
    APPEND_UNDER_ANY_FENCE = 3, "append looks whether the answer has ended, not at the fence"
    ONLY_THE_LAST_BASE = 4, "who missed claims is cut at the newest base only"
    FENCES_GO_UNNOTICED = 4, "text of a newer fence is appended without a cut"
    CLAIMS_ARE_LOST = 4, "a store that fails over forgets the last claim, and gives its fence again"
    ENTRY_WITH_A_GAP = 5, "between finding a reader's place and letting it in something happens"
    ENTRY_AT_ANY_FENCE = 5, "a reader's offset is believed whatever the fence it is of"
    A_READER_AHEAD_IS_RESET = 6, "a reader ahead of the mirror is cut to the mirror's length"
    NO_WATCHDOG = 7, "nothing is read unless a doorbell asks for it"
    APPEND_AT_THE_END = 8, "append ignores the offset that it is expected at"
    GAPS_GO_UNNOTICED = 8, "the mirror appends what comes, wherever it belongs"
    REWIND_UNTOLD = 4, "the mirror is cut, and its readers are not"
    AUDIENCE_UNTOLD = 4, "the mirror is cut, and those of its readers who are fed as one are not"
    OPENING_BEFORE_THE_CUT = 4, "a reader is told of its cut after the snapshot that joins to it"
    FRAMES_OUTLIVE_A_CUT = 4, "a frame kept for others is sent after its text was cut"
    ENTRY_WITHOUT_A_READING = 5, "a reader of an unknown fence is placed in a mirror that is old"

    @property
    def rule(self) -> int:
        return self.value[0]


_NOWHERE = 1 << 40


class OnlyTheLastBase(Follower):
    """Takes the bases of all claims that it missed, but for the last, to cut nothing."""

    def ring(self, bell: Doorbell, now: float) -> list[Step]:
        if isinstance(bell, Claimed) and bell.fence > self.fence + 1:
            self.bases += [_NOWHERE] * (bell.fence - self.fence - 1)
            self.fence = bell.fence - 1
        return super().ring(bell, now)

    def read(self, number: int, reading: Reading | None, now: float) -> list[Step]:
        if reading is not None and reading.fence > self.fence:
            missed = reading.fence - self.fence - 1
            bases = (*self.bases, *[_NOWHERE] * missed, reading.bases[-1])
            reading = reading._replace(bases=bases)
        return super().read(number, reading, now)


class FencesGoUnnoticed(Follower):
    """Takes the text of newer fences as a continuation of its own."""

    def ring(self, bell: Doorbell, now: float) -> list[Step]:
        if isinstance(bell, Claimed):
            bell = bell._replace(base=max(bell.base, self.have))
        return super().ring(bell, now)

    def read(self, number: int, reading: Reading | None, now: float) -> list[Step]:
        if reading is not None:
            reading = reading._replace(bases=tuple(max(b, self.have) for b in reading.bases))
        return super().read(number, reading, now)


class GapsGoUnnoticed(Follower):
    """Appends each bell's text at its end."""

    def ring(self, bell: Doorbell, now: float) -> list[Step]:
        if isinstance(bell, Appended) and bell.offset > self.have and self.ending is None:
            self.have += len(bell.data)
            return [Take(bell.data, bell.tokens)]
        return super().ring(bell, now)


class NoWatchdog(Follower):
    """Reads at its beginning, and where a bell shows that something is missing."""

    def tick(self, now: float) -> list[Step]:
        self.due = None
        return []


class EntryAtAnyFence(Follower):
    """Takes each cursor for one of its own fence."""

    def place(self, cursor: Cursor, since: int, *, is_patient: bool = True) -> int | None:
        return super().place(Cursor(self.fence, cursor.offset), since, is_patient=is_patient)


class EntryWithoutAReading(Follower):
    """Takes what it knows for all that there is."""

    def place(self, cursor: Cursor, since: int, *, is_patient: bool = True) -> int | None:
        return super().place(cursor, 0 if cursor.fence is None else since, is_patient=is_patient)


class AReaderAheadIsReset(Follower):
    """Lets nobody wait."""

    def place(self, cursor: Cursor, since: int, *, is_patient: bool = True) -> int | None:
        return super().place(cursor, 0, is_patient=False)


FOLLOWERS: dict[Sabotage, type[Follower]] = {
    Sabotage.ONLY_THE_LAST_BASE: OnlyTheLastBase,
    Sabotage.FENCES_GO_UNNOTICED: FencesGoUnnoticed,
    Sabotage.GAPS_GO_UNNOTICED: GapsGoUnnoticed,
    Sabotage.NO_WATCHDOG: NoWatchdog,
    Sabotage.ENTRY_AT_ANY_FENCE: EntryAtAnyFence,
    Sabotage.ENTRY_WITHOUT_A_READING: EntryWithoutAReading,
    Sabotage.A_READER_AHEAD_IS_RESET: AReaderAheadIsReset,
}
