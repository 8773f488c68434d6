"""The recipe of an age model: which rows have ages, what is learnt from them, and how the width is recalibrated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from earwitness.audio.perturb import PerturbationConfig
from earwitness.audio.perturb.chain import OneOfConfig, SeriesConfig
from earwitness.audio.perturb.simple import SpeedConfig
from earwitness.audio.windows import Sliding, WindowPolicy
from earwitness.core.config import Config
from earwitness.corpora.batch import SEXES
from earwitness.corpora.splits import ByColumn, GivenFolds, SpeakerSplit
from earwitness.nn.losses import FocalConfig
from earwitness.nn.losses.label_distribution import SvldlConfig, ValueLossConfig
from earwitness.nn.network import NetworkConfig
from earwitness.paralinguistic.regularised import RegularisersConfig
from earwitness.training.left_out import LeftOutConfig
from earwitness.training.recipe import UtteranceRecipe

AgeSplit = Annotated[ByColumn | SpeakerSplit | GivenFolds, Field(discriminator="kind")]
BAND = "age_band"  # the column of a training side that says in which band a row's age lies


class SexConfig(Config):
    """The auxiliary task: `weight` x the focal loss of the sex, over the items whose sex is known as f or m."""

    weight: float = Field(default=0.1, gt=0)
    loss: FocalConfig = FocalConfig()


class AgeRecipe(UtteranceRecipe):
    """SVLDL (reconstruction, arXiv 2210.09524) where nothing else is said; any other `loss` of number-valued labels.

    Learnt from are bona fide rows with an age, of the `corpora` that are named or of all. The network needs no
    `outputs`: there are as many as the loss reads, and two for the sex where that is learnt too (`sex: null`: not).
    `balance` may name `age_band`, in which of the bands of `band_years` an age lies. After training one temperature of
    the distributions is chosen on dev recordings by `recalibrate`; `none` leaves them as they were learnt.
    `regularise` adds a contrast of embeddings by age (ACCon and others), weights for rare ages, smoothed embeddings.
    With `left_out` a head is trained on frozen branches and judged by leaving out every speaker once
    (`training.left_out`); then there are no sides, and `split` says nothing.
    """

    task: Literal["age"]
    corpora: tuple[str, ...] = ()
    split: AgeSplit = ByColumn(unit="speaker", together=("split_group", "source_recording"), dev=0.15, test=0.15)
    loss: ValueLossConfig = SvldlConfig()
    sex: SexConfig | None = SexConfig()
    balance: tuple[str, ...] = Field((BAND,), min_length=1)
    band_years: float = Field(5.0, gt=0)
    regularise: RegularisersConfig = RegularisersConfig()
    recalibrate: Literal["nll", "crps", "none"] = "nll"
    left_out: LeftOutConfig | None = None
    windows: WindowPolicy = Sliding(length_s=30.0, hop_s=30.0, repeat=False)

    @property
    def outputs(self) -> int:
        """Of the network: the loss's, then those of the sex."""
        return self.loss.outputs + (0 if self.sex is None else len(SEXES))

    @property
    def built_network(self) -> NetworkConfig:
        """The network with as many outputs as are needed."""
        return self.network.model_copy(update={"outputs": self.outputs})

    @property
    def changes_speed(self) -> bool:
        """Whether a perturbation plays recordings faster or slower, which moves the very cues of age."""
        return any(isinstance(part, SpeedConfig) for part in _each(self.perturbations))

    @model_validator(mode="after")
    def _one_linear_classifier(self) -> AgeRecipe:
        network = self.network
        if network.votes is not None or network.centroids is not None:
            raise ValueError("an age is read from one linear layer: leave `network.votes` and `network.centroids` out")
        if network.outputs not in (None, self.outputs):
            raise ValueError(f"the loss {self.loss.kind} needs `network.outputs: {self.outputs}`, or none said")
        return self

    @model_validator(mode="after")
    def _in_whole_years(self) -> AgeRecipe:
        if self.loss.grid.step != 1 or self.loss.grid.low < 0:
            raise ValueError("the grid of ages is one of whole years, from 0 or more: `loss.grid.step: 1`")
        return self

    @model_validator(mode="after")
    def _heard_once(self) -> AgeRecipe:
        if self.paths == "dual" or self.complementary is not None:
            raise ValueError("`paths: dual` and `complementary` are for detectors and speaker models")
        if self.left_out is not None and self.regularise != RegularisersConfig():
            raise ValueError("`left_out` trains on kept vectors, which `regularise` cannot draw anew")
        return self


def _each(parts: Iterable[PerturbationConfig]) -> Iterator[PerturbationConfig]:
    """Perturbations, and those within others."""
    for part in parts:
        yield part
        if isinstance(part, OneOfConfig | SeriesConfig):
            yield from _each(part.components)
