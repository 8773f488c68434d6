"""The recipe of a data-free distillation. Defaults are CMI's (arXiv 2105.08584) with ours where audio differs; FRAMI's
own numbers are not known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from earwitness.core.config import Config
from earwitness.nn.network import NetworkConfig
from earwitness.training.inversion.space import RangeConfig
from earwitness.training.inversion.views import ViewsConfig
from earwitness.training.optimisers import OptimiserConfig, SgdConfig
from earwitness.training.recipe import DataConfig
from earwitness.training.schedules import CosineConfig, ScheduleConfig


class GeneratorConfig(Config):
    """Inversion by a generator of `width` channels from `z` numbers, Adam over both, as CMI does.

    `keep` goes on with one generator instead of beginning anew every round: faster, and less diverse.
    """

    kind: Literal["generator"] = "generator"
    batch_size: int = Field(128, ge=2)
    steps: int = Field(200, ge=1)
    lr: float = Field(1e-3, gt=0)
    betas: tuple[float, float] = (0.5, 0.999)
    z: int = Field(256, ge=1)
    width: int = Field(128, ge=2)
    keep: bool = False


class InputsConfig(Config):
    """Inversion of the inputs themselves, as DeepInversion does (arXiv 1912.08795): rolled in time by up to `roll` of
    their length at each step."""

    kind: Literal["inputs"] = "inputs"
    batch_size: int = Field(128, ge=2)
    steps: int = Field(1000, ge=1)
    lr: float = Field(0.1, gt=0)
    betas: tuple[float, float] = (0.5, 0.99)
    roll: float = Field(0.125, ge=0, le=1)


SynthesisConfig = Annotated[GeneratorConfig | InputsConfig, Field(discriminator="kind")]


class WeightsConfig(Config):
    """What each term of inversion counts; 0 leaves it out.

    `divergence`: the adversarial term's form, CMI's or DeepInversion's. `clip` holds CMI's at ln K a sample. `first_bn`
    scales the first layer within `bn`. `tv` and `l2` are the priors of images, for `inputs`.
    """

    bn: float = Field(1.0, ge=0)
    oh: float = Field(1.0, ge=0)
    adv: float = Field(0.5, ge=0)
    cr: float = Field(0.8, ge=0)
    tv: float = Field(0.0, ge=0)
    l2: float = Field(0.0, ge=0)
    first_bn: float = Field(1.0, ge=0)
    divergence: Literal["cmi", "js"] = "cmi"
    clip: bool = True

    @model_validator(mode="after")
    def _something_pulls(self) -> WeightsConfig:
        if not any((self.bn, self.oh, self.adv, self.cr)):
            raise ValueError("one of bn, oh, adv and cr is above 0")
        return self


class ContrastConfig(Config):
    """Temperature, width of the head, and the bank: how many pairs it keeps and how many are drawn at a step.

    The head's `hidden` layer is as wide as the features by default (as in CMI), which only small teachers allow.
    """

    tau: float = Field(0.1, gt=0)
    head: int = Field(256, ge=1)
    hidden: int | None = Field(None, ge=1)
    bank: int = Field(8192, ge=1)
    negatives: int = Field(1024, ge=1)


class DistillationConfig(Config):
    """How the student learns at a step; `pre` and `post` weigh the hidden states before and after the pooling (0: off).

    With `reuse_teacher_head` the student classifies by the teacher's own classifier, on what its adapter makes of its
    pooled vector; both become one linear layer in the end.
    """

    batch_size: int = Field(128, ge=2)
    tau: float = Field(4.0, gt=0)
    pre: float = Field(1.0, ge=0)
    post: float = Field(1.0, ge=0)
    reuse_teacher_head: bool = False

    @model_validator(mode="after")
    def _a_trained_adapter(self) -> DistillationConfig:
        if self.reuse_teacher_head and not self.post:
            raise ValueError("reuse_teacher_head needs `post` above 0, which trains the adapter that it reads")
        return self


class RoundsConfig(Config):
    """So many rounds of one synthesis and `steps` of the student each. There is a checkpoint after every round."""

    rounds: int = Field(100, ge=1)
    steps: int = Field(400, ge=1)
    log_every: int = Field(50, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"


class RealTestConfig(Config):
    """Real recordings that the student is judged on, after its training, and nothing else: class by `column`.

    `where` names rows by the values of a column (e.g. the speakers or folds that the teacher never heard).
    """

    data: DataConfig
    column: str = "sound"
    where: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class InversionRecipe(Config):
    """`teacher` is a model folder or a shipped model's name. The student's front-ends are the teacher's; what of
    them is `standard`, and the number of `outputs`, need not be given.

    `frames` is the nominal length N of a synthetic spectrogram; each round draws one of its `durations`. `input_range`
    and `statistics` (a file of recorded ones) are for teachers that don't bring theirs.
    """

    task: Literal["inversion"]
    name: str
    seed: int = Field(0, ge=0)
    teacher: str
    student: NetworkConfig
    frames: int = Field(100, ge=8)
    durations: tuple[float, ...] = Field((0.5, 0.75, 1.0), min_length=1)
    input_range: RangeConfig | None = None
    statistics: Path | None = None
    synthesis: SynthesisConfig = GeneratorConfig()
    weights: WeightsConfig = WeightsConfig()
    contrast: ContrastConfig = ContrastConfig()
    views: ViewsConfig = ViewsConfig()
    distillation: DistillationConfig = DistillationConfig()
    optimiser: OptimiserConfig = SgdConfig(lr=0.1, nesterov=False)
    schedule: ScheduleConfig = CosineConfig(per="step")
    loop: RoundsConfig = RoundsConfig()
    test: RealTestConfig | None = None
    notes: str = ""
    licence: str = "Apache-2.0"  # SPDX, of the weights

    @model_validator(mode="after")
    def _lengths(self) -> InversionRecipe:
        if not all(0 < share <= 1 for share in self.durations):
            raise ValueError("durations are shares of `frames`, above 0 and at most 1")
        return self

    def lengths(self) -> tuple[int, ...]:
        """Frames of the clips that rounds draw from: multiples of 4, as the generator makes them."""
        return tuple(max(4, round(self.frames * share / 4) * 4) for share in self.durations)
