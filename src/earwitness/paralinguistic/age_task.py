"""How an age model is trained, and judged on dev: a loss of number-valued labels, with the sex as an auxiliary task."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from earwitness.core.errors import DataError
from earwitness.corpora.batch import SEXES, Batch
from earwitness.metrics.distribution import GridDistributions, distribution_figures
from earwitness.metrics.regression import ccc, mae, pearson
from earwitness.nn.losses.label_distribution import ValueLoss
from earwitness.nn.network import Network
from earwitness.paralinguistic.age_recipe import SexConfig
from earwitness.training.task import Losses, Metrics


class AgeHeard(NamedTuple):
    """What a network makes of a batch: the `embedding` [B, D] before its last layer, the `outputs` [B, O] that the loss
    of the age reads, and the logits of the `sex` [B, 2], or [B, 0] where it is not learnt."""

    embedding: Tensor
    outputs: Tensor
    sex: Tensor


class AgeTrainee(nn.Module):
    """What is trained: the network, and what the loss learns itself (CORAL's biases; mostly nothing)."""

    def __init__(self, network: Network, criterion: ValueLoss) -> None:
        super().__init__()
        self.network = network
        self.criterion = criterion

    @torch.no_grad()
    def start(self, ages: Tensor) -> None:
        """Begin with the distribution of the training ages [N]: the last layer says it before anything is learnt."""
        assert isinstance(self.network.classifier, nn.Linear)
        self.network.classifier.bias[: self.criterion.outputs] = self.criterion.start(ages)

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> AgeHeard:
        """[B, N] at the network's rate, lengths [B] in samples."""
        embedding = self.network.embed(waveforms, lengths)
        found = self.network.classify(embedding)
        count = self.criterion.outputs
        return AgeHeard(embedding.mean, found[:, :count], found[:, count:])


class AgeTask:
    """Trains an `AgeTrainee`. `median`: the training side's, which the trivial baseline answers always.

    A regulariser of the embedding, or a weight of each item, goes into `terms`.
    """

    def __init__(self, criterion: ValueLoss, sex: SexConfig | None, median: float) -> None:
        self.criterion = criterion
        self.median = median
        self._sex = sex
        self._sex_loss = None if sex is None else sex.loss.build(len(SEXES), len(SEXES))
        self._ages_a_batch: list[int] = []

    def set_progress(self, epochs: float) -> None:
        """How many epochs have passed: the width is fixed at first."""
        self.criterion.set_progress(epochs)

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        """The terms of the loss, and `sex`. Raises `DataError` for a row without an age, or with one off the grid."""
        heard: AgeHeard = model(batch.waveforms, batch.lengths)
        self._ages_a_batch.append(len(set(self.ages(batch).tolist())))
        return Losses(self.terms(heard, batch))

    def terms(self, heard: AgeHeard, batch: Batch) -> dict[str, Tensor]:
        """Scalar terms by name, already weighted."""
        return {**self.criterion(heard.outputs, self.ages(batch)), **self.sex_term(heard, batch)}

    def ages(self, batch: Batch) -> Tensor:
        """The ages [B], years. Raises `DataError` where one is not known."""
        ages = batch.targets.age
        if ages is None or bool(ages.isnan().any()):
            raise DataError("an age model is trained on rows with an age only", fix="Give every row an age.")
        return ages

    def sex_term(self, heard: AgeHeard, batch: Batch) -> dict[str, Tensor]:
        """The weighted focal loss over the items whose sex is known; 0 where none is."""
        if self._sex is None or self._sex_loss is None:
            return {}
        sex = batch.targets.sex
        known = torch.zeros_like(heard.sex[:, 0], dtype=torch.bool) if sex is None else sex >= 0
        if sex is None or not bool(known.any()):
            return {"sex": 0 * heard.sex.sum()}
        return {"sex": self._sex.weight * self._sex_loss(heard.sex[known], sex[known])}

    def notes(self, model: nn.Module) -> dict[str, float]:
        """What the loss counted (how often each width was selected), and how many different ages a batch had."""
        seen, self._ages_a_batch = self._ages_a_batch, []
        different = {"ages_a_batch": float(np.mean(seen)), "ages_a_batch_least": float(min(seen))} if seen else {}
        return {**self.criterion.notes(), **different}

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Metrics:
        """Over dev crops: `mae`, `pearson`, `ccc`; of the distributions, not recalibrated, `nll`, `crps` and the share
        of ages in the central 80 % interval, `coverage`; `mae_median`, of always answering the training side's median.

        A correlation with a constant is not defined: it is 0 here, so that epochs can be compared.
        """
        ages: list[Tensor] = []
        found: list[Tensor] = []
        for batch in batches:
            heard: AgeHeard = model(batch.waveforms, batch.lengths)
            found.append(self.criterion.log_distribution(heard.outputs).exp().double().cpu())
            ages.append(self.ages(batch).double().cpu())
        truth = torch.cat(ages).numpy()
        predicted = GridDistributions.of(self.criterion.grid.config.values, torch.cat(found).numpy())
        figures = distribution_figures(truth, predicted)
        values = {
            "mae": mae(truth, predicted.mean),
            "mae_median": mae(truth, np.full_like(truth, self.median)),
            "pearson": pearson(truth, predicted.mean),
            "ccc": ccc(truth, predicted.mean),
            "nll": figures.nll,
            "crps": figures.crps,
            "coverage": figures.coverage.share,
        }
        return Metrics({name: 0.0 if np.isnan(value) else float(value) for name, value in values.items()})
