"""A toy in which angles can be looked at: labels 20 to 80, twenty noisy smooth features of them, an MLP 20-64-16."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from earwitness.nn.losses import Contrasted, RegressionContrastConfig

FEATURES, HIDDEN, WIDTH = 20, 64, 16
SPAN = 100.0
BATCH, EPOCHS = 64, 120
NOISE = 0.2


@dataclass(frozen=True)
class Geometry:
    """On held-out points: the mean absolute error; Pearson's correlation of angle and label distance over pairs; and
    the mean |theta - pi d / 100|, in radians."""

    mae: float
    correlation: float
    deviation: float


def learnt(contrast: RegressionContrastConfig | None, points: int, seed: int, epochs: int = EPOCHS) -> Geometry:
    """Train with L1, and the contrast beside it, on so many points; judged on 300 others."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(1000 + seed)
    slow = torch.rand(2, FEATURES, generator=generator) * torch.tensor([[0.06], [2 * math.pi]])
    x, y = _drawn(points, slow, generator)
    held_x, held_y = _drawn(300, slow, generator)
    trunk = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH))
    head = nn.Linear(WIDTH, 1)
    nn.init.constant_(head.bias, 5.0)  # in tens of years
    loss = None if contrast is None else contrast.build([0.0, SPAN])
    optimiser = torch.optim.Adam([*trunk.parameters(), *head.parameters()], lr=3e-3)
    for _ in range(epochs):
        for part in torch.randperm(points, generator=generator).split(min(BATCH, points)):
            u = trunk(x[part])
            total = (10 * head(u)[:, 0] - y[part]).abs().mean()
            if loss is not None and contrast is not None:
                total = total + contrast.weight * loss(Contrasted(u, y[part]))
            optimiser.zero_grad()
            total.backward()
            optimiser.step()
    with torch.no_grad():
        u = trunk(held_x)
        error = (10 * head(u)[:, 0] - held_y).abs().mean()
        given = Contrasted(u, held_y)
        first, second = torch.triu_indices(300, 300, offset=1)
        angles, distances = given.cosines.arccos()[first, second], given.distances[first, second]
        off = (angles - math.pi * distances / SPAN).abs().mean()
    return Geometry(float(error), float(np.corrcoef(angles, distances)[0, 1]), float(off))


def _drawn(points: int, slow: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    y = torch.randint(20, 81, (points,), generator=generator).float()
    clean = torch.sin(slow[0] * y[:, None] + slow[1])
    return clean + NOISE * torch.randn(clean.shape, generator=generator), y


def mean_of(found: list[Geometry]) -> Geometry:
    """Over seeds."""
    return Geometry(*np.mean([[one.mae, one.correlation, one.deviation] for one in found], axis=0).tolist())
