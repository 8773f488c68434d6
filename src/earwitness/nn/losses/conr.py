"""ConR, contrast of regression by label and prediction (ICLR 2024; released code).

Positives are labels within w of the anchor's. Negatives have labels further off, but predictions within w: what the
regressor takes for the same. With eta the anchor's weight:

    L_i = -1/|P| sum_P log [ e^(c_ip / t) / ( sum_P e^(c_ik / t) + sum_N eta_i e^(push d_im) e^(c_im / t) ) ]

and 0 where there is no negative, or no positive; the mean is over all items. `compat` reproduces a slip of the release:
its sum over positives runs over all columns of a masked matrix, so each item that is none adds exp(0) = 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from earwitness.core.errors import DataError
from earwitness.nn.losses.angle_compensated import compensate
from earwitness.nn.losses.contrast import (
    Contrasted,
    RegressionContrast,
    RegressionContrastConfigBase,
    anchored,
    itself,
)


class ConrConfig(RegressionContrastConfigBase):
    """`w` in units of the label, temperature `t` (the released function for AgeDB uses 0.07, its text says 0.2), `push`
    per unit of label distance. With `compensated`, the span M of ACCon, a negative is exp(s / t) of the compensated
    cosine s in the place of its weighted one (ConR + ACCon)."""

    kind: Literal["conr"] = "conr"
    weight: float = Field(4.0, gt=0)
    w: float = Field(1.0, ge=0)
    t: float = Field(0.07, gt=0)
    push: float = Field(0.01, ge=0)
    compat: bool = False
    compensated: float | None = Field(None, gt=0)

    def build(self, labels: Sequence[float] | Tensor) -> Conr:
        """Nothing is taken from the labels."""
        return Conr(self)


class Conr(RegressionContrast):
    """Needs predictions; weights are 1 where none are given."""

    def __init__(self, config: ConrConfig) -> None:
        super().__init__()
        self.config = config

    def contrast(self, batch: Contrasted) -> Tensor:
        """Scalar. Raises `DataError` without predictions."""
        config = self.config
        if batch.predictions is None:
            raise DataError("conr contrasts by what was predicted, and was told no predictions")
        near = batch.distances <= config.w
        confused = (batch.predictions[:, None] - batch.predictions[None]).abs() <= config.w
        positives, negatives = near & ~itself(batch), ~near & confused
        pull = batch.cosines / config.t
        logits = torch.where(positives, pull, self._pushed(batch, pull))
        positives = positives & negatives.any(1, keepdim=True)
        found = anchored(pull, logits, positives, positives | negatives)
        if not len(found.rows):
            return found.mean(batch.embeddings)
        if config.compat:
            others = (len(near) - found.positives).to(pull.dtype)
            attraction = found.loss - (total := self._total(logits, positives | negatives, found.rows))
            return (attraction + torch.logaddexp(total, others.log())).sum() / len(near)
        return found.loss.sum() / len(near)

    def _pushed(self, batch: Contrasted, pull: Tensor) -> Tensor:
        """Logits of negatives, [n, n]."""
        config = self.config
        if config.compensated is not None:
            return compensate(batch.cosines, batch.distances, config.compensated) / config.t
        pushed = pull + config.push * batch.distances
        return pushed if batch.weights is None else pushed + batch.weights.log()[:, None]

    @staticmethod
    def _total(logits: Tensor, compared: Tensor, rows: Tensor) -> Tensor:
        return logits[rows].masked_fill(~compared[rows], -torch.inf).logsumexp(1)
