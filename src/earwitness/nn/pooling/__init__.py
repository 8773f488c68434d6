"""Pooling: frames to one vector an utterance. A new one is a file here and a member of `PoolingConfig`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from earwitness.nn.pooling.aasist import AasistConfig
from earwitness.nn.pooling.aasist_raw import AasistRawConfig
from earwitness.nn.pooling.attentive import AstpConfig, AttentiveMeanConfig, AttentiveStatisticsConfig
from earwitness.nn.pooling.base import Pooling
from earwitness.nn.pooling.conformer_tcm import ConformerTcmConfig
from earwitness.nn.pooling.dynamics import DynamicsConfig
from earwitness.nn.pooling.lcnn import LcnnConfig
from earwitness.nn.pooling.mfa import MfaConfig
from earwitness.nn.pooling.oc_resnet18 import OcResNet18Config
from earwitness.nn.pooling.posterior import Posterior, PosteriorConfig
from earwitness.nn.pooling.rawnet_lite import RawNetLiteConfig
from earwitness.nn.pooling.simple import LastConfig, MeanConfig, StatisticsConfig

PoolingConfig = Annotated[
    MeanConfig
    | StatisticsConfig
    | AttentiveStatisticsConfig
    | AstpConfig
    | AttentiveMeanConfig
    | DynamicsConfig
    | LastConfig
    | AasistConfig
    | AasistRawConfig
    | ConformerTcmConfig
    | OcResNet18Config
    | LcnnConfig
    | RawNetLiteConfig
    | MfaConfig
    | PosteriorConfig,
    Field(discriminator="kind"),
]

__all__ = [
    "AasistConfig",
    "AasistRawConfig",
    "AstpConfig",
    "AttentiveMeanConfig",
    "AttentiveStatisticsConfig",
    "ConformerTcmConfig",
    "DynamicsConfig",
    "LastConfig",
    "LcnnConfig",
    "MeanConfig",
    "MfaConfig",
    "OcResNet18Config",
    "Pooling",
    "PoolingConfig",
    "Posterior",
    "PosteriorConfig",
    "RawNetLiteConfig",
    "StatisticsConfig",
]
