"""A detector's recipe: data, split, network, loss and perturbations."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from earwitness.corpora.splits import DetectionSplit, FoldSplit
from earwitness.nn.losses import ClassificationLossConfig, CrossEntropyConfig
from earwitness.training.pooled import View
from earwitness.training.recipe import UtteranceRecipe


class DetectionRecipe(UtteranceRecipe):
    """Two outputs, spoof and bona fide. Both classes are drawn equally often, and within either every corpus alike.

    With a split by `folds` the network's votes form a committee (`deepfake.committee`).
    """

    task: Literal["deepfake"]
    split: DetectionSplit | FoldSplit = Field(DetectionSplit(), discriminator="kind")
    views: tuple[View, ...] = ()  # of a committee: how each row is heard (`training.pooled`)
    loss: ClassificationLossConfig = CrossEntropyConfig()
    balance: tuple[str, ...] = ("label", "corpus")

    @field_validator("split", mode="before")
    @classmethod
    def _by_sides_unless_said(cls, value: Any) -> Any:
        return {"kind": "detection", **value} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _committee(self) -> DetectionRecipe:
        votes = self.network.votes
        if isinstance(self.split, FoldSplit) != bool(self.views):
            raise ValueError("a split by folds needs `views`, and only it does")
        if isinstance(self.split, FoldSplit) and (votes is None or votes.copies != self.split.count):
            raise ValueError(f"a split into {self.split.count} folds needs `network.votes` with as many copies")
        if self.views and self.views[0] != "clean":
            raise ValueError("the first of the views is `clean`")
        return self
