"""f-InfoED: how a detector learns from the entropy of a latent, frame by frame (arXiv 2504.10819, a reconstruction).

The network has one branch with the encoder `latent_entropy` (`nn.encoders.latent_entropy`). For a batch, averaged over
utterances and frames,

    J = CE(classifier(entropy), y)  +  lambda_rec |x - decoded(z)|^2 / F  +  beta KL(posterior || N(0, I))

which bounds the objective that a review of the paper quotes: tell the classes from the entropy, keep what is needed to
decode the frames, limit what is kept of them. beta rises from 0 during the first steps, or the latent collapses early.

Which class has the higher entropy is not stated here: it is measured (`notes`, `evaluation.latent_direction`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from earwitness.core.errors import RecipeError
from earwitness.corpora.batch import Batch
from earwitness.nn.encoders.latent_entropy import Latent, LatentEntropy
from earwitness.nn.losses import CrossEntropyConfig, Loss
from earwitness.nn.losses.base import LossConfigBase
from earwitness.training.task import Losses, Metrics, Task

CLASSES = ("spoof", "bonafide")


class LatentEntropyLossConfig(LossConfigBase):
    """`class_weights` of the cross-entropy (spoof, bona fide); `lambda_rec` weighs the mean squared error of a value,
    `beta` the nats of a frame, summed over the latent's dimensions. `warmup`: the share of the steps over which beta
    rises from 0."""

    kind: Literal["latent_entropy"] = "latent_entropy"
    class_weights: tuple[float, ...] | None = (0.1, 0.9)
    lambda_rec: float = Field(1.0, ge=0)
    beta: float = Field(1e-3, ge=0)
    warmup: float = Field(0.1, ge=0, le=1)

    def build(self, input_dim: int, n_classes: int) -> Loss:
        """The cross-entropy alone. Raises `RecipeError` where `input_dim` is not one logit a class."""
        return CrossEntropyConfig(class_weights=self.class_weights).build(input_dim, n_classes)


def latent_encoder(model: nn.Module) -> LatentEntropy | None:
    """The encoder of a network that has a latent entropy; None where it has none."""
    return next((module for module in model.modules() if isinstance(module, LatentEntropy)), None)


@dataclass(frozen=True)
class Measured:
    """Of each utterance, [B]: means over its frames of H_t / D, of KL_t and of the squared error."""

    entropy: Tensor
    divergence: Tensor
    error: Tensor

    @classmethod
    def of(cls, latents: Sequence[Latent], lengths: Tensor) -> Measured:
        """In the order of the batch: utterances of equal length were heard together, shorter ones first."""
        values = [
            [latent.over_time(found) for found in (latent.entropy, latent.divergence, latent.error)]
            for latent in latents
        ]
        order = torch.argsort(torch.argsort(lengths, stable=True))
        return cls(*(torch.cat(parts)[order.to(parts[0].device)] for parts in zip(*values, strict=True)))


class LatentEntropyTask:
    """The terms of another task, which classifies, and the two that the bottleneck adds; and what each class's latent
    is like. A run has so many `epochs`."""

    def __init__(self, classification: Task, config: LatentEntropyLossConfig, epochs: int) -> None:
        self._classification = classification
        self._config = config
        self._warmup = config.warmup * epochs
        self.beta = 0.0 if self._warmup else config.beta
        self._seen = _Sums()

    def set_progress(self, epochs: float) -> None:
        """beta after so many epochs: a line up to the end of the warm-up, then constant."""
        self.beta = self._config.beta * (1.0 if self._warmup <= 0 else min(1.0, epochs / self._warmup))

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        """Those of the classification, `reconstruction` and `compression`, weighted. Raises what the classification
        raises, and `RecipeError` for a network without a latent entropy."""
        with _encoder(model).listening() as latents:
            classification = self._classification.loss(model, batch)
        measured = Measured.of(latents, batch.lengths)
        self._seen.add(measured, batch)
        return Losses(
            {
                **classification.terms,
                "reconstruction": self._config.lambda_rec * measured.error.mean(),
                "compression": self.beta * measured.divergence.mean(),
            }
        )

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Metrics:
        """Those of the classification, and for either class the means over dev of H/D (nats per dimension), KL (nats a
        frame) and the squared error."""
        sums = _Sums()
        encoder = _encoder(model)

        def heard() -> Iterable[Batch]:
            for batch in batches:
                latents.clear()
                yield batch
                sums.add(Measured.of(latents, batch.lengths), batch)

        with encoder.listening() as latents:
            found = self._classification.evaluate(model, heard())
        return Metrics({**found.values, **sums.means()})

    def notes(self, model: nn.Module) -> dict[str, float]:
        """The same means over the training utterances since the last call, with z drawn, and the present beta."""
        found, self._seen = self._seen.means(), _Sums()
        return {**found, "beta": self.beta}


class _Sums:
    """Means for either class, added up batch by batch."""

    def __init__(self) -> None:
        self._values: dict[str, float] = {}
        self._counts = dict.fromkeys(CLASSES, 0)

    def add(self, measured: Measured, batch: Batch) -> None:
        labels = batch.targets.label
        assert labels is not None
        for number, name in enumerate(CLASSES):
            chosen = labels == number
            self._counts[name] += int(chosen.sum())
            parts = {"entropy": measured.entropy, "kl": measured.divergence, "error": measured.error}
            for part, values in parts.items():
                key = f"{part} {name}"
                self._values[key] = self._values.get(key, 0.0) + float(values.detach()[chosen].sum())

    def means(self) -> dict[str, float]:
        """`entropy bonafide` and so on; a class that did not come is left out."""
        counted = {key: self._counts[key.split()[1]] for key in self._values}
        return {key: value / counted[key] for key, value in self._values.items() if counted[key]}


def _encoder(model: nn.Module) -> LatentEntropy:
    found = latent_encoder(model)
    if found is None:
        raise RecipeError("loss latent_entropy needs a branch whose encoder is `latent_entropy`")
    return found
