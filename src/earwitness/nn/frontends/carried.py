"""A wav2vec 2.0 or WavLM encoder that a model carries with it: fine-tuned, so its weights stand in the model itself.

Where a recipe names an encoder by folder or hub name (`pretrained`), the frozen weights come from there; here only
`settings` are needed to build it, and loading the model fills it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from earwitness.nn.frontends.aggregation import AggregationKind, build_aggregation
from earwitness.nn.frontends.base import FrontendConfigBase
from earwitness.nn.frontends.encoder import EncoderFrontend, Normalisation
from earwitness.nn.frontends.pretrained import SelfSupervisedStates
from earwitness.nn.pretrained.encoder_settings import EncoderSettings


class CarriedConfig(FrontendConfigBase):
    """`layers`, `aggregation`, `normalisation`: as in `pretrained`. The encoder takes part in training."""

    kind: Literal["carried"] = "carried"
    settings: EncoderSettings
    layers: tuple[int, ...] | None = None
    aggregation: AggregationKind = "last"
    normalisation: Normalisation = "none"
    name: str = Field(default="", description="where it came from, for people")

    def build(self) -> EncoderFrontend:
        """With random weights. Raises `RecipeError` for layers it does not have."""
        encoder = SelfSupervisedStates(self.settings.build(), self.name or "carried")
        aggregation = build_aggregation(self.aggregation, self.layers, encoder.count, encoder.dim)
        return EncoderFrontend(encoder, aggregation, frozen=False, normalisation=self.normalisation)
