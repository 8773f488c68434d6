"""Perturbations of recordings: for augmentation in training, and to test how far a detector holds.

A new one is a file with a configuration beside it, and one line in the union below.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from earwitness.audio.perturb.base import Perturbation, item_rng
from earwitness.audio.perturb.chain import OneOfConfig, SeriesConfig
from earwitness.audio.perturb.codec import CodecConfig, available_codecs
from earwitness.audio.perturb.noise import BabbleConfig, ColouredNoiseConfig, NoiseFilesConfig
from earwitness.audio.perturb.rawboost import RawBoostConfig
from earwitness.audio.perturb.reverb import ReverbConfig
from earwitness.audio.perturb.simple import (
    ClipConfig,
    GainConfig,
    LowPassConfig,
    ResampleConfig,
    SpeedConfig,
    TelephoneBandConfig,
)

PerturbationConfig = Annotated[
    RawBoostConfig
    | ColouredNoiseConfig
    | NoiseFilesConfig
    | BabbleConfig
    | ReverbConfig
    | CodecConfig
    | LowPassConfig
    | TelephoneBandConfig
    | SpeedConfig
    | GainConfig
    | ClipConfig
    | ResampleConfig
    | OneOfConfig
    | SeriesConfig,
    Field(discriminator="kind"),
]

# these two hold further members of the union, which exists only now
OneOfConfig.model_rebuild(_types_namespace={"PerturbationConfig": PerturbationConfig})
SeriesConfig.model_rebuild(_types_namespace={"PerturbationConfig": PerturbationConfig})

__all__ = ["Perturbation", "PerturbationConfig", "available_codecs", "item_rng"]
