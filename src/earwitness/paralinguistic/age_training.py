"""From an age recipe to its model folder: rows with ages, training, recalibration on dev. No test data is touched here.

What is recalibrated is what is shipped: the network is saved first, in half precision, and dev recordings are then
heard whole by the loaded model.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from earwitness.audio.reading import load
from earwitness.core.errors import AudioError, DataError
from earwitness.corpora.manifest import Manifest, Row
from earwitness.corpora.tables import write_table
from earwitness.metrics.distribution import GridDistributions, nll
from earwitness.nn.losses.label_distribution import GridConfig, SvldlConfig, end_bias
from earwitness.paralinguistic.age import (
    CRITERION_FILE,
    EXTRA,
    AgeEstimate,
    AgeEstimator,
    AgeReading,
    fitted_temperature,
    tempered,
)
from earwitness.paralinguistic.age_recipe import BAND, AgeRecipe
from earwitness.paralinguistic.age_task import AgeTask, AgeTrainee
from earwitness.paralinguistic.regularised import Regression, regularised
from earwitness.training.data import SplitData, dev_batches, put_on_sides, read_rows
from earwitness.training.describing import describe
from earwitness.training.left_out import LEFT_OUT, LeftOut, LeftOutConfig, Pupil, learn_left_out
from earwitness.training.loop import fit, seed_run
from earwitness.training.model_folder import revise_model, save_model
from earwitness.training.runlog import counted
from earwitness.training.task import Task, TrainData
from earwitness.training.tensors import load_trained_state, tensor_bytes
from earwitness.training.views import viewed_batches

OLDEST = 120.0  # years; nobody's voice was recorded at a greater age
NOTICED_BIAS = 0.5  # years by which the grid's end moves the mean of a target, from which the record says so
LIMITS = (
    "proof of an age: an estimate says how old a voice sounds, with an interval",
    "deciding whether a person is of age",
    "voices older or younger than those it was tested on",
)
FASTER = "a perturbation of this recipe changes speed and pitch, which are cues of age"


def train_age(recipe: AgeRecipe, folder: str | Path, *, resume: bool = False, allow_leak: bool = False) -> Path:
    """Train as the recipe says, recalibrate on dev, and write `folder/model`; beside it the tables of the sides.

    Gives the model's folder. Raises `DataError` (also for an age of 0, or off the grid, naming its row), `LeakError`,
    `RecipeError` and `UsageError` as the steps do.
    """
    folder = Path(folder)
    if recipe.changes_speed:
        print(f"warning: {FASTER}", file=sys.stderr)
    if recipe.left_out is not None:
        return train_head(recipe, recipe.left_out, folder, resume=resume)
    data = read_ages(recipe, allow_leak)
    folder.mkdir(parents=True, exist_ok=True)
    data.write(folder)
    trainee, task = build_trainee(recipe, data.train)
    learning, train = regularised_ages(recipe, trainee, task, data.train)
    result = fit(trainee, learning, train, dev_batches(recipe, data.dev), recipe, folder / "fit", resume=resume)
    reading = AgeReading(loss=recipe.loss, sex=recipe.sex is not None, median=task.median)
    _save(folder / "model", recipe, data, trainee, reading, result.metrics)
    return recalibrate(folder / "model", data.dev, recipe)


def _save(
    model: Path,
    recipe: AgeRecipe,
    data: SplitData,
    trainee: AgeTrainee,
    reading: AgeReading,
    metrics: Mapping[str, float],
) -> None:
    """The model folder, its weights in half precision."""
    trained = recipe.model_copy(update={"network": recipe.built_network})
    info = describe(trained, data, metrics, "none")
    info = info.model_copy(update={"limits": LIMITS, "extra": {EXTRA: reading.model_dump(mode="json")}})
    learnt = trainee.criterion.state_dict()
    files = {CRITERION_FILE: tensor_bytes(learnt)} if learnt else {}
    save_model(model, info, trainee.network.trainable_state(), half=True, files=files)


def train_head(recipe: AgeRecipe, config: LeftOutConfig, folder: Path, *, resume: bool = False) -> Path:
    """A head on frozen branches, every speaker left out once: `folder/left-out.parquet` says what was made of each row,
    and one temperature of the distributions is fitted to that. Raises as `train_age` and `learn_left_out` do."""
    rows, notes = _rows_with_ages(recipe)
    folder.mkdir(parents=True, exist_ok=True)
    pupil = Pupil(
        lambda over, part: build_trainee(recipe.model_copy(update={"network": over}), part),
        lambda trainee, vectors: trainee.criterion.log_distribution(trainee(vectors).outputs).exp(),
    )
    found = learn_left_out(recipe, config, rows, pupil, folder, resume=resume)
    ages, grid = rows.table["age"].to_numpy(), recipe.loss.grid.values
    temperature = fitted_temperature(ages, grid, found.outputs[0], recipe.recalibrate)
    write_left_out(folder / LEFT_OUT, recipe, config, rows, found)
    reading = AgeReading(
        loss=recipe.loss,
        sex=recipe.sex is not None,
        median=float(np.median(ages)),
        temperature=temperature,
        fitted_by=recipe.recalibrate,
    )
    whole, _ = build_trainee(recipe, rows)
    load_trained_state(whole.network, found.module.network.trainable_state(), where=folder)
    data = SplitData(rows, rows, rows, (*notes, f"judged by leaving out speakers in {config.folds} folds"))
    _save(folder / "model", recipe, data, AgeTrainee(whole.network, found.module.criterion), reading, {})
    return folder / "model"


def write_left_out(
    path: Path, recipe: AgeRecipe, config: LeftOutConfig, rows: Manifest, found: LeftOut[AgeTrainee]
) -> None:
    """One row a recording and condition: its speaker, sex, age, fold, and the left-out distribution, brought to the
    temperature that the other folds ask for."""
    ages, grid = rows.table["age"].to_numpy(), recipe.loss.grid.values
    known = rows.table.select("id", "speaker", "sex", "age", "duration_s").with_columns(fold=pl.Series(found.folds))
    temperatures = {
        fold: fitted_temperature(
            ages[found.folds != fold], grid, found.outputs[0][found.folds != fold], recipe.recalibrate
        )
        for fold in range(config.folds)
    }
    parts = []
    for name, outputs in zip(config.judged, found.outputs, strict=True):
        brought = [tempered(row, temperatures[fold]) for row, fold in zip(outputs, found.folds, strict=True)]
        distributions = pl.Series([row.tolist() for row in brought], dtype=pl.List(pl.Float64))
        parts.append(known.with_columns(condition=pl.lit(name), distribution=distributions))
    write_table(pl.concat(parts), path)


def build_trainee(recipe: AgeRecipe, train: Manifest) -> tuple[AgeTrainee, AgeTask]:
    """Network and loss by the recipe's seed, and how they learn. They begin with the training side's own ages."""
    seed_run(recipe.seed, "init")
    network, criterion = recipe.built_network.build(), recipe.loss.build()
    ages = train.table["age"].to_list()
    trainee = AgeTrainee(network, criterion)
    trainee.start(torch.tensor(ages, dtype=torch.float32))
    return trainee, AgeTask(criterion, recipe.sex, float(np.median(ages)))


def regularised_ages(recipe: AgeRecipe, trainee: AgeTrainee, task: AgeTask, train: Manifest) -> tuple[Task, TrainData]:
    """The task with what `regularise` of the recipe adds, and the batches of the training side that it learns from."""
    batches = viewed_batches(recipe, train, recipe.regularise.views)
    parts = Regression(trainee.network, trainee.criterion, task.ages)
    return regularised(recipe.regularise, task, parts, train.table["age"].to_list(), batches), batches


def read_ages(recipe: AgeRecipe, allow_leak: bool = False) -> SplitData:
    """The rows with ages on their sides, guarded by speaker, source recording and audio; the training side's bands of
    age stand in the column `age_band`.

    Raises `DataError` for an age that nobody has, or off the grid, and `LeakError` for a leak.
    """
    rows, notes = _rows_with_ages(recipe)
    return put_on_sides(rows, notes, recipe.split, recipe.data.split_file, "manner", allow_leak=allow_leak)


def _rows_with_ages(recipe: AgeRecipe) -> tuple[Manifest, list[str]]:
    """All rows with an age, their bands in the column `age_band`, and notes on them."""
    manifest, notes = read_rows(recipe.data)
    rows, left_out = with_ages(manifest, recipe.corpora)
    check_ages(rows, recipe.loss.grid)
    notes = [*notes, *left_out, *_grid_notes(rows, recipe), *([FASTER] if recipe.changes_speed else [])]
    banded = (pl.col("age") // recipe.band_years * recipe.band_years).cast(pl.Int64).cast(pl.String)
    return rows.with_table(rows.table.with_columns(banded.alias(BAND))), notes


def with_ages(manifest: Manifest, corpora: Sequence[str] = ()) -> tuple[Manifest, list[str]]:
    """The bona fide rows with an age, of some corpora or of all, and what a run record must say of the others.

    Raises `DataError` where there is none, or a named corpus is not there.
    """
    there = manifest.table["corpus"].drop_nulls().unique().sort().to_list() if _has_corpora(manifest) else []
    for name in corpora:
        if name not in there:
            raise DataError(f"there is no corpus '{name}'", fix=f"Corpora: {', '.join(there) or 'none named'}.")
    chosen = manifest.filter(pl.col("corpus").is_in(list(corpora))) if corpora else manifest
    human = chosen.filter(pl.col("label").is_null() | (pl.col("label") != "spoof"))
    rows = human.filter(pl.col("age").is_not_null())
    if not len(rows):
        raise DataError("no row has an age", fix="Fill the column `age` with years.")
    counts = {
        "of other corpora": len(manifest) - len(chosen),
        "spoofs, whose age is of the voice they imitate": len(chosen) - len(human),
        "no age": len(human) - len(rows),
    }
    return rows, [f"{count} row(s) left out: {reason}" for reason, count in counts.items() if count]


def _has_corpora(manifest: Manifest) -> bool:
    return "corpus" in manifest.table.columns


def is_possible_age(years: float) -> bool:
    """Whether anybody's voice can be so old."""
    return 0 < years <= OLDEST


def check_ages(rows: Manifest, grid: GridConfig) -> None:
    """Raises `DataError` naming the first row whose age is 0 or less, above 120, or beyond the ends of the grid."""
    for name, age in rows.table.select("id", "age").iter_rows():
        if not is_possible_age(age):
            what = f"row '{name}' says an age of {age:g} years, which no speaker has"
            raise DataError(what, fix="Correct it, or leave it empty where the age is not known.")
        if not grid.low <= age <= grid.high:
            what = f"row '{name}' is {age:g} years old, beyond the grid of {grid.low:g} to {grid.high:g}"
            raise DataError(what, fix="Widen `loss.grid`, or leave the row out.")


def _grid_notes(rows: Manifest, recipe: AgeRecipe) -> list[str]:
    """How far the grid's ends move the mean of the widest target of the youngest and of the oldest."""
    if not isinstance(recipe.loss, SvldlConfig):
        return []
    widest, found = recipe.loss.widths[-1], []
    for age in sorted({float(rows.table["age"].min()), float(rows.table["age"].max())}):  # type: ignore[arg-type]
        bias = end_bias(recipe.loss.grid, age, widest)
        if abs(bias) >= NOTICED_BIAS:
            found.append(
                f"near the end of the grid: a target of width {widest:g} at {age:g} years has its mean {bias:+.1f} off"
            )
    return found


@dataclass(frozen=True)
class AgesHeard:
    """Recordings with their true `ages` [N] and what was estimated of each."""

    rows: tuple[Row, ...]
    ages: NDArray[np.float64]
    estimates: tuple[AgeEstimate, ...]

    @property
    def distributions(self) -> NDArray[np.float64]:
        """[N, K]."""
        return np.stack([estimate.distribution for estimate in self.estimates])


def hear_ages(estimator: AgeEstimator, side: Manifest) -> AgesHeard:
    """Every row, whole, by the model's windows; rows in which nothing can be judged are left out.

    Raises `DataError` where none is left.
    """
    found = list(_heard(estimator, side))
    if not found:
        raise DataError("no recording of the side can be heard", fix="Give longer recordings.")
    rows, estimates = zip(*found, strict=True)
    return AgesHeard(tuple(rows), np.array([row.age for row in rows], np.float64), tuple(estimates))


def _heard(estimator: AgeEstimator, side: Manifest) -> Iterator[tuple[Row, AgeEstimate]]:
    for row in counted(side.rows(), "hearing", len(side)):
        recording = load(side.resolve(row), estimator.info.rate, row.channel, row.start or 0.0, row.end)
        try:
            yield row, estimator.estimate(recording.samples, recording.rate)
        except AudioError:
            continue


def recalibrate(model: Path, dev: Manifest, recipe: AgeRecipe) -> Path:
    """Fit the temperature of a model folder on dev recordings, as the recipe says."""
    estimator = AgeEstimator.load(model)
    bare = estimator.reading.model_copy(update={"temperature": 1.0, "fitted_by": "none"})
    estimator.reading = bare
    with torch.inference_mode():
        heard = hear_ages(estimator, dev)
    grid = recipe.loss.grid.values
    temperature = fitted_temperature(heard.ages, grid, heard.distributions, recipe.recalibrate)
    fitted = bare.model_copy(update={"temperature": temperature, "fitted_by": recipe.recalibrate})
    before, after = (
        nll(heard.ages, GridDistributions.of(grid, tempered(heard.distributions, t))) for t in (1.0, temperature)
    )
    note = f"temperature {temperature:.3f} fitted by {recipe.recalibrate} on dev: NLL {before:.3f} to {after:.3f}"
    notes = estimator.info.training.get("notes")
    training = {**estimator.info.training, "notes": [*(notes if isinstance(notes, list) else []), note]}
    extra = {**estimator.info.extra, EXTRA: fitted.model_dump(mode="json")}
    revise_model(model, estimator.info.model_copy(update={"extra": extra, "training": training}))
    return model
