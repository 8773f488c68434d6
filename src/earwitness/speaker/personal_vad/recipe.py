"""The recipe of a personal voice activity detection."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from earwitness.corpora.splits import SpeakerSplit
from earwitness.speaker.personal_vad.backbone import PersonalVadConfig
from earwitness.speaker.personal_vad.examples import HardNegativesConfig, MixingConfig
from earwitness.speaker.personal_vad.losses import LossConfig
from earwitness.training.optimisers import AdamWConfig, OptimiserConfig
from earwitness.training.recipe import Recipe
from earwitness.training.schedules import CosineConfig, ScheduleConfig


class PersonalVadRecipe(Recipe):
    """`verifier` is the frozen speaker model, a shipped one's name or a folder. `transform`: the principal axes of
    its training speakers' means, or random ones. `draws` examples make an epoch, `dev_draws` the dev set.

    Optimiser and schedule are ours; the paper's are not known.
    """

    task: Literal["personal-vad"]
    verifier: str = "speaker-small"
    split: SpeakerSplit = SpeakerSplit()
    network: PersonalVadConfig = PersonalVadConfig()
    transform: Literal["pca", "random"] = "pca"
    losses: LossConfig = LossConfig()
    mixing: MixingConfig = MixingConfig()
    hard_negatives: HardNegativesConfig | None = None
    draws: int = Field(3200, ge=1)
    dev_draws: int = Field(200, ge=2)
    optimiser: OptimiserConfig = AdamWConfig(lr=1e-3)
    schedule: ScheduleConfig = CosineConfig(per="step")
    licence: str = "Apache-2.0"  # SPDX, of the weights

    @model_validator(mode="after")
    def _steps_are_batches(self) -> PersonalVadRecipe:
        if self.loop.accumulate != 1 and self.hard_negatives is not None:
            raise ValueError("hard negatives count steps by batches: leave `loop.accumulate` at 1")
        return self
