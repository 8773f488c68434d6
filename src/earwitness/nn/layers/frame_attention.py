"""One Transformer encoder layer over frames, without positions: every head sees all frames, or a band around each.

The precision network of xi+ (arXiv 2509.05993) sees all; that of U3-xi (arXiv 2601.15719) is multi-view: head i sees
the frames within 2^i of a frame, so that its heads hear 3, 5, 9 ... frames. Both have the same parameters. Layout,
width and dropout are those of the released U3-xi; those of xi+ are not published.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earwitness.core.errors import RecipeError

QUERIES = 512  # frames whose bands are looked at together: memory grows with the frames, not with their square


class FrameAttention(nn.Module):
    """[B, T, D] -> [B, T, D], post-norm: x <- LN(x + attention(x)); x <- LN(x + FF(x)).

    `banded`: head i looks at |t - t'| <= 2^i only. Raises `RecipeError` where `dim` is no multiple of `heads`.
    """

    reach: Tensor

    def __init__(self, dim: int, heads: int, feed_forward: int, dropout: float, *, banded: bool) -> None:
        super().__init__()
        if dim % heads:
            raise RecipeError(f"{dim} channels cannot be split among {heads} heads")
        self.heads, self.banded, self.dropout = heads, banded, dropout
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)
        self.attention_norm = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, feed_forward),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(feed_forward, dim),
            nn.Dropout(dropout),
        )
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.register_buffer("reach", 2 ** torch.arange(heads), persistent=False)  # frames to either side

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[B, T, D]; `mask` [B, T] says which frames may be looked at (None: all)."""
        split = self.query_key_value(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = split.unbind(0)  # [B, heads, T, D / heads]
        parts = [self._attend(query, key, value, mask, part) for part in self._stretches(x.shape[1])]
        attended = torch.cat(parts, dim=2).transpose(1, 2).flatten(2)
        x = self.attention_norm(x + F.dropout(self.output(attended), self.dropout, self.training))
        out: Tensor = self.feed_forward_norm(x + self.feed_forward(x))
        return out

    def _stretches(self, frames: int) -> Iterator[slice]:
        """Frames that ask together."""
        if not self.banded:
            return iter([slice(0, frames)])
        return (slice(start, min(start + QUERIES, frames)) for start in range(0, frames, QUERIES))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, asking: slice) -> Tensor:
        frames = key.shape[2]
        seen = slice(0, frames)
        if self.banded:
            widest = 1 << (self.heads - 1)
            seen = slice(max(0, asking.start - widest), min(frames, asking.stop + widest))
        return F.scaled_dot_product_attention(
            query[:, :, asking],
            key[:, :, seen],
            value[:, :, seen],
            attn_mask=self._allowed(mask, asking, seen, query.device),
            dropout_p=self.dropout if self.training else 0.0,
        )

    def _allowed(self, mask: Tensor | None, asking: slice, seen: slice, device: torch.device) -> Tensor | None:
        """Which frame may look at which, [B or 1, heads or 1, asking, seen]; a frame always at itself, so that one
        that does not count has something to look at."""
        if not self.banded and mask is None:
            return None
        asks = torch.arange(asking.start, asking.stop, device=device).unsqueeze(1)
        distance = (asks - torch.arange(seen.start, seen.stop, device=device)).abs()
        allowed = distance.expand(1, 1, *distance.shape) >= 0
        if self.banded:
            allowed = distance <= self.reach.view(1, -1, 1, 1)
        if mask is not None:
            allowed = allowed & (mask[:, None, None, seen] | (distance == 0))
        return allowed
