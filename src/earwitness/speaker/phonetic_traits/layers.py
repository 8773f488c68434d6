"""Trait layer and trait filter of ExPO (arXiv 2501.05729; as in its released code): no parameters.

A phonetic trait is the mean of the frames that carry one phone. The filter describes an utterance by mean and standard
deviation over the traits that are there, so a phone counts once, however long it lasted.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from earwitness.core.errors import DataError

COUNT_FLOOR = 1e-6
VARIANCE_FLOOR = 1e-8


class Traits(NamedTuple):
    """`values` [B, I, F], zeros where a phone is absent; `present` [B, I]: whether any component is not zero."""

    values: Tensor
    present: Tensor

    def unit(self) -> Tensor:
        """Every trait at unit length [B, I, F]; what is absent stays zero."""
        return F.normalize(self.values, dim=-1)


def traits_of(frames: Tensor, labels: Tensor, phones: int) -> Traits:
    """Frames [B, T, F], not negative, and their labels [B, T] in 0..phones - 1 (-1: none) -> the mean of each phone.

    E[b, i] = sum of the frames of phone i / (their number + 1e-6). Raises `DataError` for labels of another shape.
    """
    sums, counts = sums_of(frames, labels, phones)
    return means_of(sums, counts)


def sums_of(frames: Tensor, labels: Tensor, phones: int) -> tuple[Tensor, Tensor]:
    """The sums [B, I, F] and numbers [B, I] of each phone's frames, which add up over the pieces of a recording."""
    if frames.shape[:2] != labels.shape:
        raise DataError(f"labels of {tuple(labels.shape)} for frames of {tuple(frames.shape[:2])}")
    one_hot = F.one_hot(labels.long() + 1, phones + 1)[..., 1:].to(frames.dtype)
    return one_hot.transpose(1, 2) @ frames, one_hot.sum(1)


def means_of(sums: Tensor, counts: Tensor) -> Traits:
    """[B, I, F] and [B, I] -> traits."""
    values = sums / (counts + COUNT_FLOOR).unsqueeze(-1)
    return Traits(values, (values != 0).any(-1))


def filtered(traits: Traits, code_std: bool = False) -> Tensor:
    """[mean; standard deviation] over the traits that are present [B, 2F]; zeros (and a floor) where none is.

    `code_std` leaves single components that are 0 out of the variance, as the released code does.
    """
    present = traits.present.unsqueeze(-1).to(traits.values.dtype)
    count = present.sum(1).clamp_min(1.0)
    mean = (traits.values * present).sum(1) / count
    counted = (traits.values != 0).to(present.dtype) if code_std else present
    variance = ((traits.values - mean.unsqueeze(1)).square() * counted).sum(1) / count
    return torch.cat([mean, torch.sqrt(variance + VARIANCE_FLOOR)], dim=-1)


def frame_statistics(frames: Tensor) -> Tensor:
    """[mean; standard deviation] over frames [B, T, F] -> [B, 2F]: the baseline that knows no phones."""
    mean = frames.mean(1)
    variance = (frames - mean.unsqueeze(1)).square().mean(1)
    return torch.cat([mean, torch.sqrt(variance + VARIANCE_FLOOR)], dim=-1)
