"""How the layers of a pretrained encoder become one sequence of frames.

SEA, weighted sum and AttM as in Nes2Net's recipes (arXiv 2504.05657, official code), n = hidden states, D = their
width. Each takes a tuple of n hidden states [B, T, D] and gives [B, T, F], F = `dim`. The sheet states the hidden
widths for n = 25 only (8 for SEA, 12 for AttM); other n take n // 3 and n // 2, which agree with that.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from earwitness.core.errors import RecipeError

AggregationKind = Literal["last", "layer", "weighted_sum", "sea", "attm", "concat"]
HiddenStates = tuple[Tensor, ...]


class Aggregation(nn.Module):
    """Chooses layers (`layers`, indices into the hidden states) and combines them into frames of `dim` features."""

    def __init__(self, layers: tuple[int, ...], dim: int) -> None:
        super().__init__()
        self.layers = layers
        self.dim = dim

    def forward(self, states: HiddenStates) -> Tensor:
        """All hidden states of the encoder -> [B, T, F]."""
        return self.combine(tuple(states[layer] for layer in self.layers))

    def combine(self, states: HiddenStates) -> Tensor:
        """The chosen hidden states -> [B, T, F]."""
        raise NotImplementedError


class OneLayer(Aggregation):
    """One hidden state as it is."""

    def combine(self, states: HiddenStates) -> Tensor:
        """[B, T, D]."""
        return states[-1]


class Concatenation(Aggregation):
    """The hidden states side by side: F = n D."""

    def __init__(self, layers: tuple[int, ...], width: int) -> None:
        super().__init__(layers, len(layers) * width)

    def combine(self, states: HiddenStates) -> Tensor:
        """[B, T, n D]."""
        return torch.cat(states, dim=-1)


class WeightedSum(Aggregation):
    """sum_l softmax(a)_l X_l with a starting at ones: n parameters (official name: `weight_hidd`)."""

    def __init__(self, layers: tuple[int, ...], width: int) -> None:
        super().__init__(layers, width)
        self.weights = nn.Parameter(torch.ones(len(layers)))

    def combine(self, states: HiddenStates) -> Tensor:
        """[B, T, D]."""
        return weigh(states, self.weights.softmax(dim=0).expand(states[0].shape[0], -1))


class SqueezeExcitation(Aggregation):
    """SEA: sum_l g_l X_l, g = sigmoid(W2 ReLU(W1 m)), m_l the mean of X_l over time and features.

    It has 2 n (n // 3) parameters. The gates are not normalised (official names: `fc_att_merge.0` and `.2`).
    """

    def __init__(self, layers: tuple[int, ...], width: int) -> None:
        super().__init__(layers, width)
        count = len(layers)
        hidden = max(1, count // 3)
        self.squeeze = nn.Linear(count, hidden, bias=False)
        self.excite = nn.Linear(hidden, count, bias=False)

    def combine(self, states: HiddenStates) -> Tensor:
        """[B, T, D]."""
        means = torch.stack([state.mean(dim=(1, 2)) for state in states], dim=1)
        return weigh(states, self.excite(self.squeeze(means).relu()).sigmoid())


class AttentiveMerging(Aggregation):
    """AttM: gates g [B, n] from each layer's mean over time, then Linear(concat_l g_l X_l): n D -> D.

    s = SiLU(mean_t(X_l) W), W [D, 1]; s = SiLU(s W1), W1 [n, n // 2]; g = sigmoid(s W2), W2 [n // 2, n]; the three
    start standard normal (official names: `W`, `W1`, `W2`, `linear_proj`).
    """

    def __init__(self, layers: tuple[int, ...], width: int) -> None:
        super().__init__(layers, width)
        count = len(layers)
        hidden = max(1, count // 2)
        self.feature_weights = nn.Parameter(torch.randn(width, 1))
        self.squeeze = nn.Parameter(torch.randn(count, hidden))
        self.excite = nn.Parameter(torch.randn(hidden, count))
        self.projection = nn.Linear(count * width, width)

    def combine(self, states: HiddenStates) -> Tensor:
        """[B, T, D]."""
        means = torch.stack([state.mean(dim=1) for state in states], dim=1)
        scores = F.silu((means @ self.feature_weights).squeeze(-1))
        gates = (F.silu(scores @ self.squeeze) @ self.excite).sigmoid()
        gated = [state * gate[:, None, None] for state, gate in zip(states, gates.unbind(dim=1), strict=True)]
        projected: Tensor = self.projection(torch.cat(gated, dim=-1))
        return projected


def weigh(states: HiddenStates, weights: Tensor) -> Tensor:
    """sum_l w_l X_l with weights [B, n], added up layer by layer: the n states are never copied into one tensor."""
    total = torch.zeros_like(states[0])
    for state, weight in zip(states, weights.unbind(dim=1), strict=True):
        total = total + state * weight[:, None, None]
    return total


def build_aggregation(kind: AggregationKind, layers: tuple[int, ...] | None, count: int, width: int) -> Aggregation:
    """The aggregation of an encoder with `count` hidden states of `width`; `layers` None means all of them.

    Raises `RecipeError` for a layer that the encoder does not have, or a choice that contradicts the kind.
    """
    chosen = tuple(_index(layer, count) for layer in layers) if layers is not None else tuple(range(count))
    if not chosen:
        raise RecipeError("layers: is empty", fix="Leave it out to take all layers.")
    if kind == "last" and layers is not None:
        raise RecipeError("layers: aggregation `last` takes the last layer", fix="Use aggregation `layer` to name one.")
    if kind == "layer" and (layers is None or len(chosen) != 1):
        raise RecipeError("layers: aggregation `layer` needs exactly one layer", fix="Write for example layers: [6].")
    match kind:
        case "last" | "layer":
            return OneLayer(chosen[-1:], width)
        case "concat":
            return Concatenation(chosen, width)
        case "weighted_sum":
            return WeightedSum(chosen, width)
        case "sea":
            return SqueezeExcitation(chosen, width)
        case "attm":
            return AttentiveMerging(chosen, width)


def _index(layer: int, count: int) -> int:
    """A layer's index from the front; negative ones count from the end."""
    if not -count <= layer < count:
        raise RecipeError(f"layers: there is no layer {layer}; the encoder has the hidden states 0 to {count - 1}")
    return layer % count
