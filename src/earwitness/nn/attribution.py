"""Where in time and frequency a network's answer comes from: integrated gradients (arXiv 1703.01365) over the cells of
a front-end's frames.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from earwitness.core.errors import ModelError
from earwitness.nn.network import Network
from earwitness.nn.types import Frames

STEPS = 50
Answer = Callable[[Tensor], Tensor]  # frames [B, T, F] -> one number an item, [B]


def integrated_gradients(answer: Answer, values: Tensor, baseline: Tensor, steps: int = STEPS) -> Tensor:
    """(x - x') times the mean gradient of the answer on the line from the baseline x' to the frames x, [B, T, F].

    `baseline` is broadcast, e.g. [F]: the mean frame of a data set. Midpoints of `steps` pieces are taken; the cells of
    an item then sum to its answer minus that of the baseline, up to the error of that rule.
    """
    way = values.detach() - baseline
    total = torch.zeros_like(way)
    with torch.enable_grad():
        for step in range(steps):
            point = (baseline + (step + 0.5) / steps * way).requires_grad_()
            total += torch.autograd.grad(answer(point).sum(), point)[0]
    return way * total / steps


def class_logit(network: Network, classes: Tensor) -> Answer:
    """The logit of each item's class, int64 [B]. The network is in eval mode and has one branch."""
    return lambda values: _logits(network, values).gather(1, classes.unsqueeze(1)).squeeze(1)


def cosine_to(network: Network, enrolled: Tensor) -> Answer:
    """The cosine with each item's enrolled embedding [B, D]. The network is in eval mode and has one branch."""
    return lambda values: F.cosine_similarity(_embedded(network, values), enrolled)


def frames_of(network: Network, waveforms: Tensor) -> Tensor:
    """The cells that are attributed to: waveforms [B, N] -> [B, T, F]. Raises `ModelError` for several branches."""
    if len(network.branches) != 1:
        raise ModelError("attribution needs a network of one branch", fix="Attribute to each branch's model alone.")
    with torch.no_grad():
        values: Tensor = network.branches[0].frontend(waveforms).values  # type: ignore[operator]
    return values


def _embedded(network: Network, values: Tensor) -> Tensor:
    return network.embed_features([Frames(values)]).mean


def _logits(network: Network, values: Tensor) -> Tensor:
    return network.classify(network.embed_features([Frames(values)]))
