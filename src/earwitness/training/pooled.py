"""Training what stands behind frozen parts: their vectors are computed once for each row, and kept.

A row is heard in a few views and no more: from its start as it is or under a condition (`training.conditions`), and at
a random place and perturbed, as the recipe's epoch of that number would draw it. Where everything up to the pooling is
frozen, training takes minutes, not hours, and runs that differ behind the pooling share the vectors.

Each vector is a file of its own, named by what it depends on: row, view, audio recipe and branch. So an interrupted
computation goes on, and several may fill one folder.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earwitness.core.errors import RecipeError
from earwitness.core.hashing import sha256_data
from earwitness.core.writing import write_atomically
from earwitness.corpora.batches import UtteranceDataset
from earwitness.corpora.manifest import Manifest, Row
from earwitness.nn.frontends import run_together
from earwitness.nn.network import Network
from earwitness.training.calibration import ConditionName
from earwitness.training.conditions import TestedName, put_under
from earwitness.training.data import batch_loader, in_order, utterance_options
from earwitness.training.recipe import UtteranceRecipe
from earwitness.training.runlog import counted

View = ConditionName | TestedName | int  # a condition, a perturbation, or the number of an epoch
AT_ONCE = 16  # rows a pass
Vectors = NDArray[np.float16]  # [R, V, D]


def require_frozen(network: Network) -> None:
    """Raises `RecipeError` where a branch has weights that learn: kept vectors would not follow them."""
    if any(parameter.requires_grad for branch in network.branches for parameter in branch.parameters()):
        raise RecipeError(
            "views: a branch has weights that are trained",
            fix="Leave `views` out, or use frozen front-ends with a pooling that has no weights.",
        )


def pooled_vectors(
    network: Network, recipe: UtteranceRecipe, rows: Manifest, views: Sequence[View], folder: str | Path
) -> Vectors:
    """The branches' joined vectors of every row and view, float16 [R, V, D]; computed where `folder` lacks them.

    Raises `AudioError` for a row that cannot be read, `RecipeError` for a network whose branches learn.
    """
    require_frozen(network)
    store = _Store(Path(folder), recipe, list(rows.rows()), rows)
    for view in views:
        missing = [place for place in range(len(rows)) if not store.has(place, view)]
        if missing:
            _compute(network, recipe, store, view, missing)
    return np.stack([[store.read(place, view) for view in views] for place in range(len(rows))])


def heard_in(view: View, recipe: UtteranceRecipe, rows: Manifest) -> UtteranceDataset:
    """Rows as a view hears them: from their start under a condition, or as an epoch of that number draws them."""
    options = replace(utterance_options(recipe), keep_in_memory=False)
    if isinstance(view, str):
        options = replace(options, crop_from="start", perturbation=partial(put_under, view))
    data = UtteranceDataset(rows, options)
    data.set_epoch(view if isinstance(view, int) else 0)
    return data


@torch.inference_mode()
def _compute(network: Network, recipe: UtteranceRecipe, store: _Store, view: View, missing: Sequence[int]) -> None:
    """Fill in the vectors of some rows for one view."""
    data = heard_in(view, recipe, store.manifest)
    chosen = [[missing[i] for i in places] for places in in_order(len(missing), AT_ONCE)]
    network.eval()
    batches = batch_loader(data, chosen, recipe.loop.workers)
    for places, batch in zip(chosen, counted(batches, f"hearing ({view})", len(chosen)), strict=True):
        for place, vectors in zip(places, _branch_vectors(network, batch.waveforms), strict=True):
            store.write(place, view, vectors)


def _branch_vectors(network: Network, waveforms: Tensor) -> Iterator[list[NDArray[np.float16]]]:
    """For each waveform of [B, N] the vectors of the branches."""
    features = run_together([branch.frontend for branch in network.branches], waveforms)  # type: ignore[misc]
    pooled = [branch(frames).mean.half().numpy() for branch, frames in zip(network.branches, features, strict=True)]
    for place in range(len(waveforms)):
        yield [vectors[place] for vectors in pooled]


class _Store:
    """Files of vectors, one a row, view and branch."""

    def __init__(self, folder: Path, recipe: UtteranceRecipe, rows: list[Row], manifest: Manifest) -> None:
        self.folder, self.rows, self.manifest = folder, rows, manifest
        heard = [recipe.seed, recipe.audio.model_dump(mode="json")]
        perturbed = [part.model_dump(mode="json") for part in recipe.perturbations]
        self._heard = (sha256_data(heard), sha256_data([*heard, perturbed]))
        self._branches = [branch.model_dump(mode="json") for branch in recipe.network.branches]
        self._named: dict[tuple[int, View], list[Path]] = {}

    def has(self, place: int, view: View) -> bool:
        """Whether all branches' vectors are there."""
        return all(path.is_file() for path in self._paths(place, view))

    def read(self, place: int, view: View) -> NDArray[np.float16]:
        """The joined vector [D]."""
        return np.concatenate([np.load(path, allow_pickle=False) for path in self._paths(place, view)])

    def write(self, place: int, view: View, vectors: Iterable[NDArray[np.float16]]) -> None:
        """One file a branch."""
        for path, vector in zip(self._paths(place, view), vectors, strict=True):
            buffer = io.BytesIO()
            np.save(buffer, vector, allow_pickle=False)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, buffer.getvalue())

    def _paths(self, place: int, view: View) -> list[Path]:
        if (place, view) not in self._named:
            self._named[place, view] = self._name(place, view)
        return self._named[place, view]

    def _name(self, place: int, view: View) -> list[Path]:
        row = self.rows[place]
        source = self.manifest.resolve(row)
        known = [row.id, source.name, source.stat().st_size, row.channel, row.start, row.end]
        keys = [sha256_data([known, view, self._heard[isinstance(view, int)], branch]) for branch in self._branches]
        return [self.folder / key[:2] / f"{key[2:34]}.npy" for key in keys]
