"""The polarity probe: do a model's scores grow with the class that they should favour, on its own labelled dev?

The chance that a positive scores above a negative (AUC), with an interval over speakers and systems. Where the whole
interval lies below one half the classes are swapped: such a model is refused, and never negated in silence.
"""

from __future__ import annotations

from pydantic import Field

from earwitness.core.config import Config
from earwitness.core.errors import ModelError
from earwitness.metrics.bootstrap import Interval


class PolarityProbe(Config):
    """AUC on the model's own labelled dev, its 95 % interval, and over which unit.

    `rows` is the checksum of that dev's ids and labels (`corpora.canonical.list_checksum`), by which it is known again
    wherever its files lie; empty where it was not kept.
    """

    auc: float = Field(ge=0, le=1)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)
    unit: str
    rows: str = ""

    @classmethod
    def of(cls, auc: Interval, rows: str = "") -> PolarityProbe:
        """From the figure that judging gives."""
        return cls(auc=auc.value, low=auc.low, high=auc.high, unit=auc.unit, rows=rows)

    @property
    def reversed(self) -> bool:
        """The whole interval lies below one half."""
        return self.high < 0.5

    def __str__(self) -> str:
        return f"AUC {self.auc:.3f} [{self.low:.3f}, {self.high:.3f}] over {self.unit}"


def refuse_reversed(probe: PolarityProbe | None, model: object) -> None:
    """Raise `ModelError` where the probe says that the classes are swapped; a model without a probe passes."""
    if probe is not None and probe.reversed:
        what = f"its scores favour the wrong class on its own dev ({probe})"
        raise ModelError(what, where=model, fix="Check the labels of its training, or the order of its outputs.")
