"""Graph attention over nodes of a spectrogram (AASIST, arXiv 2110.01200, sections 2.2 and 3).

Every layer takes nodes [B, N, D]. Two nodes attend to each other by what they have in common: their element-wise
product goes through a linear layer and tanh, a weight vector makes it a number, and a softmax over the other nodes
makes shares. A high temperature evens the shares out.

A heterogeneous layer joins nodes of two kinds, temporal and spectral: each kind is projected for itself, pairs within
either kind and pairs across have weight vectors of their own, and a master node gathers from all and gives to none.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

INPUT_DROPOUT = 0.2


class GraphAttention(nn.Module):
    """[B, N, D] -> [B, N, D']: SELU(batch-norm(linear of what a node attends to + linear of the node itself))."""

    def __init__(self, input_dim: int, output_dim: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.dropout = nn.Dropout(INPUT_DROPOUT)
        self.relation = nn.Linear(input_dim, output_dim)
        self.score = weight_vector(output_dim)
        self.attended = nn.Linear(input_dim, output_dim)
        self.own = nn.Linear(input_dim, output_dim)
        self.norm = nn.BatchNorm1d(output_dim)
        self.activation = nn.SELU()

    def shares(self, nodes: Tensor) -> Tensor:
        """How much each node (row) takes from each (column), [B, N, N]; rows sum to 1."""
        scores = torch.tanh(self.relation(products(nodes))) @ self.score
        return torch.softmax(scores.squeeze(-1) / self.temperature, dim=-1)

    def forward(self, nodes: Tensor) -> Tensor:
        """[B, N, D] -> [B, N, D']."""
        nodes = self.dropout(nodes)
        joined = self.attended(self.shares(nodes) @ nodes) + self.own(nodes)
        return self.activation(over_nodes(self.norm, joined))  # type: ignore[no-any-return]


class HeterogeneousAttention(nn.Module):
    """Temporal nodes [B, T, D], spectral nodes [B, S, D] and a master node [B, 1, D] -> the same with D' values."""

    def __init__(self, input_dim: int, output_dim: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.dropout = nn.Dropout(INPUT_DROPOUT)
        self.enter_temporal = nn.Linear(input_dim, input_dim)
        self.enter_spectral = nn.Linear(input_dim, input_dim)
        self.relation = nn.Linear(input_dim, output_dim)
        self.relation_master = nn.Linear(input_dim, output_dim)
        self.score_temporal = weight_vector(output_dim)
        self.score_spectral = weight_vector(output_dim)
        self.score_across = weight_vector(output_dim)
        self.score_master = weight_vector(output_dim)
        self.attended = nn.Linear(input_dim, output_dim)
        self.own = nn.Linear(input_dim, output_dim)
        self.attended_master = nn.Linear(input_dim, output_dim)
        self.own_master = nn.Linear(input_dim, output_dim)
        self.norm = nn.BatchNorm1d(output_dim)
        self.activation = nn.SELU()

    def shares(self, nodes: Tensor, temporal: int) -> Tensor:
        """As in `GraphAttention`, [B, N, N], where the first `temporal` of the N nodes are temporal ones."""
        relations = torch.tanh(self.relation(products(nodes)))
        among = relations @ torch.cat([self.score_temporal, self.score_spectral, self.score_across], dim=1)
        is_temporal = torch.arange(nodes.shape[1], device=nodes.device) < temporal
        row, column = is_temporal[:, None], is_temporal[None, :]
        alike = torch.where(row, among[..., 0], among[..., 1])
        return torch.softmax(torch.where(row == column, alike, among[..., 2]) / self.temperature, dim=-1)

    def master_shares(self, nodes: Tensor, master: Tensor) -> Tensor:
        """How much the master node takes from each node, [B, 1, N]; sums to 1."""
        scores = torch.tanh(self.relation_master(nodes * master)) @ self.score_master
        return torch.softmax(scores.transpose(1, 2) / self.temperature, dim=-1)

    def forward(self, temporal: Tensor, spectral: Tensor, master: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Temporal [B, T, D'], spectral [B, S, D'], master [B, 1, D']. The master is not normalised."""
        count = temporal.shape[1]
        nodes = self.dropout(torch.cat([self.enter_temporal(temporal), self.enter_spectral(spectral)], dim=1))
        new_master = self.attended_master(self.master_shares(nodes, master) @ nodes) + self.own_master(master)
        joined = self.attended(self.shares(nodes, count) @ nodes) + self.own(nodes)
        joined = self.activation(over_nodes(self.norm, joined))
        return joined[:, :count], joined[:, count:], new_master


class GraphPool(nn.Module):
    """Keeps the share `ratio` of the nodes (rounded down, at least one) with the highest gates, scaled by them."""

    def __init__(self, dim: int, ratio: float) -> None:
        super().__init__()
        self.ratio = ratio
        self.dropout = nn.Dropout(0.3)
        self.gate = nn.Linear(dim, 1)

    def forward(self, nodes: Tensor) -> Tensor:
        """[B, N, D] -> [B, max(1, floor(ratio N)), D], the highest gate first."""
        gates = torch.sigmoid(self.gate(self.dropout(nodes)))
        kept = gates.topk(max(1, int(nodes.shape[1] * self.ratio)), dim=1).indices
        return (nodes * gates).gather(1, kept.expand(-1, -1, nodes.shape[2]))


def products(nodes: Tensor) -> Tensor:
    """The element-wise product of every pair of nodes: [B, N, D] -> [B, N, N, D]."""
    return nodes.unsqueeze(2) * nodes.unsqueeze(1)


def over_nodes(norm: nn.BatchNorm1d, nodes: Tensor) -> Tensor:
    """Batch-norm of [B, N, D] over batch and nodes alike."""
    return norm(nodes.flatten(0, 1)).view_as(nodes)  # type: ignore[no-any-return]


def weight_vector(dim: int) -> nn.Parameter:
    """[dim, 1], Xavier-normal."""
    return nn.Parameter(nn.init.xavier_normal_(torch.empty(dim, 1)))
