"""A detector's recipe: data, split, network, loss and perturbations; and the run that makes a model folder of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from earwitness.audio.perturb import PerturbationConfig
from earwitness.audio.windows import Sliding, WindowPolicy
from earwitness.corpora.splits import DetectionSplit
from earwitness.nn.losses import ClassificationLossConfig, CrossEntropyConfig
from earwitness.nn.network import NetworkConfig
from earwitness.training.recipe import Recipe


class DetectionRecipe(Recipe):
    """`perturbations` are applied one after the other, each with its own probability, to both classes alike.

    `balance` names the columns whose values are drawn equally often, each within the one before.
    """

    task: Literal["deepfake"]
    split: DetectionSplit = DetectionSplit()
    network: NetworkConfig
    loss: ClassificationLossConfig = CrossEntropyConfig()
    perturbations: tuple[PerturbationConfig, ...] = ()
    balance: tuple[str, ...] = ("label", "corpus")
    draws: int | None = Field(None, ge=1)  # rows an epoch; None: as many as there are
    windows: WindowPolicy = Sliding(length_s=4.0, hop_s=4.0)
    licence: str = "Apache-2.0"
