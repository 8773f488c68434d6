"""Which class has the more entropy in a detector's latent, and which costs more nats: measured on a data set.

The hypothesis of f-InfoED (arXiv 2504.10819) names no sign: that human speech "holds more information" makes its KL
larger and its posterior's entropy lower, or, read as entropy over frames, the opposite. So nothing is assumed here.

    found = measure_direction(Detector.load("runs/mine/model"), Manifest.read("test.csv"))

Of each recording the mean over its frames is taken; intervals draw speakers of human speech and systems of synthesis.
Silence strongly affects the entropy, and its length is a known shortcut in corpora: all is told without frames below
-60 dBFS too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl

from earwitness.audio.windows import stream_windows
from earwitness.core.errors import AudioError, DataError
from earwitness.corpora.manifest import Manifest, Row
from earwitness.deepfake.detector import Detector
from earwitness.deepfake.latent_trace import QUIET_DBFS, Trace, traces_of
from earwitness.evaluation.judging.labelled import LabelledScores
from earwitness.evaluation.judging.units import units_of
from earwitness.metrics.bootstrap import Interval, Units, bootstrap
from earwitness.metrics.scores import Floats
from earwitness.metrics.trials import Trials

ALL, LOUD = "all frames", f"without frames below {QUIET_DBFS:g} dBFS"
QUANTITIES = {"entropy": "H/D, nats per dimension", "divergence": "KL, nats a frame"}


@dataclass(frozen=True)
class Direction:
    """One quantity over some frames: means of the classes over recordings, and the rank AUC, the chance that a bona
    fide recording has more of it than a spoof."""

    quantity: str
    frames: str
    bonafide: Interval
    spoof: Interval
    auc: Interval

    @property
    def answer(self) -> str:
        """The direction in words."""
        if self.auc.low > 0.5:
            return "higher in bona fide speech"
        return "higher in spoofs" if self.auc.high < 0.5 else "no direction can be told"


@dataclass(frozen=True)
class Measured:
    """All directions on a data set. `failed` are ids that could not be heard; `silent` recordings have no frame of
    `QUIET_DBFS` or more and count over all frames alone."""

    model: str
    bonafide: int
    spoof: int
    directions: tuple[Direction, ...]
    failed: tuple[str, ...] = ()
    silent: int = 0
    notes: tuple[str, ...] = field(default_factory=tuple)

    def plain(self) -> dict[str, Any]:
        """As plain data, each direction with its answer."""
        told = [{**asdict(direction), "answer": direction.answer} for direction in self.directions]
        return {**asdict(self), "directions": told}


def measure_direction(
    detector: Detector,
    manifest: Manifest,
    n_resamples: int = 1000,
    seed: int = 0,
    progress: Callable[[], object] = lambda: None,
) -> Measured:
    """Hear every row of a manifest, and measure. Raises `DataError` for a row without a label or where a class is
    missing, `ModelError` for a model without a latent entropy, and `MetricError` for fewer than two units of a class.
    """
    if manifest.table["label"].null_count():
        raise DataError("has rows without a label", where=manifest.root, fix="Give every row label bonafide or spoof.")
    heard: list[dict[str, Any]] = []
    failed: list[str] = []
    for row in manifest.rows():
        try:
            heard.append({"id": row.id, **_means(detector, manifest, row)})
        except (AudioError, OSError):
            failed.append(row.id)
        progress()
    names = [f"{quantity} {frames}" for quantity in QUANTITIES for frames in (ALL, LOUD)]
    known = manifest.table.with_columns(positive=pl.col("label") == "bonafide")
    table = known.join(pl.DataFrame(heard, {"id": pl.String} | dict.fromkeys(names, pl.Float64)), on="id")
    bonafide = int(table["positive"].sum())
    spoof = table.height - bonafide
    if not bonafide or not spoof:
        raise DataError("holds no row of one class that can be heard", where=manifest.root, fix="Give both classes.")
    loud = table.filter(pl.col(f"entropy {LOUD}").is_not_null())
    found = [*_directions(table, ALL, n_resamples, seed), *_directions(loud, LOUD, n_resamples, seed)]
    _, notes = units_of(_labelled(table))
    silent = table.height - loud.height
    return Measured(detector.info.reference, bonafide, spoof, tuple(found), tuple(failed), silent, tuple(notes))


def _means(detector: Detector, manifest: Manifest, row: Row) -> dict[str, float | None]:
    """Of each quantity the mean over a recording's frames, and over its louder ones (None where there are none)."""
    info = detector.info
    path = manifest.resolve(row)
    windows = stream_windows(path, info.windows, info.rate, row.channel, row.start or 0.0, row.end)
    sums: dict[str, float] = {}
    counts = {ALL: 0, LOUD: 0}
    for trace in traces_of(detector, windows):
        for frames, chosen in ((ALL, np.ones(len(trace.level), bool)), (LOUD, trace.loud)):
            counts[frames] += int(chosen.sum())
            for quantity in QUANTITIES:
                key = f"{quantity} {frames}"
                sums[key] = sums.get(key, 0.0) + float(_values(trace, quantity)[chosen].sum())
    if not counts[ALL]:
        raise AudioError("holds no sound", where=path)
    return {
        f"{quantity} {frames}": sums[f"{quantity} {frames}"] / count if count else None
        for quantity in QUANTITIES
        for frames, count in counts.items()
    }


def _values(trace: Trace, quantity: str) -> Floats:
    return trace.entropy if quantity == "entropy" else trace.divergence


def _labelled(table: pl.DataFrame) -> LabelledScores:
    return LabelledScores("deepfake", table, (), (), {})


def _directions(table: pl.DataFrame, frames: str, n_resamples: int, seed: int) -> Iterator[Direction]:
    labelled = _labelled(table)
    units, _ = units_of(labelled)
    for quantity, words in QUANTITIES.items():
        human, made = (side[f"{quantity} {frames}"].to_numpy() for side in (labelled.positive, labelled.negative))
        sides, trials = [human, made], Trials(human, made, units)

        def statistic(counts: Floats, sides: list[Floats] = sides, trials: Trials = trials) -> list[float]:
            return [*_class_means(sides, units, counts), trials.resample(counts).auc()]

        yield Direction(words, frames, *bootstrap(statistic, units, n_resamples, seed))


def _class_means(sides: list[Floats], units: Units, counts: Floats) -> list[float]:
    """Of each class, with each unit counted as often as it was drawn; NaN where nothing of it was."""
    weights = np.split(units.weights(counts), [len(sides[0])])
    return [float(w @ side / w.sum()) if w.sum() else float("nan") for w, side in zip(weights, sides, strict=True)]
