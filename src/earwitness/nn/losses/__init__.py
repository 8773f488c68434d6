"""Classification losses. A new one is a file here and a member of the union it belongs to.

Margin losses own their class weights and take embeddings [B, D]; the cross-entropy family takes logits [B, K].
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from earwitness.nn.losses.base import Loss
from earwitness.nn.losses.cross_entropy import BinaryFocalConfig, CrossEntropyConfig, FocalConfig
from earwitness.nn.losses.margin import AamConfig, AmConfig, MarginLoss, MarginRiseConfig, scheduled_margin
from earwitness.nn.losses.uncertain_margin import UncertainAam, UncertainAamConfig
from earwitness.nn.losses.variance import ClassCentroids, VarianceLossConfig, variance_loss

MarginLossConfig = Annotated[AamConfig | AmConfig | UncertainAamConfig, Field(discriminator="kind")]
ClassificationLossConfig = Annotated[CrossEntropyConfig | FocalConfig | BinaryFocalConfig, Field(discriminator="kind")]

__all__ = [
    "AamConfig",
    "AmConfig",
    "BinaryFocalConfig",
    "ClassCentroids",
    "ClassificationLossConfig",
    "CrossEntropyConfig",
    "FocalConfig",
    "Loss",
    "MarginLoss",
    "MarginLossConfig",
    "MarginRiseConfig",
    "UncertainAam",
    "UncertainAamConfig",
    "VarianceLossConfig",
    "scheduled_margin",
    "variance_loss",
]
