"""MFA: the speed-up, the attention with one weight a vector, and the sizes of the published classifier."""

from __future__ import annotations

import pytest
import torch

from earwitness.core.errors import RecipeError, UsageError
from earwitness.nn.layers.speed_up import speed_up
from earwitness.nn.pooling import MfaConfig
from earwitness.nn.pooling.mfa import LayerAttention, Mfa, MfaPooling, VectorAttention
from earwitness.nn.types import Frames


@pytest.mark.shows("rad:6.1")
def test_speed_up_averages_groups_and_the_rest() -> None:
    frames = Frames(torch.randn(2, 7, 3))
    assert torch.equal(speed_up(frames, 1).values, frames.values)
    ramp = torch.arange(1.0, 21.0).view(1, 20, 1)
    assert speed_up(Frames(ramp), 10).values.flatten().tolist() == [5.5, 15.5]
    long = torch.randn(1, 199, 4)
    short = speed_up(Frames(long), 10)
    assert short.values.shape == (1, 20, 4)
    assert short.mask is None
    torch.testing.assert_close(short.values[0, -1], long[0, 190:].mean(0))
    assert len(long[0, 190:]) == 9
    with pytest.raises(UsageError, match="tau is 0"):
        speed_up(frames, 0)


def test_speed_up_counts_only_what_the_mask_counts() -> None:
    values = torch.arange(6.0).view(1, 6, 1)
    mask = torch.tensor([[True, True, True, False, False, False]])
    short = speed_up(Frames(values, mask), 2)
    assert short.mask is not None
    assert short.mask.tolist() == [[True, True, False]]
    assert short.values[0, :2, 0].tolist() == [0.5, 2.0]


@pytest.mark.shows("rad:6.3")
def test_attention_without_weights_gives_mean_and_population_deviation() -> None:
    pool = VectorAttention(5, 8).double()
    for parameter in (pool.reduce.weight, pool.score.weight):
        torch.nn.init.zeros_(parameter)
    x = 3 * torch.randn(2, 9, 5, dtype=torch.float64) + 1
    expected = torch.cat([x.mean(1), x.std(1, correction=0)], dim=1)
    torch.testing.assert_close(pool(x), expected, atol=1e-12, rtol=1e-12)
    equal = x[:, :1].expand(-1, 9, -1)
    trained = VectorAttention(5, 8)(equal.float())
    torch.testing.assert_close(trained[:, :5], equal[:, 0].float())
    assert float(trained[:, 5:].detach().abs().max()) <= 1.001e-5
    uneven = VectorAttention(5, 8).double()
    weights = torch.softmax(uneven.score(torch.tanh(uneven.reduce(x))), dim=1)  # as the equations are written
    mean = (weights * x).sum(1)
    deviation = ((weights * x * x).sum(1) - mean * mean).clamp(min=1e-10).sqrt()
    torch.testing.assert_close(uneven(x), torch.cat([mean, deviation], dim=1))


def test_layers_side_by_side_are_the_layers() -> None:
    torch.manual_seed(0)
    layers = torch.randn(2, 3, 12, 4)  # [B, L, T, F]
    pooling = MfaPooling(Mfa(3, 4, 8), tau=5)
    side_by_side = torch.cat(list(layers.unbind(1)), dim=-1)
    shorter = torch.stack([speed_up(Frames(layer), 5).values for layer in layers.unbind(1)], dim=1)
    torch.testing.assert_close(pooling(Frames(side_by_side)).mean, pooling.mfa(shorter))


def test_layers_must_divide_the_frame() -> None:
    with pytest.raises(RecipeError, match="not 3 layers side by side"):
        MfaConfig(layers=3).build(16)


def test_every_layer_is_pooled_by_its_own_weights() -> None:
    torch.manual_seed(0)
    together, x = LayerAttention(3, 5, 8), torch.randn(2, 3, 7, 5)
    mask = torch.tensor([[True] * 7, [True] * 4 + [False] * 3])
    pooled = together(x, mask)
    for layer in range(3):
        alone = VectorAttention(5, 8)
        state = {
            "reduce.weight": together.reduce[layer].T,
            "reduce.bias": together.reduce_bias[layer, 0],
            "score.weight": together.score[layer].T,
            "score.bias": together.score_bias[layer, 0],
        }
        alone.load_state_dict(state)
        torch.testing.assert_close(alone(x[:, layer], mask), pooled[:, layer])
    assert sum(p.numel() for p in together.parameters()) == 3 * (5 * 8 + 2 * 8 + 1)
