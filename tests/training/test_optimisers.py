"""Optimisers by name, and parts of a network that learn at a rate of their own."""

from __future__ import annotations

import pytest
import torch
from tiny_training import tiny_network
from torch import nn

from earwitness.core.config import parse_config
from earwitness.core.errors import RecipeError
from earwitness.training.optimisers import AdamConfig, OptimiserConfig


def test_adams_decay_is_a_term_of_the_gradient() -> None:
    """Two steps by hand: g = grad + decay x w enters both moments, which the decoupled form keeps out."""
    weight = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimiser = AdamConfig(lr=1e-2, weight_decay=0.1).build([("w", weight)])
    w, m, v = 2.0, 0.0, 0.0
    for step, gradient in enumerate((0.5, -0.3), start=1):
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimiser.step()
        g = gradient + 0.1 * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w -= 1e-2 * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)) ** 0.5 + 1e-8)
        assert weight.item() == pytest.approx(w, rel=1e-12)


def test_the_longest_prefix_counts_and_ends_at_a_dot() -> None:
    parts = [{"prefix": "a.1", "lr": 0.2}, {"prefix": "a.1.front.", "lr": 0.4}]
    config = parse_config(OptimiserConfig, {"kind": "adamw", "lr": 0.1, "parts": parts})
    names = ["a.1.back", "a.10.back", "a.1.front.w", "a.1.frontier", "head"]
    named = [(name, nn.Parameter(torch.zeros(1))) for name in names]
    optimiser = config.build(named)
    names_of = {id(parameter): name for name, parameter in named}
    found = {tuple(names_of[id(p)] for p in group["params"]): group["lr"] for group in optimiser.param_groups}
    assert found == {("a.1.back", "a.1.frontier"): 0.2, ("a.10.back", "head"): 0.1, ("a.1.front.w",): 0.4}


def test_a_prefix_that_names_nothing_is_refused() -> None:
    named = list(tiny_network().named_parameters())
    with pytest.raises(RecipeError, match=r"no parameter that learns stands under 'heads'"):
        AdamConfig.model_validate({"parts": [{"prefix": "heads", "lr": 1}]}).build(named)
    twice = {"kind": "sgd", "parts": [{"prefix": "head", "lr": 1}, {"prefix": "head", "lr": 2}]}
    with pytest.raises(RecipeError, match="'head' stands twice"):
        parse_config(OptimiserConfig, twice)
