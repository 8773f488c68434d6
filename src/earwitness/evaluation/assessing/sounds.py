"""Sound classifiers on real recordings: accuracy with its interval, and the card. Students of data-free distillation
are judged here, and here alone do real recordings come near them.

    results/test.csv         id, sound, named, probability, unit, error: a row a recording
    results/accuracy.json    the figure over them; a recording that cannot be read counts as named wrongly
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earwitness.audio.reading import load
from earwitness.core.errors import AudioError, DataError, ModelError
from earwitness.corpora.manifest import Manifest, Row
from earwitness.corpora.readers.sounds import FOLD, SOUND
from earwitness.corpora.tables import write_table
from earwitness.evaluation.assessing.outcome import Outcome, figure, leaks_of, read_side, results_folder, write_result
from earwitness.metrics.bootstrap import Interval, Units, bootstrap
from earwitness.training.card import ResultRow
from earwitness.training.data import read_rows
from earwitness.training.inversion.recipe import RealTestConfig
from earwitness.training.sound_classes import SoundClassifier, with_class

METRIC = "accuracy (top-1), %"
UNITS = ("speaker", "source_recording", FOLD)  # what intervals resample, the first that every row has


@dataclass(frozen=True)
class Answers:
    """What a classifier said of each recording: `table` as in `results/test.csv`."""

    table: pl.DataFrame
    unit: str

    @property
    def right(self) -> NDArray[np.float64]:
        """1 where the class was named rightly, [N]."""
        return (self.table[SOUND] == self.table["named"]).fill_null(False).cast(pl.Float64).to_numpy()

    @property
    def accuracy(self) -> float:
        """Share of all recordings."""
        return float(self.right.mean())

    def interval(self, seed: int = 0) -> Interval | None:
        """With its 95 % interval over the units; None where there are fewer than two."""
        units, right = Units.of(self.table["unit"].to_list(), self.unit), self.right
        if units.count < 2:
            return None

        def share(counts: NDArray[np.float64]) -> list[float]:
            weights = units.weights(counts)
            return [float((weights * right).sum() / weights.sum())]

        return bootstrap(share, units, seed=seed)[0]


def answers(classifier: SoundClassifier, rows: Manifest, step: Callable[[], None] = lambda: None) -> Answers:
    """Every row of a manifest with a column `sound`, whole, by the model's windows. `step` is told of each.

    Raises `DataError` without rows.
    """
    if not len(rows):
        raise DataError("there is nothing to judge by", fix="Name rows of the data that the teacher never heard.")
    unit = next((name for name in UNITS if name in rows.table.columns and not rows.table[name].null_count()), "id")
    found = []
    for row in rows.rows():
        found.append(_answer(classifier, rows, row))
        step()
    said = {"named": pl.String, "probability": pl.Float64, "error": pl.String}
    table = pl.DataFrame(found, schema=said, orient="row")
    known = rows.table.select("id", SOUND, pl.col(unit).cast(pl.String).alias("unit"))
    return Answers(pl.concat([known, table], how="horizontal"), "recording" if unit == "id" else unit)


def _answer(classifier: SoundClassifier, rows: Manifest, row: Row) -> tuple[str | None, float | None, str | None]:
    rate = classifier.info.rate
    try:
        heard = load(rows.resolve(row), rate, row.channel, row.start or 0.0, row.end)
        named = classifier.classify(heard.samples, heard.rate)
    except AudioError as error:
        return None, None, str(error)
    return named.name, float(named.probabilities.max()), None


def real_test(config: RealTestConfig) -> Manifest:
    """The real recordings that a student is judged on, their class in the column `sound`. Raises `DataError`."""
    manifest, _ = read_rows(config.data)
    for column, values in config.where.items():
        if column not in manifest.table.columns:
            raise DataError(f"test.where: there is no column `{column}`", fix="Name a column of the manifest.")
        manifest = manifest.filter(pl.col(column).cast(pl.String).is_in(list(values)))
    return with_class(manifest, config.column)


def assess_sounds(model: str | Path, run: str | Path) -> Outcome:
    """Judge a sound classifier on the test side of its run. Writes into `run/results`. Raises `ModelError`."""
    run = Path(run)
    classifier = SoundClassifier.load(model)
    rows = read_side(run, "test")
    leaks = leaks_of(classifier.info)
    if rows is None:
        return Outcome(inconclusive=("It was not tested: no real recordings were held out or named.", *leaks))
    results = results_folder(run, classifier.info)
    said = answers(classifier, rows)
    write_table(said.table, results / "test.csv")
    source = results / "accuracy.json"
    row = _row(said, source)
    write_result(source, "earwitness model card .", [row], failed=int(said.table["error"].is_not_null().sum()))
    return Outcome(rows=(row,), inconclusive=tuple(leaks))


def _row(said: Answers, source: Path) -> ResultRow:
    interval, count = said.interval(), len(said.table)
    if interval is not None:
        return figure("test side", METRIC, interval, count, source)
    place = f"{source.parent.name}/{source.name}"
    return ResultRow("test side", METRIC, 100 * said.accuracy, None, None, count, place)


def require_sound_class(task: str) -> None:
    """Raise `ModelError` where real recordings are named for a student that does not name sounds."""
    if task != "sound-class":
        raise ModelError(
            f"`test` judges sound classifiers; the teacher answers '{task}'",
            fix="Leave `test` out, and judge the student by `earwitness score` and `earwitness evaluate`.",
        )
