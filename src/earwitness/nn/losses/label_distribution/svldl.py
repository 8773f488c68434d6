"""SVLDL (reconstruction), arXiv 2210.09524: label distribution learning in which each item's width is selected, with a
concordance loss (trick A), first differences of the distribution (trick B) and a variance loss.

The paper's full text was not available: what is known of it is that these parts exist. The selection, candidate widths,
weights, and the form of the difference loss are this project's, and all of them are settings.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from earwitness.nn.losses.label_distribution.base import ValueLoss, ValueLossConfigBase
from earwitness.nn.losses.label_distribution.selection import CandidateTargets
from earwitness.nn.losses.label_distribution.terms import Norm, concordance_loss, difference_loss, divergence

CANDIDATES = tuple(1.0 + 0.5 * place for place in range(19))  # 1.0, 1.5, ..., 10.0


class SvldlConfig(ValueLossConfigBase):
    """L = KL + `difference_weight` L_diff + `ccc_weight` L_CCC + `variance_weight` L_var, without terms of weight 0.

    `variance`: the width is `selected` among `widths` by KL, or `predicted` by an output of its own within their range;
    for the first `warmup_epochs` it is `warmup_width` for all.
    """

    kind: Literal["svldl"] = "svldl"
    widths: tuple[float, ...] = Field(default=CANDIDATES, min_length=1)
    variance: Literal["selected", "predicted"] = "selected"
    warmup_epochs: float = Field(default=5.0, ge=0)
    warmup_width: float = Field(default=2.0, gt=0)
    difference_weight: float = Field(default=1.0, ge=0)
    difference_norm: Norm = "l1"
    ccc_weight: float = Field(default=1.0, ge=0)
    variance_weight: float = Field(default=0.02, ge=0)

    @field_validator("widths")
    @classmethod
    def _rising(cls, widths: tuple[float, ...]) -> tuple[float, ...]:
        if widths[0] <= 0 or list(widths) != sorted(set(widths)):
            raise ValueError("widths rise, and the first is above 0")
        return widths

    @property
    def outputs(self) -> int:
        """One a value of the grid, and one for the width where it is predicted."""
        return self.grid.count + (self.variance == "predicted")

    def build(self) -> Svldl:
        """The loss; it learns nothing itself."""
        return Svldl(self)


class Svldl(ValueLoss):
    """Terms `ldl`, `difference`, `variance` and `ccc`. It counts how often each candidate is selected in training."""

    selections: Tensor

    def __init__(self, config: SvldlConfig) -> None:
        super().__init__(config)
        self._config = config
        self.candidates = CandidateTargets(config.grid, config.widths)
        self.epochs = 0.0
        self.register_buffer("selections", torch.zeros(len(config.widths), dtype=torch.int64), persistent=False)

    def set_progress(self, epochs: float) -> None:
        """How many epochs have passed; the first few have one width for all."""
        self.epochs = epochs

    @property
    def warming_up(self) -> bool:
        """Whether the width is still the same for all."""
        return self.epochs < self._config.warmup_epochs

    def items(self, outputs: Tensor, values: Tensor) -> dict[str, Tensor]:
        """`ldl`, `difference`, `variance`, [B] each."""
        config = self._config
        log_p = self.log_distribution(outputs)
        p = log_p.exp()
        target, kl = self._aimed_at(outputs, log_p, values)
        found = {"ldl": kl}
        if config.difference_weight:
            found["difference"] = config.difference_weight * difference_loss(p, target, config.difference_norm)
        if config.variance_weight:
            found["variance"] = config.variance_weight * self.grid.variance(p)
        return found

    def of_batch(self, outputs: Tensor, values: Tensor) -> dict[str, Tensor]:
        """`ccc`, of the batch's means."""
        if not self._config.ccc_weight:
            return {}
        return {"ccc": self._config.ccc_weight * concordance_loss(self.mean(outputs), values)}

    def notes(self) -> dict[str, float]:
        """The share of each candidate among those selected, `width_S`, and their mean; none before any was selected.

        A spike at either end says that the selection fails: at the narrowest as by cross-entropy, at the widest without
        a variance loss.
        """
        counts = self.selections.double()
        self.selections.zero_()
        if not bool(counts.sum()):
            return {}
        shares = (counts / counts.sum()).tolist()
        found = {f"width_{width:g}": share for width, share in zip(self._config.widths, shares, strict=True)}
        return found | {"width_mean": sum(w * s for w, s in zip(self._config.widths, shares, strict=True))}

    def _aimed_at(self, outputs: Tensor, log_p: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """The target distribution of each item [B, K], and KL to it [B]."""
        if self._config.variance == "selected" and not self.warming_up:
            selected = self.candidates.select(log_p, values)
            if self.training:
                self.selections += torch.bincount(selected.place, minlength=len(self.selections))
            return selected.target, selected.divergence
        log_target = self.grid.log_distribution(values, self._one_width(outputs))
        return log_target.exp(), divergence(log_target, log_p)

    def _one_width(self, outputs: Tensor) -> Tensor:
        """[B]: of the warm-up, or as the network predicts it."""
        if self.warming_up:
            return torch.full_like(outputs[:, 0], self._config.warmup_width)
        narrowest, widest = self._config.widths[0], self._config.widths[-1]
        return narrowest + (widest - narrowest) * torch.sigmoid(outputs[:, -1])
