"""Weights of training items by how rare their label is: inverse counts, and LDS, which counts neighbouring labels too
(label distribution smoothing, arXiv 2102.09554; released code).

A label's weight is the inverse of its count's root (`sqinv`) or of its clipped count (`inv`); LDS first passes the root
(or the clipped count) through a window over the bins, zeros outside. The mean weight over the training rows is 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from scipy.ndimage import gaussian_filter1d
from torch import Tensor, nn

from earwitness.core.config import Config
from earwitness.core.errors import DataError, RecipeError

Floats = NDArray[np.float64]


class LabelWindow(Config):
    """A symmetric window over `size` bins, `sigma` in bins. `code` is what the release makes, an impulse filtered with
    reflecting edges: of size 5 and sigma 2 (0.858, 0.946, 1, ...); `pure` is the Gaussian itself, (0.607, 0.882, 1,
    ...).

    The paper has size 5 and sigma 2, the command line of the released AgeDB code 9 and 1.
    """

    form: Literal["code", "pure"] = "code"
    size: int = Field(5, ge=1)
    sigma: float = Field(2.0, gt=0)

    @field_validator("size")
    @classmethod
    def _has_a_middle(cls, size: int) -> int:
        if size % 2 == 0:
            raise ValueError("a window has an odd number of bins")
        return size

    def values(self) -> Floats:
        """[size], the largest 1."""
        half = self.size // 2
        if self.form == "pure":
            return np.exp(-np.square(np.arange(-half, half + 1) / self.sigma) / 2)
        found = gaussian_filter1d(np.eye(self.size)[half], self.sigma)  # reflecting edges are its default
        return np.asarray(found / found.max(), np.float64)


class LabelWeightsBase(Config):
    """Labels are counted in bins of `bin_width` from 0 on; what lies beyond `last` (in units of the label) is counted
    in the last bin, negative labels in the first. `lds`: smoothed by this window."""

    bin_width: float = Field(1.0, gt=0)
    last: float = Field(120.0, gt=0)
    lds: LabelWindow | None = None

    def build(self, labels: Sequence[float] | Tensor) -> LabelWeights:
        """From the labels of the training rows [N]. Raises `RecipeError` where there are none."""
        if not len(labels):
            raise RecipeError("labels are weighed by their training counts, and there are none")
        bins = int(self.last / self.bin_width + 1e-9) + 1
        places = label_bins(torch.as_tensor(labels, dtype=torch.float64), self.bin_width, bins)
        counts = np.bincount(places.numpy(), minlength=bins)
        weights = inverse_weights(counts, self.dampened(counts), self.lds)
        return LabelWeights(torch.from_numpy(weights).float(), self.bin_width)

    def dampened(self, counts: NDArray[np.int64]) -> Floats:
        """What stands for the counts [bins]."""
        raise NotImplementedError


class SqinvConfig(LabelWeightsBase):
    """By the square root of the count."""

    kind: Literal["sqinv"] = "sqinv"

    def dampened(self, counts: NDArray[np.int64]) -> Floats:
        """The roots."""
        return np.sqrt(counts)


class InvConfig(LabelWeightsBase):
    """By the count, held between `least` and `most`."""

    kind: Literal["inv"] = "inv"
    least: int = Field(5, ge=1)
    most: int = Field(1000, ge=1)

    def dampened(self, counts: NDArray[np.int64]) -> Floats:
        """Clipped counts."""
        return counts.clip(self.least, self.most).astype(np.float64)


class LabelWeights(nn.Module):
    """Labels [B] -> weights [B]. `weights` [bins]; bins that no training row has weigh 0."""

    weights: Tensor

    def __init__(self, weights: Tensor, bin_width: float) -> None:
        super().__init__()
        self.bin_width = bin_width
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, labels: Tensor) -> Tensor:
        """Raises `DataError` for labels that are not finite, and for one that training did not have."""
        found = self.weights[label_bins(labels, self.bin_width, len(self.weights))]
        if bool((found == 0).any()):
            raise DataError("a label has no weight: no training row has one of its bin", where="label weights")
        return found


def label_bins(labels: Tensor, width: float, bins: int) -> Tensor:
    """The bin of each label [B], int64 in 0..bins - 1. Raises `DataError` for labels that are not finite."""
    if not bool(labels.isfinite().all()):
        raise DataError("labels are not finite", fix="Leave rows without a label out of training.")
    return (labels / width + 1e-6).floor().long().clamp(0, bins - 1)


def smoothed_counts(counts: NDArray[np.float64], window: LabelWindow) -> Floats:
    """[bins] -> [bins]: each the sum over its neighbours times the window; nothing lies outside."""
    return np.convolve(counts, window.values())[window.size // 2 :][: len(counts)]


def inverse_weights(counts: NDArray[np.int64], dampened: Floats, window: LabelWindow | None) -> Floats:
    """1 / dampened (smoothed) [bins], scaled so that over the training rows `counts` [bins] their mean is 1; 0 where
    there is no row."""
    values = dampened if window is None else smoothed_counts(dampened, window)
    found = np.divide(1.0, values, out=np.zeros(len(values)), where=(counts > 0) & (values > 0))
    scaled: Floats = found * (counts.sum() / (counts * found).sum())
    return scaled
