"""The second experiment (2.8): a classifier of a voice's sex, trained on real speech, or on real and invented voices.

A new identity has the sex of its parents. Errors are judged on speakers who are in neither, and resampled by speaker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from earwitness.core.errors import DataError
from earwitness.corpora.batches import UtteranceDataset, Vocabulary
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.samplers import BalancedSampler
from earwitness.metrics.bootstrap import Interval, Units, bootstrap
from earwitness.metrics.scores import Floats
from earwitness.speaker.identity_expansion.learning import (
    MOST,
    ExpandedDataset,
    ExpandedOrder,
    always_perturbed,
    share_of,
)
from earwitness.speaker.identity_expansion.sources import require_apart
from earwitness.speaker.recipe import SpeakerRecipe
from earwitness.speaker.task import SpeakerTask, SpeakerTrainee
from earwitness.training.data import EpochBatches, train_batches, utterance_options, whole_utterances
from earwitness.training.loop import fit, seed_run
from earwitness.training.task import TrainData

SEXES = Vocabulary(("f", "m"))


class SexHead(nn.Module):
    """A linear layer over embeddings and its cross-entropy."""

    def __init__(self, input_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(input_dim, len(SEXES))

    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        """Embeddings [B, D], classes [B] -> scalar."""
        return nn.functional.cross_entropy(self.linear(embeddings), targets)


@dataclass(frozen=True)
class Told:
    """Test utterances: `right` bool [N], `sex` [N] as 0 (f) or 1 (m), and whose they are."""

    right: Floats
    sex: Floats
    speakers: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Error rates and balanced error rates (the mean over both sexes) of the classifier without and with invented
    voices, and the relative gain (real - expanded) / real of the error rate; intervals over speakers."""

    real: Interval
    expanded: Interval
    balanced_real: Interval
    balanced_expanded: Interval
    gain: Interval | None  # None where the classifier without them makes no error, or a resample of it none

    def __str__(self) -> str:
        gain = "relative gain not defined: no errors to gain on"
        if self.gain is not None:
            value, low, high = (100 * number for number in (self.gain.value, self.gain.low, self.gain.high))
            gain = f"relative gain {value:+.1f} % [{low:+.1f}, {high:+.1f}]"
        return (
            f"error real only {self.real}, with invented voices {self.expanded}; "
            f"balanced {self.balanced_real}, {self.balanced_expanded}; {gain} over {self.real.n_units} speakers"
        )


def train_sexes(recipe: SpeakerRecipe, train: Manifest, expansion: Manifest | None, folder: Path) -> SpeakerTrainee:
    """A classifier of f and m by a recipe's network, perturbations and loop; as many steps with invented voices as
    without. Raises `DataError` where a row's sex is not f or m."""
    if expansion is not None:  # parents of both sexes have a child of neither
        expansion = expansion.filter(pl.col("sex").is_not_null())
    batches = _batches(recipe, by_sex(train), None if expansion is None else by_sex(expansion))
    return learn_sexes(recipe, batches, folder)


def learn_sexes(recipe: SpeakerRecipe, batches: TrainData, folder: Path, *, resume: bool = False) -> SpeakerTrainee:
    """The same from batches whose targets `speaker` are places in `SEXES`; with `resume` an interrupted run goes on."""
    seed_run(recipe.seed, "init")
    network = recipe.network.build()
    trainee = SpeakerTrainee(network, SexHead(network.dim))
    fit(trainee, SpeakerTask(), batches, None, recipe, folder, resume=resume)
    return trainee


def by_sex(rows: Manifest) -> Manifest:
    """The rows with their sex in the place of the speaker. Raises `DataError` where one is neither f nor m."""
    wrong = rows.table.filter(~pl.col("sex").is_in(list(SEXES.names)).fill_null(False))
    if wrong.height:
        raise DataError("has no sex f or m", where=wrong["id"][0], fix="Leave the row out, or fill the column `sex`.")
    return rows.with_table(rows.table.with_columns(speaker=pl.col("sex")))


def _batches(recipe: SpeakerRecipe, real: Manifest, expansion: Manifest | None) -> EpochBatches:
    if expansion is None:
        return train_batches(recipe, real, SEXES)
    options = utterance_options(recipe)
    data = ExpandedDataset(
        UtteranceDataset(real, options, SEXES),
        UtteranceDataset(expansion, always_perturbed(recipe, options), SEXES),
        range(len(SEXES)),
    )
    size = recipe.draws or len(real)
    drawn = round(share_of(len(expansion), len(real), MOST) * size)
    order = ExpandedOrder(
        BalancedSampler(real, ("speaker",), recipe.loop.batch_size, recipe.seed, size - drawn),
        BalancedSampler(expansion, ("speaker",), recipe.loop.batch_size, recipe.seed, max(1, drawn)),
        len(real),
    )
    return EpochBatches(data, order, recipe.loop.workers)


@torch.inference_mode()
def tell(trainee: SpeakerTrainee, recipe: SpeakerRecipe, rows: Manifest) -> Told:
    """What a classifier says of every row, heard whole."""
    trainee.eval()
    sexes = by_sex(rows).table["speaker"]
    head = trainee.head
    assert isinstance(head, SexHead)
    logits = [
        head.linear(trainee.network.embed(item.samples[None], None).mean)[0] for item in whole_utterances(recipe, rows)
    ]
    said = torch.stack(logits).argmax(dim=1).cpu().numpy()
    truth = np.array([SEXES.index(sex) for sex in sexes])
    return Told((said == truth).astype(np.float64), truth.astype(np.float64), tuple(rows.table["speaker"]))


def compare(
    real: Told, expanded: Told, train_speakers: Sequence[str], resamples: int = 1000, seed: int = 0
) -> Comparison:
    """Both classifiers on the same utterances, resampled by speaker. Raises `LeakError` where a test speaker was
    learnt from, and `DataError` where the utterances are not the same."""
    if real.speakers != expanded.speakers:
        raise DataError("the two classifiers were not judged on the same utterances")
    require_apart(set(train_speakers), dict.fromkeys(real.speakers, "test"))
    units = Units.of(real.speakers, "speaker")

    def errors(counts: Floats) -> tuple[float, ...]:
        weights = units.weights(counts)
        found = [float(np.average(1 - told.right, weights=weights)) for told in (real, expanded)]
        for told in (real, expanded):
            sides = [weights * (told.sex == sex) for sex in (0.0, 1.0)]
            rates = [float(np.average(1 - told.right, weights=side)) for side in sides if side.sum() > 0]
            found.append(float(np.mean(rates)))
        return tuple(found)

    a, b, balanced_a, balanced_b = bootstrap(errors, units, resamples, seed)
    gain = None
    if _always_errs(real, units):
        gain = bootstrap(lambda counts: [_gain(errors(counts))], units, resamples, seed)[0]
    return Comparison(a, b, balanced_a, balanced_b, gain)


def _gain(errors: tuple[float, ...]) -> float:
    return (errors[0] - errors[1]) / errors[0] if errors[0] > 0 else 0.0


def _always_errs(told: Told, units: Units) -> bool:
    """Whether the errors are of so many speakers that hardly a resample is without one (e^-3)."""
    wrong = {speaker for speaker, right in zip(told.speakers, told.right, strict=True) if not right}
    return len(wrong) >= 3 and units.count >= 3
