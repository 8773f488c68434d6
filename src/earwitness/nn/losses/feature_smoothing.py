"""FDS, feature distribution smoothing (arXiv 2102.09554; released code): in training an embedding is moved from the
mean and spread of its label's bin to those smoothed over neighbouring bins.

After each epoch one pass over the training data renews every bin's running mean m and variance v (unbiased; the first
pass overwrites, later ones keep `momentum` of what was). From epoch `start` on, in training alone:

    h  ->  (h - m) sqrt(clip(v~ / v)) + m~

The release lets what the last epoch left and what is renewed be one tensor, so that m and m~ come from two passes; here
they are copies of one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from earwitness.core.config import Config
from earwitness.nn.losses.label_weighting import LabelWindow, label_bins


class FeatureSmoothingConfig(Config):
    """Bins of `bin_width` from `first` to `last` (units of the label; AgeDB 3 to 99, IMDB-WIKI 0 to 99); the outermost
    take in what lies outside. `clip`: of the ratio of variances (0.5 to 2 for STS-B).

    `empty`: a bin that training does not have is left out of its neighbours' window, or, `as_released`, stands in it
    with mean 0 and variance 1.
    """

    first: float = 0.0
    last: float = 99.0
    bin_width: float = Field(1.0, gt=0)
    window: LabelWindow = LabelWindow()
    momentum: float = Field(0.9, ge=0, lt=1)
    start: int = Field(1, ge=1)
    clip: tuple[float, float] = (0.1, 10.0)
    empty: Literal["left_out", "as_released"] = "left_out"

    @model_validator(mode="after")
    def _ordered(self) -> FeatureSmoothingConfig:
        if not self.first < self.last or not 0 < self.clip[0] <= self.clip[1]:
            raise ValueError("first lies before last, and clip is (low, high) above 0")
        if self.window.size // 2 >= self.bins:
            raise ValueError("the window reaches further than there are bins")
        return self

    @property
    def bins(self) -> int:
        """How many."""
        return int((self.last - self.first) / self.bin_width + 1e-9) + 1

    def build(self, dim: int) -> FeatureSmoothing:
        """For embeddings of `dim` values."""
        return FeatureSmoothing(self, dim)


class FeatureSmoothing(nn.Module):
    """`mean`, `variance` [bins, D] of the last pass; `smooth_mean`, `smooth_variance` over neighbours; `known` [bins],
    which had at least one item so far; `epochs`, how many passes there were."""

    mean: Tensor
    variance: Tensor
    smooth_mean: Tensor
    smooth_variance: Tensor
    known: Tensor
    epochs: Tensor
    kernel: Tensor

    def __init__(self, config: FeatureSmoothingConfig, dim: int) -> None:
        super().__init__()
        self.config = config
        for name in ("mean", "smooth_mean"):
            self.register_buffer(name, torch.zeros(config.bins, dim))
        for name in ("variance", "smooth_variance"):
            self.register_buffer(name, torch.ones(config.bins, dim))
        self.register_buffer("known", torch.zeros(config.bins, dtype=torch.bool))
        self.register_buffer("epochs", torch.zeros((), dtype=torch.int64))
        window = torch.from_numpy(config.window.values())
        self.register_buffer("kernel", window / window.sum(), persistent=False)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """[B, D] and labels [B] -> [B, D]; unchanged outside of training and before epoch `start`."""
        if not self.training or int(self.epochs) < self.config.start:
            return embeddings
        bins = self.bins(labels)
        low, high = self.config.clip
        own, wanted = self.variance[bins], self.smooth_variance[bins]
        ratio = (wanted / own.clamp_min(torch.finfo(own.dtype).tiny)).clamp(low, high)
        moved = (embeddings - self.mean[bins]) * ratio.sqrt() + self.smooth_mean[bins]
        usable = (own > 0) & self.known[bins].unsqueeze(1)  # where a bin does not vary there is no spread to change
        return torch.where(usable, moved.to(embeddings.dtype), embeddings)

    def bins(self, labels: Tensor) -> Tensor:
        """The bin of each label, int64 [B]. Raises `DataError` for labels that are not finite."""
        return label_bins(labels - self.config.first, self.config.bin_width, self.config.bins)

    @torch.no_grad()
    def renew(self, embedded: Iterable[tuple[Tensor, Tensor]]) -> None:
        """End an epoch: embeddings [B, D] and labels [B] of all training rows, in parts."""
        count, mean, variance = self._statistics(embedded)
        here = count > 0
        keep = torch.where(self.known[here], self.config.momentum, 0.0).unsqueeze(1).to(self.mean.dtype)
        self.mean[here] = keep * self.mean[here] + (1 - keep) * mean[here]
        self.variance[here] = keep * self.variance[here] + (1 - keep) * variance[here]
        self.known |= here
        self.smooth_mean.copy_(self._smoothed(self.mean))
        self.smooth_variance.copy_(self._smoothed(self.variance))
        self.epochs += 1

    def _statistics(self, embedded: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
        """Count [bins], mean and unbiased variance [bins, D]; a single item's variance is 0."""
        count = torch.zeros(self.config.bins, dtype=torch.float64, device=self.mean.device)
        mean = torch.zeros_like(self.mean, dtype=torch.float64)
        squares = torch.zeros_like(mean)  # about the mean
        for embeddings, labels in embedded:
            x, bins = embeddings.double(), self.bins(labels)
            more = torch.zeros_like(count).index_add_(0, bins, torch.ones(len(x), dtype=x.dtype, device=x.device))
            size = more.clamp_min(1).unsqueeze(1)
            new = torch.zeros_like(mean).index_add_(0, bins, x) / size
            squares += torch.zeros_like(mean).index_add_(0, bins, (x - new[bins]).square())
            total = (count + more).clamp_min(1).unsqueeze(1)
            apart = torch.where(more.unsqueeze(1) > 0, new - mean, 0.0)
            squares += apart.square() * (count * more).unsqueeze(1) / total
            mean += apart * more.unsqueeze(1) / total
            count += more
        variance = squares / (count - 1).clamp_min(1).unsqueeze(1)
        return count, mean.to(self.mean.dtype), variance.to(self.variance.dtype)

    def _smoothed(self, values: Tensor) -> Tensor:
        """[bins, D] -> [bins, D]: the window's mean over neighbours, reflected at the ends."""
        half = len(self.kernel) // 2
        counted = self.known if self.config.empty == "left_out" else torch.ones_like(self.known)
        weight = counted.double().unsqueeze(1)
        places = torch.arange(-half, len(values) + half, device=values.device)
        places = places.abs()
        places = torch.where(places >= len(values), 2 * (len(values) - 1) - places, places)
        sums = ((values.double() * weight)[places]).unfold(0, len(self.kernel), 1) @ self.kernel
        shares = weight[places].unfold(0, len(self.kernel), 1) @ self.kernel
        found = torch.where(shares > 0, sums / shares.clamp_min(torch.finfo(shares.dtype).tiny), values.double())
        return found.to(values.dtype)
