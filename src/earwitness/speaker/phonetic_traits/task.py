"""How a phone-by-phone verifier learns, and how it is judged on dev: by its verdict and by its explanation."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from torch import Tensor, nn

from earwitness.core.errors import DataError
from earwitness.corpora.batch import Batch
from earwitness.metrics.detection import eer
from earwitness.nn.losses import MarginLoss, scheduled_margin
from earwitness.speaker.phonetic_traits.comparing import Flags, Floats, TraitPrint, agreement, similarities
from earwitness.speaker.phonetic_traits.losses import TraitLossConfig, pairs_of
from earwitness.speaker.phonetic_traits.network import HeardTraits, TraitNetwork
from earwitness.speaker.phonetic_traits.recipe import MarginGrowth
from earwitness.speaker.phonetic_traits.scoring import print_of, scores_of
from earwitness.training.task import Losses, Metrics


class TraitTrainee(nn.Module):
    """What is trained: the network, and the margin loss that is thrown away (None for PhiNet)."""

    def __init__(self, network: TraitNetwork, margin: MarginLoss | None) -> None:
        super().__init__()
        self.network = network
        self.margin = margin

    def forward(self, waveforms: Tensor, labels: Tensor) -> HeardTraits:
        """[B, N], [B, T]."""
        return self.network(waveforms, labels)  # type: ignore[no-any-return]


class TraitTask:
    """Margin and trait losses in training (PhiNet: its own); on dev all pairs of whole utterances."""

    def __init__(self, trainee: TraitTrainee, traits: TraitLossConfig, growth: MarginGrowth | None = None) -> None:
        self._margin, self._network = trainee.margin, trainee.network
        self._full = 0.0 if trainee.margin is None else trainee.margin.margin
        self._traits, self._growth = traits, growth

    def set_progress(self, epochs: float) -> None:
        """The margin grows as the recipe says."""
        if self._margin is not None and self._growth is not None:
            progress = (epochs - self._growth.start) / (self._growth.end - self._growth.start)
            self._margin.margin = scheduled_margin(progress, 0.0, self._full)

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        """`margin`, `same`, `diff`, `center`; PhiNet: `pairing`, `same`, `diff`. Raises `DataError` without labels."""
        heard = self._heard(model, batch)
        first, second = pairs_of(heard.traits)
        phinet = self._network.config.phinet
        if phinet is not None:
            return Losses(phinet.terms(self._network.scoring(), first, second))
        if self._margin is None or batch.targets.speaker is None:
            raise DataError("a margin loss needs the speaker of every row")
        return Losses(
            {"margin": self._margin(heard.embedding, batch.targets.speaker), **self._traits.terms(first, second)}
        )

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Metrics:
        """EER of the score and of the evidence score, and Spearman's correlation of both."""
        prints: list[TraitPrint] = []
        speakers: list[int] = []
        for batch in batches:
            heard = self._heard(model, batch)
            assert batch.targets.speaker is not None
            prints += [print_of(heard, place) for place in range(len(batch.ids))]
            speakers += batch.targets.speaker.tolist()
        enrol, test = np.triu_indices(len(prints), 1)
        found = similarities(prints, enrol, test)
        scores = scores_of(self._network, prints, enrol, test, found)
        same = np.array(speakers)[enrol] == np.array(speakers)[test]
        told = {"eer": _eer(scores, same), "evidence_eer": _eer(found.evidence, same)}
        return Metrics({**told, "spearman": agreement(scores, found.evidence)})

    def _heard(self, model: nn.Module, batch: Batch) -> HeardTraits:
        if batch.targets.phones is None:
            raise DataError("a batch without phone labels", fix="Give every row a phone track.")
        heard: HeardTraits = model(batch.waveforms, batch.targets.phones)
        return heard


def _eer(scores: Floats, same: Flags) -> float:
    """Over the trials that have a score."""
    there = np.isfinite(scores)
    return eer(scores[there & same], scores[there & ~same]).value
