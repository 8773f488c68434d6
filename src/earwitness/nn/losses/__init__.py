"""Losses. A new one is a file here and a member of the union it belongs to.

Margin losses own their class weights and take embeddings [B, D]; the cross-entropy family takes logits [B, K]. For
regression there are contrasts of embeddings beside the losses of `label_distribution`, and weights of rare labels.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from earwitness.nn.losses.angle_compensated import AcconConfig
from earwitness.nn.losses.base import Loss
from earwitness.nn.losses.conr import ConrConfig
from earwitness.nn.losses.contrast import Contrasted, RegressionContrast
from earwitness.nn.losses.cross_entropy import BinaryFocalConfig, CrossEntropyConfig, FocalConfig
from earwitness.nn.losses.feature_smoothing import FeatureSmoothing, FeatureSmoothingConfig
from earwitness.nn.losses.label_weighting import InvConfig, LabelWeights, SqinvConfig
from earwitness.nn.losses.margin import AamConfig, AmConfig, MarginLoss, MarginRiseConfig, scheduled_margin
from earwitness.nn.losses.rank_n_contrast import RncConfig
from earwitness.nn.losses.ranksim import RankSimConfig
from earwitness.nn.losses.supervised_contrast import AdaConConfig, SupConConfig
from earwitness.nn.losses.uncertain_margin import UncertainAam, UncertainAamConfig
from earwitness.nn.losses.variance import ClassCentroids, VarianceLossConfig, variance_loss

MarginLossConfig = Annotated[AamConfig | AmConfig | UncertainAamConfig, Field(discriminator="kind")]
RegressionContrastConfig = Annotated[
    AcconConfig | SupConConfig | AdaConConfig | ConrConfig | RncConfig | RankSimConfig, Field(discriminator="kind")
]
LabelWeightingConfig = Annotated[SqinvConfig | InvConfig, Field(discriminator="kind")]
ClassificationLossConfig = Annotated[CrossEntropyConfig | FocalConfig | BinaryFocalConfig, Field(discriminator="kind")]

__all__ = [
    "AamConfig",
    "AcconConfig",
    "AdaConConfig",
    "AmConfig",
    "BinaryFocalConfig",
    "ClassCentroids",
    "ClassificationLossConfig",
    "ConrConfig",
    "Contrasted",
    "CrossEntropyConfig",
    "FeatureSmoothing",
    "FeatureSmoothingConfig",
    "FocalConfig",
    "InvConfig",
    "LabelWeightingConfig",
    "LabelWeights",
    "Loss",
    "MarginLoss",
    "MarginLossConfig",
    "MarginRiseConfig",
    "RankSimConfig",
    "RegressionContrast",
    "RegressionContrastConfig",
    "RncConfig",
    "SqinvConfig",
    "SupConConfig",
    "UncertainAam",
    "UncertainAamConfig",
    "VarianceLossConfig",
    "scheduled_margin",
    "variance_loss",
]
