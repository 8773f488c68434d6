"""Pooling: frames to one vector an utterance. A new one is a file here and a member of `PoolingConfig`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from earwitness.nn.pooling.attentive import AstpConfig, AttentiveStatisticsConfig
from earwitness.nn.pooling.base import Pooling
from earwitness.nn.pooling.dynamics import DynamicsConfig
from earwitness.nn.pooling.simple import LastConfig, MeanConfig, StatisticsConfig

PoolingConfig = Annotated[
    MeanConfig | StatisticsConfig | AttentiveStatisticsConfig | AstpConfig | DynamicsConfig | LastConfig,
    Field(discriminator="kind"),
]

__all__ = [
    "AstpConfig",
    "AttentiveStatisticsConfig",
    "DynamicsConfig",
    "LastConfig",
    "MeanConfig",
    "Pooling",
    "PoolingConfig",
    "StatisticsConfig",
]
