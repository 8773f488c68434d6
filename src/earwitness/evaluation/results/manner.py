"""How good estimated ages and emotions are, and which of two tables of them is better: all figures, as data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.core.errors import DataError
from earwitness.core.records import RunRecord, command_line
from earwitness.evaluation.ages import JudgedAges
from earwitness.evaluation.assessing.emotion import confusion_table, figure_rows
from earwitness.evaluation.assessing.outcome import figure, write_result
from earwitness.evaluation.emotions import EmotionFigures, compared, figures
from earwitness.evaluation.judging.judge import JudgeOptions
from earwitness.evaluation.judging.manner import Manner, MannerScores, read_manner_scores
from earwitness.evaluation.judging.units import speaker_units
from earwitness.metrics.bootstrap import FEW_UNITS, Paired, paired
from earwitness.metrics.regression import mae
from earwitness.metrics.scores import Floats
from earwitness.paralinguistic.labels import LabelsConfig
from earwitness.training.card import ResultRow

SIDE = "all"
METRICS: dict[Manner, str] = {"age": "MAE, years", "emotion": "UA (mean recall), %"}


@dataclass(frozen=True)
class MannerResult:
    """What one table is worth: all figures in `rows`; of emotions `emotions` too, with the confusion matrix."""

    task: Manner
    judged: int
    speakers: int
    rows: tuple[ResultRow, ...]
    emotions: EmotionFigures | None
    notes: tuple[str, ...]
    record: RunRecord

    def write(self, path: str | Path) -> None:
        """As JSON, whole or not at all."""
        details: dict[str, Any] = {} if self.emotions is None else {"confusion": confusion_table(self.emotions.whole)}
        details |= {"task": self.task, "judged": self.judged, "speakers": self.speakers, "notes": self.notes}
        write_result(Path(path), self.record.command, self.rows, **details, record=self.record.plain())


@dataclass(frozen=True)
class MannerComparison:
    """Two tables on the `shared` recordings, those that both could be judged on: MAE (age) or UA (emotion, a share) of
    both, and first minus second. `first_only` and `second_only` count the others."""

    task: Manner
    shared: int
    first_only: int
    second_only: int
    paired: Paired
    notes: tuple[str, ...]
    record: RunRecord

    @property
    def answer(self) -> str:
        """In words, which is better: only where the whole interval of the difference is on one side of 0."""
        change = self.paired.difference
        if change.low <= 0 <= change.high:
            return "neither is shown to be better: the interval of the difference holds 0"
        first = change.high < 0 if self.task == "age" else change.low > 0
        return f"{'A' if first else 'B'} is better: the interval of the difference does not hold 0"

    def write(self, path: str | Path) -> None:
        """As JSON, whole or not at all."""
        values = {"A": self.paired.first, "B": self.paired.second, "A minus B": self.paired.difference}
        source = Path(self.record.settings["first"]).resolve()
        rows = [figure(name, METRICS[self.task], value, self.shared, source) for name, value in values.items()]
        counts = {"shared": self.shared, "first_only": self.first_only, "second_only": self.second_only}
        details = {"task": self.task, "answer": self.answer, **counts, "notes": self.notes}
        write_result(Path(path), self.record.command, rows, **details, record=self.record.plain())


def evaluate_manner(
    task: Manner,
    scores: str | Path,
    key: str | Path,
    options: JudgeOptions | None = None,
    labels: LabelsConfig | None = None,
) -> MannerResult:
    """All figures of a score table. Raises `DataError` as `read_manner_scores` does."""
    options = options or JudgeOptions()
    read, source = read_manner_scores(task, scores, key, labels), Path(scores).resolve()
    found: EmotionFigures | None = None
    notes = [*read.notes]
    if task == "age":
        judged = _judged(read, options, source)
        rows, of_speakers = [*judged.of_all(), *judged.of_errors(), *judged.of_parts()], [*judged.of_speakers()]
        rows += of_speakers
        notes += judged.small_parts()
        if not of_speakers and judged.units.count > 1:
            notes.append("a speaker has several ages, so there is no error by speaker")
    else:
        found = figures(read.table, options.n_resamples, options.seed)
        rows = figure_rows(found, source, SIDE)
    units = speaker_units(read.table)
    settings = {"task": task, "scores": str(scores), "key": str(key)}
    return MannerResult(
        task=task,
        judged=read.table.height,
        speakers=units.count,
        rows=tuple(rows),
        emotions=found,
        notes=(*notes, *_few(units.count, units.name)),
        record=_record(settings, options, read.inputs, [read]),
    )


def compare_manner(
    task: Manner,
    first: str | Path,
    second: str | Path,
    key: str | Path,
    options: JudgeOptions | None = None,
    labels: LabelsConfig | None = None,
) -> MannerComparison:
    """Two score tables on the recordings that both judge, over the same resampled speakers.

    Raises `DataError` as `read_manner_scores` does and where no recording is judged by both, `MetricError` for a
    single speaker.
    """
    options = options or JudgeOptions()
    a, b = (read_manner_scores(task, path, key, labels) for path in (first, second))
    one = a.table.join(b.table.select("id"), on="id", how="semi", maintain_order="left")
    two = one.select("id").join(b.table, on="id", how="left", maintain_order="left")
    if not one.height:
        what = f"shares no judged recording with {first}"
        raise DataError(what, where=second, fix="Compare tables of the same recordings.")
    units = speaker_units(one)
    if task == "emotion":
        both = compared(one, two, options.n_resamples, options.seed)
    else:
        truth = one["age"].to_numpy()

        def error(estimates: Floats) -> Callable[[Floats], float]:
            return lambda counts: mae(truth, estimates, units.weights(counts))

        means = (one["mean"].to_numpy(), two["mean"].to_numpy())
        both = paired(error(means[0]), error(means[1]), units, options.n_resamples, options.seed)
    inputs = {"first": a.inputs["scores"], "second": b.inputs["scores"], "key": a.inputs["key"]}
    told = [f"{name}: {note}" for name, read in (("A", a), ("B", b)) for note in read.notes]
    settings = {"task": task, "first": str(first), "second": str(second), "key": str(key)}
    return MannerComparison(
        task=task,
        shared=one.height,
        first_only=a.table.height - one.height,
        second_only=b.table.height - one.height,
        paired=both,
        notes=(*told, *_few(units.count, units.name)),
        record=_record(settings, options, inputs, [a, b]),
    )


def _judged(read: MannerScores, options: JudgeOptions, source: Path) -> JudgedAges:
    """The constant beside the estimates is the median of these very ages, the best that a constant can do."""
    median = float(np.median(read.table["age"].to_numpy()))
    return JudgedAges(read.table, median, options, source, SIDE, f"key's median ({median:g})")


def _few(count: int, name: str) -> Iterator[str]:
    if count < 2:
        yield f"one {name} only: there are no intervals"
    elif count < FEW_UNITS:
        yield f"fewer than {FEW_UNITS} units of {name} to resample: the intervals are rather too narrow"


def _record(
    settings: dict[str, Any], options: JudgeOptions, inputs: dict[str, str], read: list[MannerScores]
) -> RunRecord:
    return RunRecord.make(
        command_line(),
        {**settings, "n_resamples": options.n_resamples},
        seed=options.seed,
        inputs=inputs,
        weights=[one.model for one in read if one.model is not None],
    )
