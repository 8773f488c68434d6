"""A detector's recipe: data, split, network, loss and perturbations."""

from __future__ import annotations

from typing import Literal

from earwitness.corpora.splits import DetectionSplit
from earwitness.nn.losses import ClassificationLossConfig, CrossEntropyConfig
from earwitness.training.recipe import UtteranceRecipe


class DetectionRecipe(UtteranceRecipe):
    """Two outputs, spoof and bona fide. Both classes are drawn equally often, and within either every corpus alike."""

    task: Literal["deepfake"]
    split: DetectionSplit = DetectionSplit()
    loss: ClassificationLossConfig = CrossEntropyConfig()
    balance: tuple[str, ...] = ("label", "corpus")
