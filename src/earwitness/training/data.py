"""From a recipe's data to batches: rows with their sides, and the batches of an epoch by their places in its order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import polars as pl
from torch.utils.data import DataLoader

from earwitness.audio.perturb.chain import SeriesConfig
from earwitness.audio.speech import SileroRule
from earwitness.core.errors import DataError
from earwitness.corpora.batch import Batch
from earwitness.corpora.batches import Utterance, UtteranceDataset, UtteranceOptions, Vocabulary, collate
from earwitness.corpora.leaks import Guarded, audio_hashes, require_no_leaks
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.quality import QualityLevels
from earwitness.corpora.readers import read_corpus
from earwitness.corpora.samplers import BalancedSampler, BatchOrder
from earwitness.corpora.splits import SplitConfig, exclude_licences, split
from earwitness.corpora.tables import read_table
from earwitness.training.recipe import DataConfig, UtteranceRecipe

SIDES = ("train", "dev", "test")


@dataclass(frozen=True)
class SplitData:
    """The rows of each side, and what a run record must say about how they came to be. `test` may be empty."""

    train: Manifest
    dev: Manifest
    test: Manifest
    notes: tuple[str, ...] = ()

    def write(self, folder: str | Path) -> None:
        """`train.csv`, `dev.csv` and, where it has rows, `test.csv`."""
        for name, side in zip(SIDES, (self.train, self.dev, self.test), strict=True):
            if len(side):
                side.write(Path(folder) / f"{name}.csv")


def read_split(
    config: DataConfig,
    rule: SplitConfig,
    guarded: Guarded,
    shared_voices: Sequence[str] = (),
    allow_leak: bool = False,
    root: str | Path = ".",
) -> SplitData:
    """Read, leave out excluded licences, put rows on sides (by `split_file` where there is one, else by `rule`), guard.

    Every file is read once, for its hash: equal audio on two sides is a leak. Raises `LeakError` unless leaks are
    allowed (then they are notes), and `DataError` where data is bad, or nothing is left to train on or to judge by.
    """
    manifest, notes = read_rows(config, root)
    split_file = None if config.split_file is None else Path(root) / config.split_file
    return put_on_sides(manifest, notes, rule, split_file, guarded, shared_voices, allow_leak)


def put_on_sides(
    manifest: Manifest,
    notes: Sequence[str],
    rule: SplitConfig,
    split_file: Path | None,
    guarded: Guarded,
    shared_voices: Sequence[str] = (),
    allow_leak: bool = False,
) -> SplitData:
    """The same for rows that were chosen already; `notes` say how."""
    manifest = split(manifest, rule) if split_file is None else sides_from(manifest, split_file)
    train, dev, test = (manifest.filter(pl.col("split") == name) for name in SIDES)
    for name, side in (("train", train), ("dev", dev)):
        if not len(side):
            raise DataError(f"no row stands on the side '{name}'", fix="Check the recipe's split and its data.")
    leaks = require_no_leaks(manifest, guarded, shared_voices, audio_hashes(manifest), allow_leak)
    allowed = [f"leak allowed by name: {leak}" for leak in leaks]
    return SplitData(train, dev, test, (*notes, *allowed, *_left_out(manifest)))


def read_rows(config: DataConfig, root: str | Path = ".") -> tuple[Manifest, list[str]]:
    """All rows but those under excluded licences, and what a run record must say of them. Raises `DataError`."""
    parts = [read_corpus(config.reader, Path(root) / path) for path in config.manifests]
    everything = Manifest.concat([part.manifest for part in parts])
    rows = exclude_licences(everything, config.exclude_licences)
    notes = [note for part in parts for note in part.notes]
    if excluded := len(everything) - len(rows):
        notes.append(f"{excluded} row(s) left out for their licence")
    return rows, notes


def _left_out(manifest: Manifest) -> list[str]:
    """How many rows stand on no side, by the reason that the split gave."""
    rows = manifest.filter(pl.col("split").is_null()).table
    reasons = rows["left_out"].to_list() if "left_out" in rows.columns else [None] * rows.height
    counts = Counter(reason or "not in the split file" for reason in reasons)
    return [f"{count} row(s) on no side: {reason}" for reason, count in sorted(counts.items())]


def sides_from(manifest: Manifest, path: Path) -> Manifest:
    """The manifest with `split` from a table of `id` and `split`; a row that it does not name stands on no side."""
    table = read_table(path)
    if missing := {"id", "split"} - set(table.columns):
        raise DataError(f"has no column `{min(missing)}`", where=path, fix="A split file has the columns id and split.")
    sides = table.select(pl.col("id").cast(pl.String), pl.col("split").cast(pl.String))
    if sides["id"].n_unique() < sides.height:
        raise DataError("names an id more than once", where=path)
    if unknown := set(sides["id"]) - set(manifest.table["id"]):
        example = f"{len(unknown)} id(s) that the manifests don't have, e.g. '{min(unknown)}'"
        raise DataError(f"names {example}", where=path, fix="Was it made from other manifests?")
    return manifest.with_table(manifest.table.drop("split").join(sides, on="id", how="left", maintain_order="left"))


def train_batches(
    recipe: UtteranceRecipe,
    train: Manifest,
    speakers: Vocabulary | None = None,
    speeds: tuple[float, ...] = (1.0,),
    quality: QualityLevels | None = None,
) -> EpochBatches:
    """The training side by the recipe's crops, perturbations and balance; at every speed a speaker is another class."""
    options = replace(utterance_options(recipe), speeds=speeds, twins=recipe.paths == "dual")
    dataset = UtteranceDataset(train, options, speakers, quality=quality)
    order = BalancedSampler(train, recipe.balance, recipe.loop.batch_size, recipe.seed, recipe.draws)
    return EpochBatches(dataset, order, recipe.loop.workers)


def whole_utterances(recipe: UtteranceRecipe, side: Manifest, speed: float = 1.0) -> Iterator[Utterance]:
    """Every row once, in order, trimmed as the recipe trims, played at a speed; neither cut nor perturbed."""
    whole = replace(utterance_options(recipe), crop_s=None, perturbation=None, speeds=(speed,), keep_in_memory=False)
    dataset = UtteranceDataset(side, whole)
    return (dataset[place] for place in range(len(dataset)))


def dev_batches(recipe: UtteranceRecipe, dev: Manifest, speakers: Vocabulary | None = None) -> FixedBatches:
    """Dev rows clean and (unless the recipe says `dev_audio: clean`) perturbed, each once, from their start: epochs are
    chosen by both together.
    """
    perturbed = replace(utterance_options(recipe), crop_from="start")
    clean = replace(perturbed, perturbation=None)
    kinds = (clean, perturbed) if recipe.perturbations and recipe.dev_audio == "both" else (clean,)
    datasets = [UtteranceDataset(dev, options, speakers) for options in kinds]
    return FixedBatches(datasets, recipe.loop.batch_size, recipe.loop.workers)


def utterance_options(recipe: UtteranceRecipe) -> UtteranceOptions:
    """How a recipe's training rows become samples."""
    return UtteranceOptions(
        rate=recipe.audio.rate,
        crop_s=recipe.audio.crop_s,
        crop_from=recipe.audio.crop_from,
        perturb=recipe.audio.perturb,
        trim=SileroRule() if recipe.audio.trim_silence else None,
        perturbation=SeriesConfig(components=recipe.perturbations).build() if recipe.perturbations else None,
        keep_in_memory=True,
        seed=recipe.seed,
    )


class EpochData(Protocol):
    """Utterances by their places, drawn anew each epoch."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Utterance: ...

    def set_epoch(self, epoch: int) -> None:
        """Random crops and perturbations are drawn anew for each epoch."""
        ...


class EpochBatches:
    """`TrainData` over a data set and a batch order; its workers live for the whole run."""

    def __init__(self, data: EpochData, order: BatchOrder, workers: int = 0) -> None:
        self._data = data
        self._order = order
        self._chosen = _Chosen()
        self._loader = batch_loader(data, self._chosen, workers)

    def count(self, epoch: int) -> int:
        """Batches in this epoch."""
        return self._order.count

    def load(self, epoch: int, places: Sequence[int]) -> Iterable[Batch]:
        """The batches at these places of the epoch's order."""
        batches = self._order.batches(epoch)
        self._data.set_epoch(epoch)
        self._chosen.batches = [batches[place] for place in places]
        return self._loader


class FixedBatches:
    """All rows of some data sets once, in order, the same each time: dev data for `fit`."""

    def __init__(self, datasets: Sequence[UtteranceDataset], batch_size: int, workers: int = 0) -> None:
        self._loaders = [batch_loader(data, _Chosen(in_order(len(data), batch_size)), workers) for data in datasets]

    def __len__(self) -> int:
        return sum(len(loader) for loader in self._loaders)

    def __iter__(self) -> Iterator[Batch]:
        for loader in self._loaders:
            yield from loader


class _Chosen:
    """The batches (row indices each) that a loader reads next; they change from epoch to epoch, the loader stays."""

    def __init__(self, batches: list[list[int]] | None = None) -> None:
        self.batches = batches or []

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)


def in_order(rows: int, size: int) -> list[list[int]]:
    """The places 0 to `rows` - 1 in batches of `size`."""
    return [list(range(start, min(start + size, rows))) for start in range(0, rows, size)]


def batch_loader(data: EpochData, chosen: _Chosen | list[list[int]], workers: int) -> DataLoader[Batch]:
    """The batches of these rows, in this order."""
    return DataLoader(
        data,  # type: ignore[arg-type]  # collate makes batches of utterances
        batch_sampler=chosen,
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
