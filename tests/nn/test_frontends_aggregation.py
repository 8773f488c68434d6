"""How layers become frames: parameter counts of the published recipe, equations worked out plainly, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from earwitness.core.errors import RecipeError
from earwitness.nn.frontends.aggregation import Aggregation, build_aggregation
from earwitness.nn.frontends.encoder import normalise

States = tuple[Tensor, ...]


@pytest.fixture
def states() -> States:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, 7, 6, generator=generator) + layer for layer in range(5))


def count(aggregation: Aggregation) -> int:
    return sum(p.numel() for p in aggregation.parameters())


@pytest.mark.shows("nes2net:2.4")
@pytest.mark.parametrize(
    ("kind", "parameters"), [("last", 0), ("sea", 400), ("weighted_sum", 25), ("attm", 26_217_048), ("concat", 0)]
)
def test_parameter_counts_for_25_states_of_1024(kind, parameters) -> None:
    assert count(build_aggregation(kind, None, 25, 1024)) == parameters


@pytest.mark.shows("nes2net:2.4")
def test_shapes_of_the_gates() -> None:
    sea = build_aggregation("sea", None, 25, 1024)
    assert [tuple(p.shape) for p in sea.parameters()] == [(8, 25), (25, 8)]
    attm = build_aggregation("attm", None, 25, 1024)
    assert [tuple(p.shape) for p in attm.parameters()] == [(1024, 1), (25, 12), (12, 25), (1024, 25_600), (1024,)]


@pytest.mark.shows("nes2net:2.4")
def test_weighted_sum_starts_as_the_mean(states: States) -> None:
    weighted = build_aggregation("weighted_sum", None, 5, 6)
    stack = torch.stack(states)
    assert torch.allclose(weighted(states), stack.mean(dim=0), atol=1e-6)
    with torch.no_grad():
        weighted.weights.copy_(torch.tensor([0.0, 1.0, 2.0, -1.0, 0.5]))
    expected = torch.einsum("l,lbtd->btd", weighted.weights.softmax(dim=0), stack)
    assert torch.allclose(weighted(states), expected, atol=1e-6)


@pytest.mark.shows("nes2net:2.4")
def test_sea_gates_each_layer_of_each_item(states: States) -> None:
    sea = build_aggregation("sea", None, 5, 6)
    w1, w2 = (p.detach().numpy() for p in sea.parameters())
    stack = torch.stack(states, dim=1).numpy()
    gates = 1 / (1 + np.exp(-np.maximum(stack.mean(axis=(2, 3)) @ w1.T, 0) @ w2.T))
    expected = np.einsum("bl,bltd->btd", gates, stack)
    assert np.abs(sea(states).detach().numpy() - expected).max() < 1e-5


@pytest.mark.shows("nes2net:2.4")
def test_attm_gates_and_projects(states: States) -> None:
    attm = build_aggregation("attm", None, 5, 6)
    w, w1, w2, weight, bias = attm.parameters()
    stack = torch.stack(states, dim=1)
    score = F.silu(stack.mean(dim=2) @ w)[..., 0]
    gates = torch.sigmoid(F.silu(score @ w1) @ w2)
    merged = torch.cat([gates[:, i, None, None] * stack[:, i] for i in range(5)], dim=-1)
    assert torch.allclose(attm(states), merged @ weight.T + bias, atol=1e-5)
    assert attm.dim == 6


def test_chosen_layers(states: States) -> None:
    assert torch.equal(build_aggregation("last", None, 5, 6)(states), states[4])
    assert torch.equal(build_aggregation("layer", (2,), 5, 6)(states), states[2])
    assert torch.equal(build_aggregation("layer", (-2,), 5, 6)(states), states[3])
    both = build_aggregation("concat", (0, -1), 5, 6)
    assert both.dim == 12
    assert torch.equal(both(states), torch.cat([states[0], states[4]], dim=-1))
    assert count(build_aggregation("weighted_sum", (1, 2), 5, 6)) == 2


@pytest.mark.parametrize(
    ("kind", "layers", "message"),
    [
        ("layer", (5,), "hidden states 0 to 4"),
        ("sea", (-6,), "hidden states 0 to 4"),
        ("layer", (1, 2), "exactly one"),
        ("layer", None, "exactly one"),
        ("last", (1,), "takes the last"),
        ("concat", (), "empty"),
    ],
)
def test_contradictions_are_refused(kind, layers, message) -> None:
    with pytest.raises(RecipeError, match=message):
        build_aggregation(kind, layers, 5, 6)


@pytest.mark.shows("nes2net:2.6")
def test_utterance_normalisation_is_layer_norm_over_samples(speechlike) -> None:
    waveforms = torch.from_numpy(np.stack([speechlike(0.5, seed=s) * (s + 1) + 0.1 for s in range(3)]))
    normal = normalise(waveforms)
    assert normal.mean(dim=1).abs().max() < 1e-5
    assert torch.allclose(normal.var(dim=1, correction=0), torch.ones(3), atol=5e-3)
    expected = (waveforms[1] - waveforms[1].mean()) / (waveforms[1].var(correction=0) + 1e-5).sqrt()
    assert torch.allclose(normal[1], expected, atol=1e-5)
