"""A Conformer block whose self-attention has head tokens (temporal-channel modelling, arXiv 2406.17376).

Works on [B, 1 + T, D]: a class token, then the frames. All residual branches normalise their input first.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earwitness.core.errors import RecipeError
from earwitness.nn.layers.conformer import ConvolutionModule, feed_forward, normed


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
        means = x.mean(1).view(x.shape[0], self.heads, -1)  # [B, heads, D / heads]
        made = self.token(means).view(x.shape[0], self.heads, self.heads, -1)
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


class HeadTokenConformerBlock(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward, each added to its input; layer norm."""

    def __init__(self, dim: int, heads: int, kernel: int) -> None:
        super().__init__()
        self.before = normed(dim, feed_forward(dim, 4 * dim))
        self.attention = normed(dim, HeadTokenAttention(dim, heads))
        self.convolution = normed(dim, ConvolutionModule(dim, 2, kernel))
        self.behind = normed(dim, feed_forward(dim, 4 * dim))
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 1 + T, D] -> [B, 1 + T, D]."""
        x = x + self.before(x) / 2
        x = x + self.attention(x)
        x = x + self.convolution(x)
        x = x + self.behind(x) / 2
        return self.norm(x)  # type: ignore[no-any-return]
