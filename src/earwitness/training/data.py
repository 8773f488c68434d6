"""From a recipe's data to batches: the manifest with its sides, and the batches of an epoch by their places in its
order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import polars as pl
from torch.utils.data import DataLoader

from earwitness.audio.perturb.chain import SeriesConfig
from earwitness.core.errors import DataError
from earwitness.corpora.batch import Batch
from earwitness.corpora.batches import UtteranceDataset, UtteranceOptions, collate
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers import read_corpus
from earwitness.corpora.samplers import BatchOrder
from earwitness.corpora.splits import exclude_licences, split
from earwitness.corpora.tables import read_table
from earwitness.training.recipe import AudioConfig, DataConfig


def load_manifest(config: DataConfig, root: str | Path = ".") -> Manifest:
    """All rows that may be learnt from, with the column `split`. Raises `DataError`, `RecipeError`, `UsageError`."""
    parts = [read_corpus(config.reader, Path(root) / path).manifest for path in config.manifests]
    manifest = exclude_licences(Manifest.concat(parts), config.exclude_licences)
    if config.split_file is not None:
        return _with_sides(manifest, Path(root) / config.split_file)
    return manifest if config.split is None else split(manifest, config.split)


def side(manifest: Manifest, name: str) -> Manifest:
    """The rows of one side: train, dev or test. Raises `DataError` where it has none."""
    rows = manifest.filter(pl.col("split") == name)
    if not len(rows):
        raise DataError(
            f"no row stands on the side '{name}'", fix="Give the recipe's data a `split` or a `split_file`."
        )
    return rows


def training_options(config: AudioConfig, seed: int) -> UtteranceOptions:
    """Random crops and perturbations, drawn from (seed, epoch, id)."""
    series = SeriesConfig(components=config.perturbations).build() if config.perturbations else None
    return UtteranceOptions(
        rate=config.rate,
        crop_s=config.crop_s,
        crop_from=config.crop_from,
        trim=config.trim_silence,
        perturbation=series,
        level_dbfs=config.level_dbfs,
        keep_in_memory=config.keep_in_memory,
        seed=seed,
    )


def dev_options(config: AudioConfig) -> UtteranceOptions:
    """The same audio without chance: from the start, unperturbed."""
    return UtteranceOptions(
        rate=config.rate,
        crop_s=config.crop_s,
        crop_from="start",
        trim=config.trim_silence,
        level_dbfs=config.level_dbfs,
        keep_in_memory=config.keep_in_memory,
    )


class EpochBatches:
    """`TrainData` over a data set and a batch order; workers live for the whole run."""

    def __init__(self, data: UtteranceDataset, order: BatchOrder, workers: int = 0) -> None:
        self._data = data
        self._order = order
        self._chosen = _Chosen()
        self._loader = _loader(data, self._chosen, workers)

    def count(self, epoch: int) -> int:
        """Batches in this epoch."""
        return self._order.count

    def load(self, epoch: int, places: Sequence[int]) -> Iterable[Batch]:
        """The batches at these places of the epoch's order."""
        batches = self._order.batches(epoch)
        self._data.set_epoch(epoch)
        self._chosen.batches = [batches[place] for place in places]
        return self._loader


class DevBatches:
    """All rows once, the same each time: for `fit`'s dev data. `order` sorts by length, so that little is padded."""

    def __init__(self, data: UtteranceDataset, order: BatchOrder, workers: int = 0) -> None:
        self._chosen = _Chosen(order.batches(0))
        self._loader = _loader(data, self._chosen, workers)

    def __len__(self) -> int:
        return len(self._chosen)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._loader)


class _Chosen:
    """The batches (row indices each) that a loader reads next; they change from epoch to epoch, the loader stays."""

    def __init__(self, batches: list[list[int]] | None = None) -> None:
        self.batches = batches or []

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)


def _loader(data: UtteranceDataset, chosen: _Chosen, workers: int) -> DataLoader[Batch]:
    return DataLoader(
        data,  # type: ignore[arg-type]  # collate turns utterances into batches
        batch_sampler=chosen,
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def _with_sides(manifest: Manifest, path: Path) -> Manifest:
    """The manifest with `split` from a table of `id` and `split`; a row that the table does not name stands nowhere."""
    table = read_table(path)
    if missing := {"id", "split"} - set(table.columns):
        raise DataError(f"has no column `{min(missing)}`", where=path, fix="A split file has the columns id and split.")
    sides = table.select(pl.col("id").cast(pl.String), pl.col("split").cast(pl.String)).unique("id", keep="none")
    if sides.height < table.height:
        raise DataError("an id stands more than once", where=path)
    if unknown := set(sides["id"]) - set(manifest.table["id"]):
        raise DataError(f"names {len(unknown)} id(s) that the manifests don't have, e.g. '{min(unknown)}'", where=path)
    return manifest.with_table(manifest.table.drop("split").join(sides, on="id", how="left", maintain_order="left"))
