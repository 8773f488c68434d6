"""Losses of number-valued labels (age, intensity, valence): SVLDL (reconstruction, arXiv 2210.09524) and what it is
compared with. A new one is a file here and a member of the union.

They read [B, `outputs`] of a network, give named terms, and say what distribution over the label's grid was meant.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from earwitness.nn.losses.label_distribution.balanced import BalancedMseConfig
from earwitness.nn.losses.label_distribution.base import ValueLoss, ValueLossConfigBase
from earwitness.nn.losses.label_distribution.baselines import (
    CrossEntropyOfValuesConfig,
    DldlConfig,
    DldlV2Config,
    MeanVarianceConfig,
    SordConfig,
    UnimodalConfig,
)
from earwitness.nn.losses.label_distribution.grid import Grid, GridConfig, end_bias
from earwitness.nn.losses.label_distribution.ordinal import CoralConfig, OrCnnConfig
from earwitness.nn.losses.label_distribution.regression import RegressionConfig
from earwitness.nn.losses.label_distribution.selection import CandidateTargets
from earwitness.nn.losses.label_distribution.svldl import Svldl, SvldlConfig
from earwitness.nn.losses.label_distribution.terms import concordance, concordance_loss, difference_loss, divergence

ValueLossConfig = Annotated[
    SvldlConfig
    | RegressionConfig
    | CrossEntropyOfValuesConfig
    | MeanVarianceConfig
    | DldlConfig
    | DldlV2Config
    | SordConfig
    | OrCnnConfig
    | CoralConfig
    | UnimodalConfig
    | BalancedMseConfig,
    Field(discriminator="kind"),
]

__all__ = [
    "BalancedMseConfig",
    "CandidateTargets",
    "CoralConfig",
    "CrossEntropyOfValuesConfig",
    "DldlConfig",
    "DldlV2Config",
    "Grid",
    "GridConfig",
    "MeanVarianceConfig",
    "OrCnnConfig",
    "RegressionConfig",
    "SordConfig",
    "Svldl",
    "SvldlConfig",
    "UnimodalConfig",
    "ValueLoss",
    "ValueLossConfig",
    "ValueLossConfigBase",
    "concordance",
    "concordance_loss",
    "difference_loss",
    "divergence",
    "end_bias",
]
