"""Two views of a spectrogram that sound classes are alike in (our reading of FRAMI's feature invariance).

    global   circular time shift over the whole clip, gain change
    local    a crop in time of another length (never stretched: statistics pooling takes any), circular shift, a
             frequency mask

Never reversed in time, never mirrored or stretched in frequency. All that is random is drawn from torch's generator.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from earwitness.core.config import Config
from earwitness.training.inversion.space import InputSpace

SHORTEST = 4  # frames that a crop keeps at least


class ViewsConfig(Config):
    """`gain_db`: at most so much up or down. `crop`: the shortest share of a clip. `mask`: the widest share
    of bands."""

    gain_db: float = Field(3.0, ge=0)
    crop: float = Field(0.25, gt=0, le=1)
    mask: float = Field(0.125, ge=0, lt=1)


def global_view(x: Tensor, space: InputSpace, config: ViewsConfig) -> Tensor:
    """[B, 1, F, N] -> the same shape: each clip shifted in a circle and louder or quieter by a gain of its own."""
    gain = (torch.rand(len(x), 1, 1, 1) * 2 - 1) * config.gain_db
    return shifted(x) + (gain * space.per_db).to(x)


def local_view(x: Tensor, config: ViewsConfig) -> Tensor:
    """[B, 1, F, N] -> [B, 1, F, N'] with N' from `crop` N to N, one for the batch."""
    frames = x.shape[-1]
    shortest = min(frames, max(SHORTEST, round(config.crop * frames)))
    length = int(torch.randint(shortest, frames + 1, ()))
    cut = shifted(x)[..., :length]  # shifted in a circle first, so that a crop begins anywhere
    return masked(cut, int(config.mask * x.shape[-2]))


def shifted(x: Tensor, most: int | None = None) -> Tensor:
    """Each clip of [B, 1, F, N] rolled in time by a number of frames of its own: any, or `most` to each side."""
    frames = x.shape[-1]
    start = torch.randint(frames, (len(x), 1)) if most is None else torch.randint(-most, most + 1, (len(x), 1))
    places = ((torch.arange(frames) + start) % frames).to(x.device)
    return x.gather(-1, places[:, None, None, :].expand_as(x))


def masked(x: Tensor, widest: int) -> Tensor:
    """Each clip with 0 to `widest` neighbouring bands put to its mean."""
    bands = x.shape[-2]
    width = torch.randint(widest + 1, (len(x), 1))
    first = (torch.rand(len(x), 1) * (bands - width + 1)).long()
    band = torch.arange(bands)
    hidden = ((band >= first) & (band < first + width)).to(x.device)[:, None, :, None]
    return torch.where(hidden, x.mean(dim=(1, 2, 3), keepdim=True), x)
