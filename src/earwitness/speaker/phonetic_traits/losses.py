"""The trait losses of ExPO (arXiv 2501.05729, as in its released code) over pairs of utterances of one speaker each.

Traits of the first utterances [S, I, F] and of the second ones, row k of both by speaker k. The squared distances are
not normalised: the weights are for 1536 values a trait, and must be found anew for other widths.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from earwitness.core.config import Config
from earwitness.speaker.phonetic_traits.layers import COUNT_FLOOR, Traits


class TraitLossConfig(Config):
    """Weights; those of the final system by the name of its experiment's folder. `diff` is subtracted: it grows.

    `code_diff`: the nearest other speaker may be the speaker itself, as in the released code, where it mostly is.
    """

    same: float = Field(0.0007, ge=0)
    diff: float = Field(0.00001, ge=0)
    center: float = Field(0.0001, ge=0)
    code_diff: bool = False

    def terms(self, first: Traits, second: Traits) -> dict[str, Tensor]:
        """The weighted terms, by name; those of weight 0 are left out."""
        found: dict[str, Tensor] = {}
        if self.same:
            found["same"] = self.same * loss_same(first, second)
        if self.diff:
            found["diff"] = -self.diff * loss_diff(first, second, self.code_diff)
        if self.center:
            found["center"] = self.center * loss_center(joined_traits(first, second))
        return found


def joined_traits(first: Traits, second: Traits) -> Traits:
    """Both utterances of every speaker as one batch [2S, I, F]."""
    return Traits(torch.cat([first.values, second.values]), torch.cat([first.present, second.present]))


def pairs_of(traits: Traits) -> tuple[Traits, Traits]:
    """First (even places) and second (odd places) utterances of a batch in which pairs lie side by side."""
    return Traits(traits.values[0::2], traits.present[0::2]), Traits(traits.values[1::2], traits.present[1::2])


def loss_same(first: Traits, second: Traits) -> Tensor:
    """Mean squared distance of a speaker's own traits, over the phones that both utterances hold."""
    both = (first.present & second.present).to(first.values.dtype)
    distance = (first.values - second.values).square().sum(-1)
    return (both * distance).sum() / (both + COUNT_FLOOR).sum()


def nearest_others(first: Traits, second: Traits, code_diff: bool = False) -> tuple[Tensor, Tensor]:
    """The least squared distance of each first trait to a second one of the same phone [S, I], and where there is one.

    By other speakers, or with `code_diff` by any.
    """
    e, t = first.values.transpose(0, 1), second.values.transpose(0, 1)
    distance = e.square().sum(-1)[:, :, None] + t.square().sum(-1)[:, None, :] - 2 * e @ t.transpose(1, 2)
    candidate = first.present.T[:, :, None] & second.present.T[:, None, :]
    if not code_diff:
        candidate = candidate & ~torch.eye(e.shape[1], dtype=torch.bool, device=e.device)
    least = distance.clamp_min(0).masked_fill(~candidate, float("inf")).amin(-1)
    return least.T, candidate.any(-1).T


def loss_diff(first: Traits, second: Traits, code_diff: bool = False) -> Tensor:
    """Mean over (speaker, phone) of the distance to the hardest other speaker; 0 where nobody shares a phone."""
    least, there = nearest_others(first, second, code_diff)
    return least.masked_fill(~there, 0.0).sum() / there.sum().clamp_min(1)


def loss_center(traits: Traits) -> Tensor:
    """Mean squared distance of an utterance's traits to their mean: an identity that does not depend on the phone."""
    present = traits.present.unsqueeze(-1).to(traits.values.dtype)
    mean = (traits.values * present).sum(1) / present.sum(1).clamp_min(1.0)
    distance = (traits.values - mean.unsqueeze(1)).square().sum(-1)
    weight = present.squeeze(-1)
    return (weight * distance).sum() / (weight + COUNT_FLOOR).sum()
