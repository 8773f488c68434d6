"""What AASIST's forms share (arXiv 2110.01200): residual blocks over frequency and time, and the graphs behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from earwitness.nn.layers.graph_attention import GraphAttention, GraphPool, HeterogeneousAttention

BRANCH_DROPOUT = 0.2


class ResidualBlock(nn.Module):
    """Two convolutions with kernel (2, 3) over [B, C, F, T], plus the input; F and T stay.

    `first`: no batch-norm and SELU in front. Without `pre_activation` they stand there and do nothing, as in the
    released code, whose first convolution reads the block's input: weights trained so need it so.
    """

    def __init__(self, input_dim: int, width: int, *, first: bool, pre_activation: bool) -> None:
        super().__init__()
        self._pre_activation = pre_activation
        self.norm1 = None if first else nn.BatchNorm2d(input_dim).requires_grad_(pre_activation)
        self.conv1 = nn.Conv2d(input_dim, width, (2, 3), padding=(1, 1))
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, (2, 3), padding=(0, 1))
        self.shortcut = None if input_dim == width else nn.Conv2d(input_dim, width, (1, 3), padding=(0, 1))
        self.activation = nn.SELU()

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, F, T] -> [B, width, F, T]."""
        entered = self.activation(self.norm1(x)) if self.norm1 is not None and self._pre_activation else x
        path = self.conv2(self.activation(self.norm2(self.conv1(entered))))
        return path + (x if self.shortcut is None else self.shortcut(x))  # type: ignore[no-any-return]


def residual_stack(widths: Sequence[int], *, time_pool: int, pre_activation: bool) -> nn.Sequential:
    """One block a width, from one channel; each followed by a maximum over `time_pool` frames where that exceeds 1."""
    layers: list[nn.Module] = []
    for index, (before, width) in enumerate(zip((1, *widths), widths, strict=False)):
        layers.append(ResidualBlock(before, width, first=index == 0, pre_activation=pre_activation))
        if time_pool > 1:
            layers.append(nn.MaxPool2d((1, time_pool)))
    return nn.Sequential(*layers)


@dataclass(frozen=True)
class GraphSizes:
    """`dims`: of the first and of the heterogeneous graphs. `ratios` of nodes kept and `temperatures`: spectral graph,
    temporal graph, heterogeneous graphs."""

    dims: tuple[int, int]
    ratios: tuple[float, float, float]
    temperatures: tuple[float, float, float]


class SpectroTemporalGraphs(nn.Module):
    """Spectral nodes [B, S, C] and temporal nodes [B, T, C] -> one vector [B, 5 dims[1]].

    Each kind has a graph of its own, then two heterogeneous branches see both; of the branches the element-wise
    maximum is read out as [max |T|; mean T; max |S|; mean S; master].
    """

    def __init__(self, channels: int, spectral: int, sizes: GraphSizes) -> None:
        super().__init__()
        dim = sizes.dims[0]
        self.dim = 5 * sizes.dims[1]
        self.position = nn.Parameter(torch.randn(1, spectral, channels))
        self.spectral = GraphAttention(channels, dim, sizes.temperatures[0])
        self.temporal = GraphAttention(channels, dim, sizes.temperatures[1])
        self.pool_spectral = GraphPool(dim, sizes.ratios[0])
        self.pool_temporal = GraphPool(dim, sizes.ratios[1])
        self.branches = nn.ModuleList(HeterogeneousBranch(sizes) for _ in range(2))
        self.dropout = nn.Dropout(BRANCH_DROPOUT)

    def forward(self, spectral: Tensor, temporal: Tensor) -> Tensor:
        """[B, S, C], [B, T, C] -> [B, dim]."""
        spectral = self.pool_spectral(self.spectral(spectral + self.position))
        temporal = self.pool_temporal(self.temporal(temporal))
        found = [[self.dropout(part) for part in branch(temporal, spectral)] for branch in self.branches]
        t, s, master = (torch.maximum(one, other) for one, other in zip(*found, strict=True))
        return torch.cat([t.abs().amax(1), t.mean(1), s.abs().amax(1), s.mean(1), master.squeeze(1)], dim=1)


class HeterogeneousBranch(nn.Module):
    """Two heterogeneous layers with a pool between; the second's output is added to its input. Own master node."""

    def __init__(self, sizes: GraphSizes) -> None:
        super().__init__()
        dim, narrow = sizes.dims
        self.master = nn.Parameter(torch.randn(1, 1, dim))
        self.first = HeterogeneousAttention(dim, narrow, sizes.temperatures[2])
        self.pool_temporal = GraphPool(narrow, sizes.ratios[2])
        self.pool_spectral = GraphPool(narrow, sizes.ratios[2])
        self.second = HeterogeneousAttention(narrow, narrow, sizes.temperatures[2])

    def forward(self, temporal: Tensor, spectral: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, T, D], [B, S, D] -> temporal [B, T', D'], spectral [B, S', D'], master [B, 1, D']."""
        t, s, master = self.first(temporal, spectral, self.master.expand(temporal.shape[0], -1, -1))
        t, s = self.pool_temporal(t), self.pool_spectral(s)
        more_t, more_s, more_master = self.second(t, s, master)
        return t + more_t, s + more_s, master + more_master
