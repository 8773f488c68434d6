"""Poolings against sums written out by hand, with and without a mask."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from earwitness.core.errors import AudioError
from earwitness.nn.pooling import (
    AstpConfig,
    AttentiveStatisticsConfig,
    DynamicsConfig,
    LastConfig,
    MeanConfig,
    MfaConfig,
    StatisticsConfig,
)
from earwitness.nn.pooling.base import PoolingConfigBase
from earwitness.nn.types import Frames

ALL: list[PoolingConfigBase] = [
    MeanConfig(),
    StatisticsConfig(),
    DynamicsConfig(),
    LastConfig(),
    AstpConfig(bottleneck=8),
    AttentiveStatisticsConfig(bottleneck=8),
    AttentiveStatisticsConfig(bottleneck=8, form="sb"),
    AttentiveStatisticsConfig(bottleneck=8, global_context=False),
    MfaConfig(layers=2, hidden=8),
    MfaConfig(layers=3, hidden=8, tau=2),
    AttentiveStatisticsConfig(bottleneck=8, global_context=False, per_channel=False),
]


@pytest.mark.parametrize("config", ALL)
def test_masked_frames_do_not_count(config: PoolingConfigBase) -> None:
    torch.manual_seed(0)
    pooling = config.build(6).eval()
    x = torch.randn(2, 9, 6)
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[1, 5:] = False
    with torch.no_grad():
        padded = pooling(Frames(x, mask)).mean
        alone = torch.cat([pooling(Frames(x[:1])).mean, pooling(Frames(x[1:, :5])).mean])
    assert padded.shape == (2, pooling.dim)
    torch.testing.assert_close(padded, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", ALL)
def test_no_frame_is_refused(config: PoolingConfigBase) -> None:
    pooling = config.build(6).eval()
    with pytest.raises(AudioError, match="too short"):
        pooling(Frames(torch.randn(2, 0, 6)))
    with pytest.raises(AudioError, match="too short"):
        pooling(Frames(torch.randn(2, 4, 6), torch.tensor([[True] * 4, [False] * 4])))


@pytest.mark.parametrize("config", ALL)
def test_one_frame_and_constant_frames_have_finite_gradients(config: PoolingConfigBase) -> None:
    pooling = config.build(6).eval()
    for x in (torch.randn(2, 1, 6), torch.ones(2, 5, 6)):
        x.requires_grad_()
        pooling(Frames(x)).mean.sum().backward()
        assert x.grad is not None
        assert bool(x.grad.isfinite().all())


def test_dynamics_of_known_numbers() -> None:
    x = torch.tensor([[[0.0, 5.0], [1.0, 5.0], [4.0, 5.0], [4.0, 7.0]]])
    assert DynamicsConfig().build(2)(Frames(x)).mean[0].tolist() == pytest.approx([4 / 3, 2 / 3, 5 / 2, 1.0])
    gap = torch.tensor([[True, True, False, True]])  # only the first two are neighbours that count
    assert DynamicsConfig().build(2)(Frames(x, gap)).mean[0].tolist() == pytest.approx([1.0, 0.0, 0.0, 0.0])


def test_mean_statistics_and_last_of_known_numbers() -> None:
    frames = Frames(torch.tensor([[[1.0, 0.0], [3.0, 0.0], [5.0, 6.0]]]))
    assert MeanConfig().build(2)(frames).mean.tolist() == [[3.0, 2.0]]
    assert LastConfig().build(2)(frames).mean.tolist() == [[5.0, 6.0]]
    deviations = [(8 / 3) ** 0.5, 8**0.5]
    assert StatisticsConfig().build(2)(frames).mean[0].tolist() == pytest.approx([3.0, 2.0, *deviations])


def by_hand(pooling: torch.nn.Module, x: Tensor, context: Tensor | None, floor: float) -> Tensor:
    """Attentive statistics with the concatenated input that the papers write, x [B, F, T]."""
    given = x if context is None else torch.cat([x, context.expand(-1, -1, x.shape[2])], dim=1)
    hidden = torch.tanh(pooling.norm(pooling.reduce(given)))
    a = F.softmax(pooling.expand(hidden), dim=2)
    mean = (a * x).sum(2)
    deviation = ((a * x * x).sum(2) - mean * mean).clamp(min=floor).sqrt()
    return torch.cat([mean, deviation], dim=1)


@pytest.mark.parametrize(
    ("config", "correction", "floor"),
    [
        (AttentiveStatisticsConfig(bottleneck=8), 1, 1e-7),
        (AttentiveStatisticsConfig(bottleneck=8, form="sb"), 0, 1e-12),
        (AstpConfig(bottleneck=8), None, 1e-10),
    ],
)
def test_attentive_statistics_equal_their_definition(
    config: PoolingConfigBase, correction: int | None, floor: float
) -> None:
    torch.manual_seed(1)
    pooling = config.build(6).double().eval()
    x = 3 * torch.randn(2, 6, 15, dtype=torch.float64) + 1
    context = None
    if correction is not None:
        context = torch.cat([x.mean(2, keepdim=True), x.std(2, correction=correction, keepdim=True)], dim=1)
    with torch.no_grad():
        ours = pooling(Frames(x.transpose(1, 2))).mean
        torch.testing.assert_close(ours, by_hand(pooling, x, context, floor), atol=1e-6, rtol=1e-6)


def test_attention_is_a_distribution_over_frames_that_count() -> None:
    pooling = AstpConfig(bottleneck=8).build(6)
    mask = torch.tensor([[True, True, False, True]])
    weights = pooling.attention(Frames(torch.randn(1, 4, 6), mask))
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 6))
    assert float(weights[..., 2].detach().abs().max()) == 0
