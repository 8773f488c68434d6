"""How a multitask emotion network learns and is judged: what is known of each row, by its id, and the loss terms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from earwitness.core.errors import DataError
from earwitness.corpora.batch import Batch
from earwitness.metrics.classification import confusion
from earwitness.paralinguistic.emotion import FRAMES, GENDERS, SpecAugmentConfig
from earwitness.paralinguistic.emotion_losses import (
    CATEGORY,
    GENDER,
    INTENSITY,
    PHONEMES,
    EmotionTargets,
    LossesConfig,
    category_loss,
    gender_loss,
    intensity_loss,
    phoneme_loss,
    sayable,
)
from earwitness.paralinguistic.labels import CATEGORIES, Labels
from earwitness.paralinguistic.transcripts import Spelt
from earwitness.training.task import Losses, Metrics

SEXES = {"f": 0, "female": 0, "m": 1, "male": 1}  # places in `GENDERS`
assert len(GENDERS) == 2


@dataclass(frozen=True)
class KnownRows:
    """What is known of rows by their ids: everything that the losses ask for."""

    places: Mapping[str, int]
    category: Tensor
    classes: Tensor
    intensity: Tensor
    gender: Tensor
    phones: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, sides: Sequence[Labels], phones: Mapping[str, tuple[int, ...]]) -> KnownRows:
        """The rows of all sides of a split."""
        ids, sexes, corpora = ([*_column(sides, name)] for name in ("id", "sex", "corpus"))
        masks = {name: side.config.mask(name) for side in sides for name in side.corpora}
        return cls(
            places={str(name): place for place, name in enumerate(ids)},
            category=torch.from_numpy(np.concatenate([side.category for side in sides])),
            classes=torch.from_numpy(np.stack([masks[str(name)] for name in corpora])),
            intensity=torch.from_numpy(np.concatenate([side.intensity for side in sides])).float(),
            gender=torch.tensor([SEXES.get(str(sex).lower(), -1) for sex in sexes]),
            phones=phones,
        )

    def targets(self, batch: Batch) -> EmotionTargets:
        """Of a batch's items; one that was cut has no transcript. Raises `DataError` for a row that is not known."""
        if unknown := [name for name in batch.ids if name not in self.places]:
            raise DataError(f"nothing is known of row '{unknown[0]}'", fix="Read its labels before it is learnt from.")
        rows = torch.tensor([self.places[name] for name in batch.ids])
        whole = [True] * len(rows) if batch.targets.whole is None else batch.targets.whole.tolist()
        spelt = [self.phones.get(name, ()) if heard else () for name, heard in zip(batch.ids, whole, strict=True)]
        device = batch.waveforms.device
        return EmotionTargets(
            category=self.category[rows].to(device),
            classes=self.classes[rows].to(device),
            intensity=self.intensity[rows].to(device),
            gender=self.gender[rows].to(device),
            phones=pad_sequence([torch.tensor(one, dtype=torch.int64) for one in spelt], batch_first=True).to(device),
            phone_counts=torch.tensor([len(one) for one in spelt], device=device),
        )


class EmotionTask:
    """`Task` over rows that are known. `class_weights` [7] of the category's cross-entropy."""

    def __init__(
        self,
        known: KnownRows,
        config: LossesConfig,
        augment: SpecAugmentConfig | None = None,
        class_weights: Tensor | None = None,
    ) -> None:
        self.known, self.config = known, config
        self._augment, self._weights = augment, class_weights
        self._epochs = 0.0
        self._counts: dict[str, float] = defaultdict(float)

    def set_progress(self, epochs: float) -> None:
        """Frames are masked once so many epochs have passed."""
        self._epochs = epochs

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        """The weighted terms of the tasks that are learnt."""
        augment = self._augment if self._augment and self._epochs >= self._augment.first_epoch else None
        outputs = model(batch.waveforms, batch.lengths, augment)
        targets = self.known.targets(batch)
        self._count(outputs, targets)
        return losses(outputs, targets, self.config, self._weights)

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Metrics:
        """`ua`, `wa` and `macro_f1` of the likeliest class of each item's corpus, and the weighted `loss`."""
        truth: list[str] = []
        called: list[str] = []
        total = 0.0
        for batch in batches:
            outputs = model(batch.waveforms, batch.lengths)
            targets = self.known.targets(batch)
            total += float(losses(outputs, targets, self.config, self._weights).total) * len(batch.ids)
            allowed = outputs[CATEGORY].masked_fill(~targets.classes, float("-inf"))
            truth += [CATEGORIES[place] for place in targets.category.tolist()]
            called += [CATEGORIES[place] for place in allowed.argmax(1).tolist()]
        found = confusion(truth, called, CATEGORIES)
        values = {"ua": found.ua, "wa": found.wa, "macro_f1": found.macro_f1, "loss": total / len(truth)}
        return Metrics(values)

    def notes(self, model: nn.Module) -> dict[str, float]:
        """Shares of the epoch's items that had a label for each task, and of those whose transcript did not fit."""
        items = max(1.0, self._counts.pop("items", 0.0))
        found = {name: count / items for name, count in self._counts.items()}
        self._counts = defaultdict(float)
        return found

    def _count(self, outputs: Mapping[str, Tensor], targets: EmotionTargets) -> None:
        self._counts["items"] += len(targets.category)
        self._counts[f"labelled {INTENSITY}"] += int(targets.intensity.isfinite().all(1).sum())
        self._counts[f"labelled {GENDER}"] += int((targets.gender >= 0).sum())
        said = sayable(outputs[FRAMES], targets)
        self._counts[f"labelled {PHONEMES}"] += int(said.sum())
        self._counts["transcript too long"] += int(((targets.phone_counts > 0) & ~said).sum())


def losses(
    outputs: Mapping[str, Tensor], targets: EmotionTargets, config: LossesConfig, class_weights: Tensor | None = None
) -> Losses:
    """The weighted terms of a batch, from the network's outputs by task."""
    weights = None if class_weights is None else class_weights.to(outputs[CATEGORY].device)
    terms = {CATEGORY: category_loss(outputs[CATEGORY], targets, weights)}
    if config.intensity > 0:
        terms[INTENSITY] = config.intensity * intensity_loss(outputs[INTENSITY], targets, config.intensity_as)
    if config.phonemes > 0:
        terms[PHONEMES] = config.phonemes * phoneme_loss(outputs[PHONEMES], outputs[FRAMES], targets)
    if config.gender > 0:
        terms[GENDER] = config.gender * gender_loss(outputs[GENDER], targets)
    return Losses(terms)


def inverse_frequencies(train: Labels) -> Tensor:
    """N / (K n_k) of the K categories that training has, 0 for others, [7]."""
    counts = np.bincount(train.category, minlength=len(CATEGORIES))
    there = int((counts > 0).sum())
    weights = np.divide(counts.sum() / there, counts, out=np.zeros(len(CATEGORIES)), where=counts > 0)
    return torch.from_numpy(weights).float()


def joined(parts: Sequence[Spelt]) -> dict[str, tuple[int, ...]]:
    """The transcripts of several sides, spelt in the same symbols."""
    return {name: symbols for part in parts for name, symbols in part.of_row.items()}


def _column(sides: Sequence[Labels], name: str) -> list[object]:
    return [value for side in sides for value in side.manifest.table[name].to_list()]
