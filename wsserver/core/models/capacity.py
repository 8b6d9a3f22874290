"""How much the loaded models may take together, and which of them make place for another.

A load takes room: one of `Bounds.models`, and memory as its engine estimates it, of this host or of
the GPUs that it names. It holds that room from before it starts until it is gone, so that two loads
never count on the same memory. The rules of making place: no more goes than must; what nobody uses
goes first, the longest unused before all; a load that made place itself is not undone by the
next one, or two of them would take turns for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from wsserver.core.models.model import Model, ModelStatus

MODELS, MEMORY = "models", "memory"
_ALONE = 2  # times the machine's memory that a model alone is let try

Room = Mapping[str, int]
"""What to how much of it: `MODELS` in models, `MEMORY` and each `gpu(n)` in bytes."""


class NoPlace(Exception):
    """A load does not fit; ``str(error)`` says what is missing, for people."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may be loaded together; bytes, 0 = no bound.

    ``is_machine``: ``memory`` is what the machine has and not what somebody set. One model alone is
    let try then, up to twice of it: weights are mapped from their file, so that an estimate is not
    worth a refusal; caches that no machine of this size holds are.
    """

    models: int = 64
    memory: int = 0
    gpu_memory: int = 0  # of each GPU that a model names
    is_machine: bool = False

    def of(self, what: str) -> int:
        """The bound of one kind of room, 0 = none."""
        if what == MODELS:
            return self.models
        return self.memory if what == MEMORY else self.gpu_memory


def gpu(number: int) -> str:
    """The kind of room that is a GPU's memory."""
    return f"memory of GPU {number}"


def room_needed(each: int, replicas: Iterable[Sequence[int]], split: Sequence[float]) -> Room:
    """The room of a load.

    Args:
        each: Bytes of one replica.
        replicas: The GPUs of each, none: this host's memory.
        split: Their shares of a replica, in any unit; none: even ones.
    """
    room = {MODELS: 1}
    for gpus in replicas:
        shares = split or [1.0] * len(gpus)
        for number, share in zip(gpus, shares, strict=True):
            what = gpu(number)
            room[what] = room.get(what, 0) + round(each * share / sum(shares))
        if not gpus:
            room[MEMORY] = room.get(MEMORY, 0) + each
    return room


class Capacity:
    """Who holds how much. What it is told of `models` it only reads."""

    def __init__(self, models: Callable[[], Iterable[Model]], bounds: Bounds) -> None:
        self._models = models
        self._bounds = bounds

    def refuse_one_more(self) -> str | None:
        """Why no further model may be loaded now, whatever it needs; None if one may."""
        loaded = len(self._holders())
        most = self._bounds.models
        return f"This server loads at most {most} models." if loaded >= most else None

    def take(self, model: Model, need: Room, *, makes_place: bool) -> list[Model]:
        """Give a model its room.

        Among the models it was counted when its load was asked for (`refuse_one_more`), unless it
        makes place.

        Returns:
            Who must go first; none unless ``makes_place``.

        Raises:
            NoPlace: If it does not fit, or not with all gone that may go.
        """
        others = [other for other in self._holders() if other is not model]
        wanted = {what: amount for what, amount in need.items() if makes_place or what != MODELS}
        going: list[Model] = []
        if makes_place:
            going = self._fewest(wanted, others, sorted(filter(_may_go, others), key=_turn_to_go))
        short = self._short(wanted, [other for other in others if other not in going])
        if short:
            raise NoPlace(self._explain(wanted, short[0], others, makes_place=makes_place))
        model.room = need
        return going

    def _holders(self) -> list[Model]:
        return [model for model in self._models() if not model.is_idle]

    def _fewest(self, need: Room, others: list[Model], candidates: list[Model]) -> list[Model]:
        """The first of ``candidates`` that together are enough, less those that turn out not to
        be needed: a small one may have been taken before a large one that alone is enough."""
        going: list[Model] = []

        def missing(gone: Collection[Model]) -> list[str]:
            return self._short(need, [other for other in others if other not in gone])

        for candidate in candidates:
            if any(candidate.room.get(what) for what in missing(going)):
                going.append(candidate)
        for one in reversed(going.copy()):
            rest = [other for other in going if other is not one]
            if not missing(rest):
                going = rest
        return going

    def _short(self, need: Room, staying: list[Model]) -> list[str]:
        """The kinds of room that there is not enough of beside ``staying``."""
        return [what for what in need if not self._fits(what, need[what], staying)]

    def _fits(self, what: str, amount: int, staying: list[Model]) -> bool:
        bound, held = self._bounds.of(what), _held(what, staying)
        if what == MEMORY and self._bounds.is_machine and not held:
            bound *= _ALONE
        return not bound or not amount or held + amount <= bound

    def _explain(self, need: Room, what: str, others: list[Model], *, makes_place: bool) -> str:
        bound, held = self._bounds.of(what), _held(what, others)
        if what == MODELS:
            return f"this server loads at most {bound} models, and none of them may go"
        words = f"needs about {sized(need[what])} of {what}"
        if need[what] > bound:
            return f"{words}; all models together may take {sized(bound)}"
        free = f"{sized(max(0, bound - held))} of {sized(bound)} are free"
        if makes_place:
            return f"{words}; {free}, and what is loading in its place is not interrupted"
        return f"{words}; {free} (unload a model, or load with immediate: true)"


def sized(amount: int) -> str:
    """Bytes in words, such as ``1.5 GiB``."""
    value, unit = float(amount), "bytes"
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.{0 if unit == 'bytes' else 1}f} {unit}"


def _held(what: str, models: list[Model]) -> int:
    return sum(model.room.get(what, 0) for model in models)


def _may_go(model: Model) -> bool:
    return not (model.status is ModelStatus.LOADING and model.makes_place)


def _turn_to_go(model: Model) -> tuple[int, float]:
    """Order of going: what goes already, what nobody uses, what is used, what loads."""
    if model.is_unloading:
        return (0, model.used_at)
    if model.status is ModelStatus.LOADING:
        return (3, model.used_at)
    return (1 if not model.busy else 2, model.used_at)
