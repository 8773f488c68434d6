"""A detector's recipe: data, split, network, loss and perturbations."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from earwitness.corpora.splits import DetectionSplit, FoldSplit
from earwitness.deepfake.latent_entropy import LatentEntropyLossConfig
from earwitness.deepfake.one_class import OcSoftmaxConfig, OneClassLoss, QamoConfig, SamoConfig
from earwitness.nn.centroids import CentroidsConfig
from earwitness.nn.losses import BinaryFocalConfig, CrossEntropyConfig, FocalConfig
from earwitness.training.pooled import View
from earwitness.training.recipe import UtteranceRecipe

DetectionLoss = Annotated[
    CrossEntropyConfig
    | FocalConfig
    | BinaryFocalConfig
    | OcSoftmaxConfig
    | SamoConfig
    | QamoConfig
    | LatentEntropyLossConfig,
    Field(discriminator="kind"),
]


class DetectionRecipe(UtteranceRecipe):
    """Two outputs, spoof and bona fide (one for `binary_focal`). Both classes are drawn equally often, and within
    either every corpus alike.

    With a split by `folds` the network's votes form a committee (`deepfake.committee`).
    """

    task: Literal["deepfake"]
    split: DetectionSplit | FoldSplit = Field(DetectionSplit(), discriminator="kind")
    views: tuple[View, ...] = ()  # of a committee: how each row is heard (`training.pooled`)
    loss: DetectionLoss = CrossEntropyConfig()
    balance: tuple[str, ...] = ("label", "corpus")
    forward: Literal["joint", "separate"] = "joint"  # of the two paths of a batch, through the network

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
        if self.views and self.paths == "dual":
            raise ValueError("a committee hears its rows by `views`, not by `paths: dual`")
        if self.forward == "separate" and (self.paths != "dual" or isinstance(self.loss, OneClassLoss)):
            raise ValueError("`forward: separate` is for the two paths of a classification loss (`paths: dual`)")
        if self.views and self.complementary is not None:
            raise ValueError("a committee cannot be `complementary`: it learns from pooled frames, not from recordings")
        if self.views and self.views[0] != "clean":
            raise ValueError("the first of the views is `clean`")
        return self

    @model_validator(mode="after")
    def _loss_fits_the_network(self) -> DetectionRecipe:
        kind, outputs, centroids = self.loss.kind, self.network.outputs, self.network.centroids
        if isinstance(self.loss, OneClassLoss) != (centroids is not None):
            losses = "a one-class loss (oc_softmax, samo, qamo)"
            raise ValueError(
                f"loss {kind} needs `network.centroids`"
                if centroids is None
                else f"network.centroids are trained by {losses}, not by {kind}"
            )
        needed = 1 if isinstance(self.loss, BinaryFocalConfig) else 2
        if outputs != needed:
            raise ValueError(f"loss {kind} needs `network.outputs: {needed}`, not {outputs}")
        if centroids is not None:
            self._centroids_fit(centroids)
        return self

    def _centroids_fit(self, centroids: CentroidsConfig) -> None:
        loss, count = self.loss, centroids.count
        if centroids.learned == isinstance(loss, SamoConfig):
            raise ValueError(f"loss {loss.kind} needs centroids with `learned: {str(not centroids.learned).lower()}`")
        if isinstance(loss, OcSoftmaxConfig) and count != 1:
            raise ValueError(f"oc_softmax has one centroid, not {count}; qamo has several")
        if isinstance(loss, QamoConfig) and loss.quality.count != count:
            raise ValueError(f"loss.quality gives {loss.quality.count} level(s) for {count} centroid(s)")

    @model_validator(mode="after")
    def _latent_entropy_has_its_loss(self) -> DetectionRecipe:
        latents = sum(branch.encoder.kind == "latent_entropy" for branch in self.network.branches)
        if latents != int(isinstance(self.loss, LatentEntropyLossConfig)):
            raise ValueError("the loss latent_entropy and one branch with the encoder latent_entropy go together")
        if latents and self.views:
            raise ValueError("a committee learns by a classification loss, not by latent_entropy")
        return self
