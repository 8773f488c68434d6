"""Several views of each utterance in a batch: crops and perturbations drawn anew, for losses that compare items."""

from __future__ import annotations

from collections.abc import Sequence

from earwitness.corpora.batches import Utterance, UtteranceDataset
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.samplers import BalancedSampler, BatchOrder
from earwitness.training.data import EpochBatches, utterance_options
from earwitness.training.recipe import UtteranceRecipe


def viewed_batches(recipe: UtteranceRecipe, train: Manifest, views: int) -> EpochBatches:
    """The training side as `train_batches` gives it, each utterance `views` times in its batch: all first views, then
    all second ones, in one order. `loop.batch_size` counts utterances."""
    first = UtteranceDataset(train, utterance_options(recipe))
    order = BalancedSampler(train, recipe.balance, recipe.loop.batch_size, recipe.seed, recipe.draws)
    if views == 1:
        return EpochBatches(first, order, recipe.loop.workers)
    data = Views([first, *(first.drawn_anew(view) for view in range(1, views))])
    return EpochBatches(data, ViewedOrder(order, views, len(first)), recipe.loop.workers)


class Views:
    """`EpochData`: row i of view v is at the place i + v N."""

    def __init__(self, views: Sequence[UtteranceDataset]) -> None:
        self._views = views

    def __len__(self) -> int:
        return len(self._views) * len(self._views[0])

    def __getitem__(self, index: int) -> Utterance:
        view, row = divmod(index, len(self._views[0]))
        return self._views[view][row]

    def set_epoch(self, epoch: int) -> None:
        """All views draw anew."""
        for view in self._views:
            view.set_epoch(epoch)


class ViewedOrder(BatchOrder):
    """Another order of `rows` rows, whose batches hold every view of their rows."""

    def __init__(self, order: BatchOrder, views: int, rows: int) -> None:
        super().__init__(order.batch_size, order.seed)
        self._order, self._views, self._rows = order, views, rows

    @property
    def count(self) -> int:
        """As many batches."""
        return self._order.count

    def batches(self, epoch: int) -> list[list[int]]:
        """Row by row, view by view."""
        starts = range(0, self._views * self._rows, self._rows)
        return [[start + row for start in starts for row in batch] for batch in self._order.batches(epoch)]
