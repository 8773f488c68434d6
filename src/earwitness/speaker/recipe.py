"""A speaker embedder's recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from earwitness.audio.windows import Sliding, WindowPolicy
from earwitness.corpora.splits import SpeakerSplit
from earwitness.nn.losses import MarginLossConfig, MarginRiseConfig, VarianceLossConfig
from earwitness.speaker.distillation import DistillationConfig
from earwitness.speaker.identity_expansion.learning import ExpandedTraining
from earwitness.speaker.published import Start
from earwitness.training.calibration import ConditionName
from earwitness.training.recipe import LoopConfig, UtteranceRecipe


class SpeakerRecipe(UtteranceRecipe):
    """`start_from` names published weights that the network begins with (see `speaker.published`), or none.

    `keep`: the final weights are `keep` x the learnt ones + (1 - `keep`) x the published ones.

    What is learnt: to tell the training speakers apart by a `margin` loss, or by `distillation` to hear through bad
    channels what the published weights hear without. With neither, the published weights stay as they are: training
    speakers make the cohort and dev speakers the calibration, and the fields of training have no effect.

    `cohort_top` is how many of the nearest of the cohort AS-norm uses on each side; 0 scores by the plain cosine. The
    cohort holds every training speaker once under each of `cohort_conditions`: a recording from a narrow band is like
    narrow-band recordings of anybody, so that clean ones alone are no measure for it.
    `speeds` are those at which training utterances are played, equally likely, pitch included: N speakers at 1.0, 0.9
    and 1.1 are 3 N classes. `expansion` adds invented speakers (INSIDE) as further classes.

    Of a network that states its variance: `variance_loss` holds it to the distance from the speaker's centroid (xi+);
    with `comparison: conservative` an uncertain print is compared to a weaker score; `fused` is how the variances of a
    recording's windows become one: their weighted harmonic mean, as released, or the model's exact posterior.
    """

    task: Literal["speaker"]
    split: SpeakerSplit = SpeakerSplit()
    margin: MarginLossConfig | None = None
    margin_rise: MarginRiseConfig | None = None  # None: the whole margin from the first step on
    variance_loss: VarianceLossConfig | None = None
    comparison: Literal["cosine", "conservative"] = "cosine"
    fused: Literal["harmonic", "posterior"] = "harmonic"
    distillation: DistillationConfig | None = None
    windows: WindowPolicy = Sliding(length_s=1.6, hop_s=0.8)
    cohort_top: int = Field(100, ge=0)
    cohort_conditions: tuple[ConditionName, ...] = Field(("clean",), min_length=1)
    speeds: tuple[float, ...] = (1.0,)
    expansion: ExpandedTraining | None = None
    start_from: Literal["none"] | Start = "none"
    keep: float = Field(
        1.0, gt=0, le=1
    )  # of what was learnt; the rest of the way back to the published weights is gone
    loop: LoopConfig = LoopConfig(epochs=1, batch_size=64)
    start_file: Path | None = None  # where the published weights lie; None: in their installed package

    @property
    def learns(self) -> bool:
        """Whether any weight is trained."""
        return self.margin is not None or self.distillation is not None

    @field_validator("speeds")
    @classmethod
    def _own_speed_first(cls, speeds: tuple[float, ...]) -> tuple[float, ...]:
        if not speeds or speeds[0] != 1 or len(set(speeds)) < len(speeds):
            raise ValueError("speeds are distinct and begin with 1.0, so that the first N classes are the speakers")
        if not all(0.25 <= speed <= 4 for speed in speeds):
            raise ValueError("a speed lies between 0.25 and 4")
        return speeds

    @model_validator(mode="after")
    def _one_way_to_learn(self) -> SpeakerRecipe:
        if self.margin is not None and self.distillation is not None:
            raise ValueError("give either `margin` or `distillation`")
        if not self.learns and self.start_from == "none":
            raise ValueError("nothing to learn and nothing to start from; give `margin`, or `start_from`")
        if not self.learns and self.keep < 1:
            raise ValueError("keep weighs what was learnt; give `margin` or `distillation`")
        if self.margin is None and (self.variance_loss is not None or self.margin_rise is not None):
            raise ValueError("`variance_loss` and `margin_rise` go with a `margin`")
        if self.fused == "posterior" and not _hears_once(self.windows):
            raise ValueError("`fused: posterior` counts every frame once: windows must neither overlap nor repeat")
        if self.expansion is not None and (self.margin is None or not self.perturbations):
            raise ValueError(
                "expansion needs a `margin` over classes, and `perturbations` for the synthetic utterances"
            )
        if self.keep < 1 and self.start_from == "none":
            raise ValueError("keep draws back to published weights; give `start_from`")
        if self.distillation is not None and self.start_from == "none":
            raise ValueError("distillation needs a teacher; give `start_from`")
        if self.distillation is not None and self.audio.crop_s is None:
            raise ValueError("distillation needs crops; give `audio.crop_s`")
        return self


def _hears_once(windows: WindowPolicy) -> bool:
    """Whether no frame is heard twice (but for a last window that is aligned to the end)."""
    if isinstance(windows, Sliding):
        return windows.hop_s == windows.length_s and not windows.repeat
    return windows.kind != "tile"
