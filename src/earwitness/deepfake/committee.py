"""A committee: each member leaves out one fold, so every row is judged by a member that never heard its like.

All members of the network's `votes` are trained in one run, each on the rows that `corpora.splits.folds` leaves to it,
from vectors that are computed once (`training.pooled`). The member that left out a row's fold gives its left-out score.
Those scores calibrate the committee and are its tests. What ships is the mean over all members, each of which has heard
nearly everything; the left-out scores are those of single members, which know less. One thing they share: the mean and
deviation to which inputs are brought come from all rows that anybody learns from, without their labels.

    rows.parquet               the rows, with `fold`, `judged`, `stratum`, and `heard`: for each member x or .
    left-out-VIEW.scores.csv   a score of each judged row; `llr` by a calibration fitted on the other folds
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earwitness.core.errors import DataError, MetricError
from earwitness.corpora.batch import Batch, Targets
from earwitness.corpora.leaks import audio_hashes
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.samplers import BalancedSampler
from earwitness.corpora.splits import Folds, FoldSplit
from earwitness.corpora.tables import write_table
from earwitness.deepfake.detector import Detector
from earwitness.deepfake.one_class import OneClassLoss
from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.deepfake.scores import bona_fide_score
from earwitness.metrics.bootstrap import Units
from earwitness.metrics.calibration import elub_bounds, fit_logistic
from earwitness.nn.network import Network
from earwitness.nn.votes import Votes
from earwitness.training.calibration import Calibration, ConditionCalibration, ConditionName, fit_condition
from earwitness.training.conditions import CONDITIONS
from earwitness.training.data import SplitData, read_rows
from earwitness.training.describing import describe
from earwitness.training.loop import fit, seed_run
from earwitness.training.model_folder import revise_model, save_model
from earwitness.training.pooled import Vectors, View, pooled_vectors
from earwitness.training.task import Losses, Metrics

ROWS, JUDGED = "rows.parquet", "yes"
AT_MOST = 600  # judged rows that are heard under what no view was trained on
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Prepared:
    """What members learn from: rows with the columns of `rows.parquet`, their folds, and vectors [R, V, D]."""

    rows: Manifest
    folds: Folds
    vectors: Vectors
    notes: tuple[str, ...] = ()


def train_committee(recipe: DetectionRecipe, folder: Path, *, resume: bool = False) -> Path:
    """Train, score what each member left out, calibrate by it, and write `folder/model`.

    Raises `DataError`, `AudioError`, `RecipeError` and `UsageError` as the steps do.
    """
    prepared = prepare(recipe, folder / "pooled")
    prepared.rows.write(folder / ROWS)
    network = fit_members(recipe, prepared, folder / "fit", resume=resume)
    judged = prepared.rows.filter(pl.col("judged") == JUDGED)
    info = describe(recipe, SplitData(prepared.rows, judged, judged, prepared.notes), {}, "higher = bona fide")
    save_model(folder / "model", info, network.trainable_state(), half=True)
    return calibrate_committee(folder, recipe, prepared)


def prepare(recipe: DetectionRecipe, pooled: Path) -> Prepared:
    """Read the recipe's rows, put them into folds, and hear them; vectors are kept in the folder `pooled`."""
    assert isinstance(recipe.split, FoldSplit)
    rows, notes = read_rows(recipe.data)
    folds = recipe.split.assign(rows, audio_hashes(rows))
    rows = _with_columns(rows, recipe.split, folds)
    return Prepared(
        rows, folds, pooled_vectors(recipe.network.build(), recipe, rows, recipe.views, pooled), tuple(notes)
    )


def fit_members(recipe: DetectionRecipe, prepared: Prepared, folder: Path, *, resume: bool = False) -> Network:
    """Train every member on what its fold leaves to it. The run's checkpoints lie in `folder`."""
    seed_run(recipe.seed, "init")
    network = recipe.network.build()
    train = HeardRows.of(recipe, prepared)
    assert not isinstance(recipe.loss, OneClassLoss)  # a recipe with votes has none
    task = CommitteeTask(recipe.loss.build(recipe.network.outputs or 0, 2))
    fit(Committee(network), task, train, None, recipe, folder, resume=resume)
    return network.eval()


class Committee(nn.Module):
    """What is trained: vectors [B, D] -> votes [B, branches, members, 2]."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, vectors: Tensor) -> Tensor:
        """Every vote."""
        return votes_of(self.network).each(vectors)


class CommitteeTask:
    """Every vote has a loss of its own, over the rows that its member may hear."""

    def __init__(self, loss: nn.Module) -> None:
        self.criterion = loss

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        """One term, named `classification`: the mean over votes and rows."""
        if batch.targets.members is None or batch.targets.label is None:
            raise DataError("a committee learns from rows with label and members")
        votes = model(batch.waveforms)
        heard = batch.targets.members[:, None, :].expand(votes.shape[:3])
        labels = batch.targets.label[:, None, None].expand(votes.shape[:3])
        return Losses({"classification": self.criterion(votes[heard], labels[heard])})

    def evaluate(self, model: nn.Module, batches: object) -> Metrics:
        """None: a committee is judged by what its members left out."""
        return Metrics({})


@dataclass(frozen=True)
class HeardRows:
    """`TrainData` over kept vectors [R, V, D]; what stands in a batch as waveforms are vectors [B, D].

    Rows come by the batch order, the view of each drawn by (seed, epoch, place); `heard` [R, M] is who learns from it.
    """

    vectors: Vectors
    labels: NDArray[np.int64]
    heard: NDArray[np.bool_]
    order: BalancedSampler

    @classmethod
    def of(cls, recipe: DetectionRecipe, prepared: Prepared) -> HeardRows:
        """The rows that any member hears, drawn as the recipe balances them."""
        learnt = np.flatnonzero(prepared.folds.heard.any(axis=1))
        part = prepared.rows.with_table(prepared.rows.table[learnt])
        order = BalancedSampler(part, recipe.balance, recipe.loop.batch_size, recipe.seed, recipe.draws)
        return cls(prepared.vectors[learnt], labels_of(part), prepared.folds.heard[learnt], order)

    def count(self, epoch: int) -> int:
        """Batches in this epoch."""
        return self.order.count

    def load(self, epoch: int, places: Sequence[int]) -> Iterator[Batch]:
        """The batches at these places of the epoch's order."""
        batches = self.order.batches(epoch)
        for place in places:
            rng = np.random.default_rng([self.order.seed, epoch, place])
            rows = np.array(batches[place])
            views = rng.integers(self.vectors.shape[1], size=len(rows))
            values = torch.from_numpy(self.vectors[rows, views].astype(np.float32))
            targets = Targets(torch.from_numpy(self.labels[rows]), members=torch.from_numpy(self.heard[rows]))
            yield Batch(values, torch.full((len(rows),), values.shape[1]), targets, ("",) * len(rows))


def calibrate_committee(folder: Path, recipe: DetectionRecipe, prepared: Prepared) -> Path:
    """Write the left-out scores of every condition, and fit the model's calibration on them."""
    rows, folds, vectors = prepared.rows, prepared.folds, prepared.vectors
    model = folder / "model"
    detector = Detector.load(model)
    network = network_of(detector)
    judged, some = np.flatnonzero(folds.judged), drawn(folds.judged)
    fitted = []
    for condition in ("clean", *CONDITIONS):
        if condition in recipe.views:
            chosen, heard = judged, vectors[judged, recipe.views.index(condition)]
        else:
            chosen = some
            part = rows.with_table(rows.table[some])
            heard = pooled_vectors(network, recipe, part, [condition], folder / "pooled")[:, 0]
        scores = left_out_scores(network, heard, folds.fold[chosen])
        part = rows.with_table(rows.table[chosen])
        llrs = cross_fitted(scores, labels_of(part), folds.fold[chosen])
        write_scores(scores_path(folder, condition), part, scores, llrs, detector.info.reference)
        fitted.append(_fit(condition, part, scores))
    calibration = Calibration(
        fitted_on="left-out scores: of each row by a member that heard neither its maker nor its speaker",
        conditions=tuple(fitted),
    )
    revise_model(model, detector.info.model_copy(update={"calibration": calibration}))
    return model


def drawn(judged: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The places of at most `AT_MOST` judged rows, in order: of the same rows always the same."""
    return np.sort(np.random.default_rng(0).permutation(np.flatnonzero(judged))[:AT_MOST])


def scores_path(folder: Path, view: View) -> Path:
    """Where a run keeps the left-out scores under a condition or a perturbation."""
    return folder / f"left-out-{view}.scores.csv"


@torch.inference_mode()
def left_out_scores(network: Network, vectors: NDArray[np.float16], fold: NDArray[np.int64]) -> Floats:
    """The score of each row [R] by the member that left out its fold: over that member's branches."""
    committee = votes_of(network)
    votes = committee.each(torch.from_numpy(vectors.astype(np.float32)))
    own = votes[torch.arange(len(votes)), :, torch.tensor(fold)]
    return np.asarray(bona_fide_score(committee.over_branches(own)).numpy(), np.float64)


def cross_fitted(scores: Floats, labels: NDArray[np.int64], fold: NDArray[np.int64]) -> Floats:
    """Bounded natural-log likelihood ratios [R], each fold's by a calibration fitted on the other folds; NaN where that
    cannot be."""
    return cross_applied(scores, fold, Tried(scores, labels, fold))


@dataclass(frozen=True)
class Tried:
    """What a calibration can be fitted on: scores [R] with their labels (1 bona fide) and folds."""

    scores: Floats
    labels: NDArray[np.int64]
    fold: NDArray[np.int64]


def cross_applied(scores: Floats, fold: NDArray[np.int64], tried: Tried) -> Floats:
    """As `cross_fitted`, for scores [R] that need not be among those that were tried."""
    llrs = np.full(len(scores), np.nan)
    for k in np.unique(fold):
        other = tried.fold != k
        positive, negative = tried.scores[other & (tried.labels == 1)], tried.scores[other & (tried.labels == 0)]
        try:
            fitted = fit_logistic(positive, negative, misleading=1)
        except MetricError:
            continue
        low, high = elub_bounds(fitted.llr(positive), fitted.llr(negative))
        llrs[fold == k] = np.clip(fitted.llr(scores[fold == k]), low, high)
    return llrs


def labels_of(rows: Manifest) -> NDArray[np.int64]:
    """1 bona fide, 0 spoof, [R]."""
    return (rows.table["label"] == "bonafide").to_numpy().astype(np.int64)


def network_of(detector: Detector) -> Network:
    """A detector's network as the `Network` that it is."""
    assert isinstance(detector.network, Network)
    return detector.network


def votes_of(network: Network) -> Votes:
    """The committee of a network. Raises `DataError` where it has none."""
    if isinstance(network.classifier, Votes):
        return network.classifier
    raise DataError("this network has no committee", fix="Its recipe needs `network.votes`.")


def _with_columns(rows: Manifest, split: FoldSplit, folds: Folds) -> Manifest:
    """With the columns of `rows.parquet`. A stratum is what is drawn alike within a class: of human speech a corpus, or
    a shared voice; of spoofs a family, copies of human recordings apart from the rest."""
    human = pl.col("label") == "bonafide"
    shared = pl.col("speaker").is_in(list(split.shared_voices)).fill_null(False)
    family = pl.coalesce("family", "system", pl.lit("unnamed"))
    copied = pl.col("source_recording").is_not_null()
    table = rows.table.with_columns(
        fold=pl.Series(folds.fold).cast(pl.String),
        judged=pl.Series(["yes" if judged else "no" for judged in folds.judged]),
        heard=pl.Series(["".join(".x"[int(flag)] for flag in flags) for flags in folds.heard]),
        stratum=pl.when(human & shared)
        .then(pl.lit("voice ") + pl.col("speaker"))
        .when(human)
        .then(pl.col("corpus").fill_null("unnamed"))
        .when(copied)
        .then(pl.lit("copies by ") + family)
        .otherwise(family),
    )
    return rows.with_table(table)


def write_scores(path: Path, rows: Manifest, scores: Floats, llrs: Floats, model: str) -> None:
    """A table of left-out scores [R] and natural-log likelihood ratios [R]; a ratio that is NaN is left empty."""
    table = rows.table.select("id", "path", "fold").with_columns(
        score=pl.Series(scores), llr=pl.Series(llrs).fill_nan(None), model=pl.lit(model), error=pl.lit(None, pl.String)
    )
    write_table(table, path)


def _fit(condition: ConditionName, rows: Manifest, scores: Floats) -> ConditionCalibration:
    """Units are speakers of human speech and systems of spoofs."""
    labels = labels_of(rows)
    columns = rows.table.select(speaker=pl.coalesce("speaker", "id"), system=pl.coalesce("system", "id"))
    speakers, systems = (columns[name].to_numpy() for name in ("speaker", "system"))
    units = Units.stacked(
        Units.of(speakers[labels == 1].tolist(), "speaker"), Units.of(systems[labels == 0].tolist(), "system")
    )
    return fit_condition(condition, scores[labels == 1], scores[labels == 0], units)
