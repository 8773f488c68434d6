"""Utterances of different lengths without padding: equal lengths run together, each group cut to its own length.

Padding never enters a network, so the result of an utterance does not depend on its neighbours in the batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from earwitness.core.errors import DataError
from earwitness.nn.types import Embedding


def run_by_length(run: Callable[[Tensor], Embedding], waveforms: Tensor, lengths: Tensor | None) -> Embedding:
    """`run` on unpadded groups of `waveforms` [B, N] that share a length in samples; results in the order of the batch.

    `lengths` [B] int64, or None where all N samples count. Equal lengths are one pass. Raises `DataError` for lengths
    outside of 1..N.
    """
    if lengths is None:
        return run(waveforms)
    sizes = lengths.tolist()
    if len(sizes) != waveforms.shape[0] or min(sizes) < 1 or max(sizes) > waveforms.shape[1]:
        raise DataError(f"lengths {sizes[:8]} do not fit waveforms of shape {tuple(waveforms.shape)}")
    if min(sizes) == max(sizes):
        return run(waveforms[:, : sizes[0]])
    rows = [(lengths == size).nonzero(as_tuple=True)[0].to(waveforms.device) for size in sorted(set(sizes))]
    parts = [run(waveforms[group, : sizes[int(group[0])]]) for group in rows]
    order = torch.argsort(torch.cat(rows))
    mean = torch.cat([part.mean for part in parts])[order]
    variances = [part.variance for part in parts if part.variance is not None]
    return Embedding(mean, torch.cat(variances)[order] if variances else None)
