"""Which names of models become labels.

Each new one is a series for ever, in this process and in who scrapes it, and clients may load
models under names of their own. An operator's models have labels of their own whatever clients do.
"""

from __future__ import annotations

from collections.abc import Callable

MAX_GUESTS = 50
"""Names chosen by clients that become labels, the first ones."""

OTHER = "other"
"""What the rest is counted under."""


class ModelLabels:
    """The label of each model.

    Attributes:
        is_configured: Whether a name is an operator's.
    """

    def __init__(self) -> None:
        self.is_configured: Callable[[str], bool] = _nobodys
        self._known: dict[str, str] = {}
        self._guests = 0

    def of(self, model: str) -> str:
        """The label of a model, the same for ever once it is its name."""
        return self._known.get(model) or self._choose(model)

    def _choose(self, model: str) -> str:
        if not self.is_configured(model):
            if self._guests == MAX_GUESTS:
                return OTHER
            self._guests += 1
        self._known[model] = model
        return model


def _nobodys(_: str) -> bool:
    return False
