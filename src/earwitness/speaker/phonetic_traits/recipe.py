"""A recipe of ExPO (arXiv 2501.05729) or PhiNet (arXiv 2604.01590): a verifier that compares phone by phone."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from earwitness.audio.perturb import PerturbationConfig
from earwitness.core.config import Config
from earwitness.corpora.splits import SpeakerSplit
from earwitness.nn.losses import AamConfig, MarginLossConfig
from earwitness.speaker.phones import PhonesConfig
from earwitness.speaker.phonetic_traits.losses import TraitLossConfig
from earwitness.speaker.phonetic_traits.network import TraitNetworkConfig
from earwitness.training.recipe import AudioConfig, Recipe


class MarginGrowth(Config):
    """The margin is 0 before epoch `start`, its own from epoch `end` on, and grows exponentially between."""

    start: float = Field(20.0, ge=0)
    end: float = Field(40.0, gt=0)

    @model_validator(mode="after")
    def _in_order(self) -> MarginGrowth:
        if self.end <= self.start:
            raise ValueError("the margin's growth ends after it starts")
        return self


class SpeakerTraitsRecipe(Recipe):
    """A batch holds `loop.batch_size` / 2 speakers with two utterances each; labels are cropped with the audio.

    An epoch draws as many utterances as there are training rows, or `draws`. `phones` says where labels come from. A
    network with `phinet` learns by its own losses: `margin` and `traits` are of ExPO.
    """

    task: Literal["speaker-traits"]
    phones: PhonesConfig
    split: SpeakerSplit = SpeakerSplit()
    audio: AudioConfig = AudioConfig(crop_s=2.015, trim_silence=False)
    network: TraitNetworkConfig = TraitNetworkConfig()
    margin: MarginLossConfig = AamConfig(margin=0.2, scale=32.0)
    margin_growth: MarginGrowth | None = None
    traits: TraitLossConfig = TraitLossConfig()
    perturbations: tuple[PerturbationConfig, ...] = ()
    draws: int | None = Field(None, ge=2)
    licence: str = "Apache-2.0"  # SPDX, of the weights

    @model_validator(mode="after")
    def _labels_stay_in_place(self) -> SpeakerTraitsRecipe:
        audio = self.audio
        if audio.crop_s is None or audio.trim_silence or audio.crop_from != "anywhere" or audio.perturb != "crop":
            raise ValueError("phone labels need `audio` with a crop_s, trim_silence: false, and perturbed crops")
        if audio.rate != self.network.frontend.rate:
            raise ValueError("audio.rate and the rate of the frontend differ")
        if self.loop.batch_size % 2 or self.loop.batch_size < 4:
            raise ValueError("a batch has at least two speakers with two utterances each: an even batch_size from 4 on")
        return self
