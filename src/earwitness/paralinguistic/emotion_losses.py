"""The loss terms of multitask emotion recognition: category, intensity, phonemes, gender (SpeechEQ, arXiv 2206.13101, a
reconstruction; the weight of CTC is that of Cai et al., Interspeech 2021).

Each term is a mean over the items of the batch that have its label, and exactly 0 where none has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from earwitness.core.config import Config
from earwitness.core.errors import DataError

CATEGORY, INTENSITY, PHONEMES, GENDER = "category", "intensity", "phonemes", "gender"
INSIDE = 1e-6  # by which rounding may carry the end of an interval over a level's


class IntervalConfig(Config):
    """One output r in [0, 1] by a sigmoid; max(0, lo - r, r - hi)^2 of the interval [lo, hi].

    Intervals that touch ([0, 0.5] and [0.5, 1]) are both content with r = 0.5, so without a `margin` two levels need
    not be told apart. Each end inside of 0..1 is moved inwards by it, at most to the interval's middle; 0 leaves them.
    """

    kind: Literal["interval"] = "interval"
    margin: float = Field(0.1, ge=0, lt=0.5)

    @property
    def outputs(self) -> int:
        """Of the head."""
        return 1

    def read(self, logits: Tensor) -> Tensor:
        """Logits [B, 1] -> r [B]."""
        return logits[:, 0].sigmoid()

    def losses(self, logits: Tensor, intervals: Tensor) -> Tensor:
        """Logits [B, 1] and intervals [B, 2] -> [B]."""
        return interval_losses(self.read(logits), narrowed(intervals, self.margin))


class LevelsConfig(Config):
    """K equal levels of 0..1, one class each; r is the mean of the levels' middles under the probabilities."""

    kind: Literal["levels"] = "levels"
    levels: int = Field(3, ge=2)

    @property
    def outputs(self) -> int:
        """Of the head."""
        return self.levels

    def read(self, logits: Tensor) -> Tensor:
        """Logits [B, K] -> r [B]."""
        middles = (torch.arange(self.levels, device=logits.device) + 0.5) / self.levels
        return logits.softmax(1) @ middles

    def losses(self, logits: Tensor, intervals: Tensor) -> Tensor:
        """Cross-entropy of the level that holds the interval. Raises `DataError` where several do."""
        return F.cross_entropy(logits, levels_of(intervals, self.levels), reduction="none")


class CoralConfig(Config):
    """K ordered levels by K - 1 questions "above level k?" that share their weights (CORAL, arXiv 1901.07884); r is
    (sum of the answers' probabilities + 1/2) / K."""

    kind: Literal["coral"] = "coral"
    levels: int = Field(3, ge=2)

    @property
    def outputs(self) -> int:
        """Of the head."""
        return self.levels - 1

    def read(self, logits: Tensor) -> Tensor:
        """Logits [B, K - 1] -> r [B]."""
        return (logits.sigmoid().sum(1) + 0.5) / self.levels

    def losses(self, logits: Tensor, intervals: Tensor) -> Tensor:
        """Sum over k of the binary cross-entropy. Raises `DataError` where an interval spans several levels."""
        level = levels_of(intervals, self.levels)
        above = (level[:, None] > torch.arange(self.levels - 1, device=logits.device)).to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, above, reduction="none").sum(1)


IntensityConfig = Annotated[IntervalConfig | LevelsConfig | CoralConfig, Field(discriminator="kind")]


class LossesConfig(Config):
    """Weights of the terms beside the category's, which is 1; 0 leaves a task out. `class_weights`: the cross-entropy
    of a class by the inverse of its rows in training."""

    intensity: float = Field(0.5, ge=0)
    phonemes: float = Field(0.1, ge=0)
    gender: float = Field(0.1, ge=0)
    intensity_as: IntensityConfig = IntervalConfig()
    class_weights: bool = False

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the terms that are learnt."""
        auxiliary = {INTENSITY: self.intensity, PHONEMES: self.phonemes, GENDER: self.gender}
        return (CATEGORY, *(name for name, weight in auxiliary.items() if weight > 0))


@dataclass(frozen=True)
class EmotionTargets:
    """What is known of the items of a batch.

    `category` [B] int64; `classes` [B, 7] bool, those that the item's corpus uses; `intensity` [B, 2], NaN where
    nothing is said; `gender` [B] int64 (-1 unknown); `phones` [B, L] int64 with `phone_counts` [B], 0 for an item
    without a transcript or that was cut.
    """

    category: Tensor
    classes: Tensor
    intensity: Tensor
    gender: Tensor
    phones: Tensor
    phone_counts: Tensor


def category_loss(logits: Tensor, targets: EmotionTargets, class_weights: Tensor | None = None) -> Tensor:
    """Cross-entropy over the classes that each item's corpus uses; other logits [B, 7] get no gradient."""
    masked = logits.masked_fill(~targets.classes, float("-inf"))
    return F.cross_entropy(masked, targets.category, class_weights, reduction="none").mean()


def intensity_loss(logits: Tensor, targets: EmotionTargets, config: IntensityConfig) -> Tensor:
    """Logits [B, outputs] of the items with a strength."""
    known = targets.intensity.isfinite().all(1)
    if not bool(known.any()):
        return nothing(logits)
    return config.losses(logits[known], targets.intensity[known]).mean()


def gender_loss(logits: Tensor, targets: EmotionTargets) -> Tensor:
    """Cross-entropy of logits [B, 2] of the items whose speaker's sex is known."""
    known = targets.gender >= 0
    return F.cross_entropy(logits[known], targets.gender[known]) if bool(known.any()) else nothing(logits)


def phoneme_loss(logits: Tensor, frames: Tensor, targets: EmotionTargets) -> Tensor:
    """CTC of logits [B, N, V + 1] (blank 0) with `frames` [B] that count, by the length of each target.

    An item with too few frames to say its transcript in counts as one without transcript (`sayable`).
    """
    known = sayable(frames, targets)
    if not bool(known.any()):
        return nothing(logits)
    steps = logits[known].log_softmax(2).transpose(0, 1)
    counts = targets.phone_counts[known]
    each = F.ctc_loss(steps, targets.phones[known], frames[known], counts, reduction="none")
    return (each / counts).mean()


def sayable(frames: Tensor, targets: EmotionTargets) -> Tensor:
    """Which items have a transcript that fits into their `frames` [B]: one a symbol, and one between equal symbols."""
    phones, counts = targets.phones, targets.phone_counts
    pairs = torch.arange(1, max(1, phones.shape[1]), device=phones.device) < counts[:, None]
    repeated = ((phones[:, 1:] == phones[:, :-1]) & pairs).sum(1)
    return (counts > 0) & (frames >= counts + repeated)


def interval_losses(r: Tensor, intervals: Tensor) -> Tensor:
    """max(0, lo - r, r - hi)^2 for r [B] and intervals [B, 2].

    >>> interval_losses(torch.tensor([0.4, 0.4]), torch.tensor([[0.0, 0.5], [0.5, 1.0]]))
    tensor([0.0000, 0.0100])
    """
    lo, hi = intervals.unbind(1)
    return torch.maximum(lo - r, r - hi).clamp(min=0).square()


def narrowed(intervals: Tensor, margin: float) -> Tensor:
    """Intervals [B, 2] whose ends inside of 0..1 are moved inwards, at most to the middle."""
    lo, hi = intervals.unbind(1)
    most = ((hi - lo) / 2).clamp(max=margin)
    return torch.stack([torch.where(lo > 0, lo + most, lo), torch.where(hi < 1, hi - most, hi)], dim=1)


def levels_of(intervals: Tensor, levels: int) -> Tensor:
    """Which of K equal levels holds each interval [B, 2]. Raises `DataError` for one that no level holds."""
    middle = intervals.mean(1)
    level = (middle * levels).floor().clamp(0, levels - 1)
    outside = (intervals[:, 0] < level / levels - INSIDE) | (intervals[:, 1] > (level + 1) / levels + INSIDE)
    if bool(outside.any()):
        lo, hi = intervals[outside][0].tolist()
        what = f"the intensity {lo:.3g} to {hi:.3g} lies in more than one of {levels} levels"
        raise DataError(what, fix="Use the interval loss, or as many levels as the corpora have.")
    return level.long()


def nothing(values: Tensor) -> Tensor:
    """Exactly 0, with a gradient of exactly 0: devices that share gradients wait for one of every parameter."""
    return values.sum() * 0.0
