"""What networks hand to each other."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Frames:
    """Features over time: `values` [B, T, F]; `mask` [B, T], True where a frame counts, or None where all do."""

    values: Tensor
    mask: Tensor | None = None


@dataclass(frozen=True)
class Embedding:
    """One vector an utterance: `mean` [B, D], and `variance` [B, D] where the network states its own uncertainty."""

    mean: Tensor
    variance: Tensor | None = None


@dataclass(frozen=True)
class Heard:
    """What a network was given in one pass, `waveforms` [B, N] and `lengths` [B] or None, and the `embedding` [B, D]
    that it made of it, with its gradient.
    """

    waveforms: Tensor
    lengths: Tensor | None
    embedding: Tensor
