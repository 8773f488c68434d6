"""ACCon, the angle-compensated contrast for regression (arXiv 2501.07045; equation 2 as FINE, AAAI 2026, prints it and
the released code computes it).

A negative's cosine is turned by phi = (1 - d / M) pi, d the distance of the labels and M the largest there can be:

    s = cos(theta + phi) = -cos(theta - pi d / M)

so a negative is as far as it can be where the angle is pi d / M, and labels come to lie in order along half a circle.
The rest is supervised contrast, which this is where every d is M. With P positives and N negatives an anchor's loss is
at least log(P + N e^(-2 / tau)), and z(y) = (cos(pi y / M), sin(pi y / M)) reaches it.

`release` is what the released code computes: it takes the row's maximum, 1 / tau, from the positives alone, so every
negative stands higher by 1 and the least is log(P + N e^(-1 / tau)). Its gradient stays alive at a small tau, where the
formula's dies; use tau 0.05 with it as the authors do, and 1 with the formula.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from earwitness.core.errors import RecipeError
from earwitness.nn.losses.contrast import Contrasted
from earwitness.nn.losses.supervised_contrast import BinnedContrast, BinnedContrastConfig


class AcconConfig(BinnedContrastConfig):
    """`span` is M in units of the label (100 for ages and 5 for STS-B as released); None: that of the training labels.

    Distances beyond M count as M. `eps` stands under the root of the sine: the gradient at coincident embeddings is at
    most 1 / sqrt(eps).
    """

    kind: Literal["accon"] = "accon"
    form: Literal["formula", "release"] = "formula"
    span: float | None = Field(None, gt=0)
    eps: float = Field(1e-6, ge=0)

    def build(self, labels: Sequence[float] | Tensor) -> Accon:
        """Warns where labels [N] of the training rows are further apart than `span`. Raises `RecipeError` where they
        have no span and none is given."""
        return Accon(self, _span(self.span, torch.as_tensor(labels, dtype=torch.float64)))


class Accon(BinnedContrast):
    """Contrast with compensated negatives; `span` is M."""

    config: AcconConfig

    def __init__(self, config: AcconConfig, span: float) -> None:
        super().__init__(config)
        self.span = span

    def negatives(self, cosines: Tensor, batch: Contrasted) -> Tensor:
        """The compensated cosines; 1 higher in the released form."""
        compensated = compensate(cosines, batch.distances, self.span, self.config.eps)
        return compensated + 1 if self.config.form == "release" else compensated


def compensate(cosines: Tensor, distances: Tensor, span: float, eps: float = 1e-6) -> Tensor:
    """-cos(theta - pi d / M) of cosines cos(theta) in [-1, 1] and label distances d; both of one shape."""
    target = distances.clamp(max=span) * (math.pi / span)
    sine = ((1 - cosines.square()).clamp(min=0) + eps).sqrt()
    return -(cosines * target.cos() + sine * target.sin())


def _span(given: float | None, labels: Tensor) -> float:
    found = float(labels.max() - labels.min()) if len(labels) else 0.0
    if given is None:
        if not found > 0:
            raise RecipeError("accon: the training labels have no span", fix="Give `span`, the largest distance.")
        return found
    if found > given:
        text = f"accon: training labels are up to {found:g} apart; distances beyond the span of {given:g} count as it"
        warnings.warn(text, stacklevel=3)
    return given
