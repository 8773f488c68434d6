"""Supervised contrast of labels in bins (SupCon, arXiv 2004.11362), and with a margin on negatives by how many training
labels lie between (as the release of ACCon, arXiv 2501.07045, computes "ada").

Positives share the anchor's bin; a subclass says what stands for the cosine of a negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from earwitness.core.errors import RecipeError
from earwitness.nn.losses.contrast import (
    Anchors,
    Contrasted,
    RegressionContrast,
    RegressionContrastConfigBase,
    anchored,
    itself,
    same_bin,
)


class BinnedContrastConfig(RegressionContrastConfigBase):
    """`tau` is the temperature; labels are equal within a bin of `bin_width`. `self_pairs` and `average: pair` are what
    the release of ACCon does for STS-B: an item is a positive of its own, and all pairs weigh alike."""

    tau: float = Field(1.0, gt=0)
    bin_width: float = Field(1.0, gt=0)
    self_pairs: bool = False
    average: Literal["anchor", "pair"] = "anchor"


class SupConConfig(BinnedContrastConfig):
    """Plain cosines for all."""

    kind: Literal["supcon"] = "supcon"

    def build(self, labels: Sequence[float] | Tensor) -> SupCon:
        """Nothing is taken from the labels."""
        return SupCon(self)


class AdaConConfig(BinnedContrastConfig):
    """`kappa` scales how many training labels lie between two; None: 2 over the number of training rows."""

    kind: Literal["adacon"] = "adacon"
    kappa: float | None = Field(None, gt=0)

    def build(self, labels: Sequence[float] | Tensor) -> AdaCon:
        """Labels [N] of the training rows. Raises `RecipeError` where there are none."""
        return AdaCon(self, torch.as_tensor(labels, dtype=torch.float64))


class BinnedContrast(RegressionContrast):
    """-1/|P| sum_P log [ exp(c_ip / tau) / (sum_P exp(c_ik / tau) + sum_N exp(negative_im / tau)) ], mean over anchors.

    Anchors without a positive are left out. With two views there is always one.
    """

    def __init__(self, config: BinnedContrastConfig) -> None:
        super().__init__()
        self.config = config

    def contrast(self, batch: Contrasted) -> Tensor:
        """Scalar."""
        return self.anchors(batch).mean(batch.embeddings, self.config.average == "pair")

    def anchors(self, batch: Contrasted) -> Anchors:
        """The loss of each anchor."""
        cosines, same = batch.cosines, same_bin(batch.labels, self.config.bin_width)
        counted = torch.ones_like(same) if self.config.self_pairs else ~itself(batch)
        logits = torch.where(same, cosines, self.negatives(cosines, batch)) / self.config.tau
        return anchored(cosines / self.config.tau, logits, same & counted, counted)

    def negatives(self, cosines: Tensor, batch: Contrasted) -> Tensor:
        """What stands for the cosine of a pair with labels of two bins, [n, n]."""
        raise NotImplementedError


class SupCon(BinnedContrast):
    """ACCon where every negative lies at the largest distance."""

    def negatives(self, cosines: Tensor, batch: Contrasted) -> Tensor:
        """The cosines."""
        return cosines


class AdaCon(BinnedContrast):
    """Negatives' cosines + clip(kappa |F(y_i) - F(y_j)|, 0, 2), F the number of training labels up to y."""

    sorted_labels: Tensor

    def __init__(self, config: AdaConConfig, labels: Tensor) -> None:
        super().__init__(config)
        if not len(labels):
            raise RecipeError("adacon counts training labels, and there are none")
        self.register_buffer("sorted_labels", labels.sort().values, persistent=False)
        self.kappa = 2 / len(labels) if config.kappa is None else config.kappa

    def negatives(self, cosines: Tensor, batch: Contrasted) -> Tensor:
        """With the margin."""
        below = torch.searchsorted(self.sorted_labels, batch.labels.double(), right=True)
        apart = (below[:, None] - below[None]).abs().to(cosines.dtype)
        return cosines + (self.kappa * apart).clamp(0, 2)
