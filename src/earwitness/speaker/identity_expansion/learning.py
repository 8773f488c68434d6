"""Training with invented speakers (2.7): real and synthetic utterances in one batch order, and which class is which.

A batch order holds as many draws as without them, so that arms are compared at equal updates. Real speakers alone are
speed-perturbed, stand in the cohort and make the mean. Fine-tuning with a large margin is a recipe without `expansion`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import Field
from torch.utils.data import Dataset

from earwitness.audio.perturb.chain import SeriesConfig
from earwitness.core.config import Config
from earwitness.core.errors import DataError
from earwitness.corpora.batches import Utterance, UtteranceDataset, UtteranceOptions, Vocabulary
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.samplers import BalancedSampler, BatchOrder
from earwitness.corpora.schema import SYNTHETIC
from earwitness.speaker.identity_expansion.classes import ClassMap, class_map
from earwitness.speaker.identity_expansion.files import MANIFEST, PAIRS, read_description
from earwitness.speaker.identity_expansion.pairs import Pair, read_pairs
from earwitness.speaker.identity_expansion.sources import require_apart
from earwitness.training.data import EpochBatches, SplitData, utterance_options
from earwitness.training.recipe import UtteranceRecipe

MOST = 0.3  # of the draws
CLASSES = "classes.tsv"


class ExpandedTraining(Config):
    """Learn from the identities in `folder` too (made by `corpus expand --identities`), with `share` of the draws at
    most; less where they are a smaller part of the classes."""

    folder: Path
    share: float = Field(MOST, gt=0, le=MOST)


@dataclass(frozen=True)
class Expansion:
    """An expansion as training sees it: its rows, and the class of each of its speakers."""

    rows: Manifest
    pairs: tuple[Pair, ...]
    description: dict[str, object]

    @classmethod
    def read(cls, folder: Path, data: SplitData) -> Expansion:
        """Raises `DataError` where the folder holds none or its rows are not marked, and `LeakError` where a parent
        stands on dev or test."""
        description = read_description(folder)
        rows, pairs = Manifest.read(folder / MANIFEST), tuple(read_pairs(folder / PAIRS))
        if SYNTHETIC not in rows.table.columns or not (rows.table[SYNTHETIC] == "true").all():
            raise DataError("holds rows that are not marked as synthetic", where=folder / MANIFEST)
        parents = {name for pair in pairs for name in (pair.parent_a, pair.parent_b)}
        sides = {
            speaker: name
            for name, side in (("dev", data.dev), ("test", data.test))
            for speaker in side.table["speaker"].drop_nulls()
        }
        require_apart(parents, sides)
        if unknown := sorted(set(rows.table["speaker"]) - {pair.new_id for pair in pairs}):
            raise DataError(f"the identity '{unknown[0]}' has no parents in {PAIRS}", where=folder)
        return cls(rows, pairs, description)

    @property
    def note(self) -> str:
        """For the run record: what the rows are, and who chose them."""
        by = self.description.get("filter_sha256") or "the synthesiser's own encoder, or none"
        return f"synthetic rows {self.rows.sha256[:12]}, control {self.description.get('control')}, filtered by {by}"

    def classes(self, real: Vocabulary, speeds: Sequence[float]) -> ClassMap:
        """The label map: identities that are new get classes of their own."""
        return class_map(real.names, speeds, [pair.new_id for pair in self.pairs if not self._as_real(pair, real)])

    def class_of(self, classes: ClassMap) -> dict[str, int]:
        """The class of each speaker of the rows; one who was made anew has that of the real speaker."""
        real = Vocabulary(classes.real)
        return {
            pair.new_id: classes.index(pair.parent_a if self._as_real(pair, real) else pair.new_id)
            for pair in self.pairs
        }

    @staticmethod
    def _as_real(pair: Pair, real: Vocabulary) -> bool:
        return not pair.is_new and real.index(pair.parent_a) >= 0


def expanded_batches(
    recipe: UtteranceRecipe, train: Manifest, expansion: Expansion, classes: ClassMap, most: float
) -> EpochBatches:
    """The training batches with synthetic utterances among them, in batches of the recipe's size and number."""
    options = replace(utterance_options(recipe), speeds=classes.speeds, twins=recipe.paths == "dual")
    names = sorted(set(expansion.rows.table["speaker"]))
    synthetic = UtteranceDataset(expansion.rows, always_perturbed(recipe, options), Vocabulary(tuple(names)))
    of_name = expansion.class_of(classes)
    data = ExpandedDataset(
        UtteranceDataset(train, options, Vocabulary(classes.real)), synthetic, [of_name[name] for name in names]
    )
    share = share_of(len(names), len(classes.real), most)
    size = recipe.draws or len(train)
    drawn = round(share * size)
    order = ExpandedOrder(
        BalancedSampler(train, recipe.balance, recipe.loop.batch_size, recipe.seed, max(1, size - drawn)),
        BalancedSampler(expansion.rows, ("speaker",), recipe.loop.batch_size, recipe.seed, max(1, drawn)),
        len(train),
    )
    return EpochBatches(data, order, recipe.loop.workers)


def share_of(identities: int, real: int, most: float = MOST) -> float:
    """The share of synthetic draws: that of their speakers, at most `most`."""
    return min(most, identities / (identities + real))


def always_perturbed(recipe: UtteranceRecipe, options: UtteranceOptions) -> UtteranceOptions:
    """For synthetic utterances: every perturbation of the recipe at probability 1 (clean synthesis would give itself
    away), and their own speed only. Raises `DataError` where the recipe has no perturbations."""
    if not recipe.perturbations:
        raise DataError("synthetic utterances must be perturbed", fix="Give the recipe `perturbations`.")
    components = tuple(component.model_copy(update={"p": 1.0}) for component in recipe.perturbations)
    return replace(options, speeds=(1.0,), perturbation=SeriesConfig(components=components).build())


class ExpandedDataset(Dataset[Utterance]):
    """Real rows first, then synthetic ones, whose speakers get the classes that are given for them in order."""

    def __init__(self, real: UtteranceDataset, synthetic: UtteranceDataset, classes: Sequence[int]) -> None:
        self._real, self._synthetic = real, synthetic
        self._classes = tuple(classes)

    def __len__(self) -> int:
        return len(self._real) + len(self._synthetic)

    def set_epoch(self, epoch: int) -> None:
        """Random crops and perturbations are drawn anew for each epoch."""
        self._real.set_epoch(epoch)
        self._synthetic.set_epoch(epoch)

    def __getitem__(self, index: int) -> Utterance:
        if index < len(self._real):
            return self._real[index]
        item = self._synthetic[index - len(self._real)]
        return replace(item, speaker=self._classes[item.speaker])


class ExpandedOrder(BatchOrder):
    """The draws of two orders in random order; the second's rows are counted from `offset`."""

    def __init__(self, real: BalancedSampler, synthetic: BalancedSampler, offset: int) -> None:
        super().__init__(real.batch_size, real.seed)
        self._parts = ((real, 0), (synthetic, offset))

    @property
    def count(self) -> int:
        """Batches of a whole epoch."""
        return -(-sum(part.size for part, _ in self._parts) // self.batch_size)

    def batches(self, epoch: int) -> list[list[int]]:
        """All batches of an epoch."""
        rows = [[row + offset for batch in part.batches(epoch) for row in batch] for part, offset in self._parts]
        order = np.array([row for part in rows for row in part], np.int64)
        return self._cut(np.random.default_rng([self.seed, epoch, 1]).permutation(order))
