"""Integrated gradients over the cells of a spectrogram, and what the maps of pairs of networks have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from earwitness.core.errors import ModelError
from earwitness.metrics.maps import overlap, shuffled
from earwitness.nn.attribution import class_logit, cosine_to, frames_of, integrated_gradients
from earwitness.nn.network import Network, NetworkConfig

BRANCH: dict[str, Any] = {"frontend": {"kind": "log_mel", "n_mels": 20}, "pooling": {"kind": "statistics"}}


def network(seed: int, branches: int = 1) -> Network:
    torch.manual_seed(seed)
    config = {"branches": [BRANCH] * branches, "embedding": {"dim": 8, "batch_norm": False}, "outputs": 2}
    return NetworkConfig.model_validate(config).build().eval()


def test_of_a_product_each_factor_gets_its_share() -> None:
    values = torch.tensor([[[2.0, 3.0]]])
    found = integrated_gradients(lambda x: x[:, 0, 0] * x[:, 0, 1], values, torch.zeros(2))
    torch.testing.assert_close(found, torch.tensor([[[3.0, 3.0]]]))


@pytest.mark.parametrize("kind", ["logit", "cosine"])
def test_the_cells_of_an_item_sum_to_what_it_differs_by_from_the_baseline(kind: str) -> None:
    model = network(0)
    values = frames_of(model, torch.randn(3, 8000, generator=torch.Generator().manual_seed(1)))
    baseline = values.mean((0, 1))
    enrolled = torch.randn(3, 8)
    answer = class_logit(model, torch.tensor([0, 1, 1])) if kind == "logit" else cosine_to(model, enrolled)
    found = integrated_gradients(answer, values, baseline, steps=400)
    assert found.shape == values.shape
    with torch.no_grad():
        difference = answer(values) - answer(baseline.expand_as(values))
    torch.testing.assert_close(found.sum((1, 2)), difference, rtol=0.05, atol=0.02)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.shows("acorl:6.8")
def test_a_network_agrees_with_its_copy_and_with_another_more_than_shuffled_maps_do() -> None:
    sounds = torch.randn(2, 8000, generator=torch.Generator().manual_seed(1))
    maps = []
    for seed in (0, 0, 3):
        model = network(seed)
        values = frames_of(model, sounds)
        enrolled = model.embed(sounds.roll(1, 0)).mean.detach()
        found = integrated_gradients(cosine_to(model, enrolled), values, values.mean((0, 1)))
        maps.append(found.abs()[0].numpy())
    frozen, copy, other = maps
    assert overlap(frozen, copy).iou == 1.0
    between = overlap(frozen, other)
    control = overlap(frozen, shuffled(other))
    assert np.isfinite([between.spearman, between.iou]).all()
    assert abs(control.spearman) < 0.1 < between.spearman
    assert control.iou < between.iou


def test_a_network_of_several_branches_is_refused() -> None:
    with pytest.raises(ModelError, match="one branch"):
        frames_of(network(0, branches=2), torch.zeros(1, 8000))
