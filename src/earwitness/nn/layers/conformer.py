"""The Conformer block (arXiv 2005.08100) and its parts, on unpadded frames [B, N, D].

All residual branches normalise their input first.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earwitness.core.errors import RecipeError


class SelfAttention(nn.Module):
    """Multi-head self-attention without positions. Raises `RecipeError` where `dim` is no multiple of `heads`."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise RecipeError(f"{dim} channels cannot be split among {heads} heads")
        self.heads = heads
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] -> [B, N, D]."""
        split = self.query_key_value(x).view(*x.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(*split.unbind(0)).transpose(1, 2).flatten(2)
        return self.output(attended)  # type: ignore[no-any-return]


class ConvolutionModule(nn.Module):
    """1x1 convolution, gated linear unit, depthwise convolution, batch-norm, Swish, 1x1 convolution."""

    def __init__(self, dim: int, expansion: int, kernel: int) -> None:
        super().__init__()
        wide = expansion * dim
        self.enter = nn.Conv1d(dim, 2 * wide, 1)
        self.depthwise = nn.Conv1d(wide, wide, kernel, padding=kernel // 2, groups=wide)
        self.norm = nn.BatchNorm1d(wide)
        self.leave = nn.Conv1d(wide, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] -> [B, N, D]."""
        gated = F.glu(self.enter(x.transpose(1, 2)), dim=1)
        mixed: Tensor = self.leave(F.silu(self.norm(self.depthwise(gated))))
        return mixed.transpose(1, 2)


class ConformerBlock(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward, each dropped out and added to its input; layer
    norm."""

    def __init__(self, dim: int, heads: int, kernel: int, *, expansion: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        self.before = normed(dim, feed_forward(dim, expansion * dim))
        self.attention = normed(dim, SelfAttention(dim, heads))
        self.convolution = normed(dim, ConvolutionModule(dim, 1, kernel))
        self.behind = normed(dim, feed_forward(dim, expansion * dim))
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] -> [B, N, D]."""
        x = x + self.dropout(self.before(x)) / 2
        x = x + self.dropout(self.attention(x))
        x = x + self.dropout(self.convolution(x))
        x = x + self.dropout(self.behind(x)) / 2
        return self.norm(x)  # type: ignore[no-any-return]


class TransformerBlock(nn.Module):
    """Pre-norm encoder block (arXiv 2002.04745): attention, then feed-forward, each dropped out and added to its
    input."""

    def __init__(self, dim: int, heads: int, hidden: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention = normed(dim, SelfAttention(dim, heads))
        self.feed_forward = normed(dim, feed_forward(dim, hidden))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] -> [B, N, D]."""
        x = x + self.dropout(self.attention(x))
        return x + self.dropout(self.feed_forward(x))  # type: ignore[no-any-return]


def feed_forward(dim: int, hidden: int) -> nn.Sequential:
    """Linear, Swish, linear."""
    return nn.Sequential(nn.Linear(dim, hidden), nn.SiLU(), nn.Linear(hidden, dim))


def normed(dim: int, module: nn.Module) -> nn.Sequential:
    """The module behind a layer norm."""
    return nn.Sequential(nn.LayerNorm(dim), module)


def sinusoids(positions: int, dim: int) -> Tensor:
    """Fixed positions [1, positions, dim]: sine in even, cosine in odd channels, wavelengths up to 10000 (2 pi)."""
    channel = torch.arange(dim, dtype=torch.float64)
    angles = torch.arange(positions, dtype=torch.float64)[:, None] / 10_000 ** (2 * (channel // 2) / dim)
    return torch.where(channel % 2 == 0, angles.sin(), angles.cos()).float().unsqueeze(0)
