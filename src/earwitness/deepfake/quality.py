"""The quality of a recording as a detector asks for it; who predicts it is handed in."""

from __future__ import annotations

from typing import Protocol

from numpy.typing import ArrayLike

from earwitness.nn.pretrained.mos import QualityScore


class QualityEstimator(Protocol):
    """Predicts a MOS (`nn.pretrained.mos` has some); `name` and `model` say which it is, with which weights."""

    @property
    def name(self) -> str:
        """The name that recipes and models ask for."""
        ...

    @property
    def model(self) -> str:
        """A short hash of its weights."""
        ...

    def score(self, samples: ArrayLike, rate: int) -> QualityScore:
        """Of samples [N] at a rate in Hz. Raises `AudioError` for what cannot be judged."""
        ...
