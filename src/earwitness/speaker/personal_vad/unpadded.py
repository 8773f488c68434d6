"""Padded frames, worked on without their padding: items of one length together, the results put back in their places.

Padding never enters a network, so that an item's result does not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from earwitness.core.errors import DataError
from earwitness.nn.types import Frames

Group = tuple[Tensor, Tensor]  # places in the batch [b], their values [b, t, F] without padding


def unpadded(frames: Frames) -> Iterator[Group]:
    """Items of equal length together, shortest first. Raises `DataError` for a mask with gaps or without frames."""
    every = torch.arange(len(frames.values), device=frames.values.device)
    if frames.mask is None:
        yield every, frames.values
        return
    lengths = frames.mask.sum(1)
    if not torch.equal(frames.mask.long().cumprod(1).sum(1), lengths) or int(lengths.min()) == 0:
        raise DataError("a mask with gaps or without frames", fix="Only frames at the end can be left out.")
    for length in sorted(set(lengths.tolist())):
        rows = every[lengths == length]
        yield rows, frames.values[rows, :length]


def in_order(parts: Sequence[Tensor], rows: Sequence[Tensor]) -> Tensor:
    """What was made of each group, in the order of the batch."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))[torch.argsort(torch.cat(list(rows)))]
