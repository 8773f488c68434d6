"""A Conformer block whose self-attention has head tokens (temporal-channel modelling, arXiv 2406.17376).

Works on [B, 1 + T, D]: a class token, then the frames. All residual branches normalise their input first.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earwitness.core.errors import RecipeError


class HeadTokenAttention(nn.Module):
    """Self-attention in which each head adds a token made of its channels' mean over time.

    The class token is then raised by the mean of what the head tokens became and the mean of what the frames became,
    and the head tokens are dropped. Raises `RecipeError` where `dim` is no multiple of `heads`.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise RecipeError(f"{dim} channels cannot be split among {heads} heads")
        self.heads = heads
        width = dim // heads
        self.token = nn.Linear(width, dim)
        self.token_norm = nn.LayerNorm(width)
        self.token_position = nn.Parameter(torch.zeros(1, heads, dim))
        self.query_key_value = nn.Linear(dim, 3 * dim, bias=False)
        self.output = nn.Linear(dim, dim)

    def tokens(self, x: Tensor) -> Tensor:
        """One token a head: [B, N, D] -> [B, heads, D]."""
        means = x.mean(1).view(len(x), self.heads, -1)  # [B, heads, D / heads]
        made = self.token(means).view(len(x), self.heads, self.heads, -1)
        return F.gelu(self.token_norm(made)).flatten(2) + self.token_position

    def forward(self, x: Tensor) -> Tensor:
        """[B, 1 + T, D] -> [B, 1 + T, D]."""
        joined = torch.cat([x, self.tokens(x)], dim=1)
        split = self.query_key_value(joined).view(*joined.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(*split.unbind(0)).transpose(1, 2).flatten(2)
        out: Tensor = self.output(attended)
        frames, tokens = out[:, 1 : x.shape[1]], out[:, x.shape[1] :]
        utterance = out[:, :1] + tokens.mean(1, keepdim=True) + frames.mean(1, keepdim=True)
        return torch.cat([utterance, frames], dim=1)


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


class HeadTokenConformerBlock(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward, each added to its input; layer norm."""

    def __init__(self, dim: int, heads: int, kernel: int) -> None:
        super().__init__()
        self.before = _normed(dim, feed_forward(dim, 4 * dim))
        self.attention = _normed(dim, HeadTokenAttention(dim, heads))
        self.convolution = _normed(dim, ConvolutionModule(dim, 2, kernel))
        self.behind = _normed(dim, feed_forward(dim, 4 * dim))
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 1 + T, D] -> [B, 1 + T, D]."""
        x = x + self.before(x) / 2
        x = x + self.attention(x)
        x = x + self.convolution(x)
        x = x + self.behind(x) / 2
        return self.norm(x)  # type: ignore[no-any-return]


def feed_forward(dim: int, hidden: int) -> nn.Sequential:
    """Linear, Swish, linear."""
    return nn.Sequential(nn.Linear(dim, hidden), nn.SiLU(), nn.Linear(hidden, dim))


def _normed(dim: int, module: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(dim), module)


def sinusoids(positions: int, dim: int) -> Tensor:
    """Fixed positions [1, positions, dim]: sine in even, cosine in odd channels, wavelengths up to 10000 (2 pi)."""
    channel = torch.arange(dim, dtype=torch.float64)
    angles = torch.arange(positions, dtype=torch.float64)[:, None] / 10_000 ** (2 * (channel // 2) / dim)
    return torch.where(channel % 2 == 0, angles.sin(), angles.cos()).float().unsqueeze(0)
