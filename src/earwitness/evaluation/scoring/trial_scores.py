"""Scoring a list of speaker trials: one row a trial, in the order of the list.

enrol, test, label                 as the list has them
score, llr                         as of recordings (`evaluation.scoring.scorers`)
*_enrol, *_test                    of both sides: speaker, seconds, variance where the model states one; what was
                                   measured (`print_files.FACTS`); sex and codec where the manifest has them
enrol_recordings                   of how many recordings the enrolment is
trial_list, comparison, trained_on, leak_check, ...
                                   what the figures must be told with (`judging.speaker_statement`)
error                              which side cannot be heard, and why
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earwitness.core.engines import Engine, LocalEngine
from earwitness.core.errors import DataError, UsageError
from earwitness.core.writing import part_of, read_rows, refuse_unfinished
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.tables import write_table
from earwitness.evaluation.judging.speaker_statement import training_statement
from earwitness.evaluation.scoring.cohorts import CohortOptions
from earwitness.evaluation.scoring.print_files import FACTS, Prints, hear_prints, variances_in, vectors_in
from earwitness.evaluation.scoring.scorers import Tally, known_of
from earwitness.evaluation.scoring.trial_leaks import check_trials
from earwitness.evaluation.scoring.trials import Trials, read_enrolments, read_trials
from earwitness.evaluation.scoring.voxceleb_lists import recognise
from earwitness.speaker.comparison import TrialComparator, Vectors
from earwitness.speaker.embedder import Embedder
from earwitness.speaker.uncertainty import Use
from earwitness.training.model_folder import ModelInfo

_OF_ROWS = ("sex", "codec")  # columns of the manifest that tables by condition are made of


def _nothing() -> None:
    """Shows no progress."""


def score_trials(
    manifest: Manifest,
    trials_path: str | Path,
    embedder: Embedder,
    output: str | Path,
    *,
    enrolments: str | Path | None = None,
    cohort: CohortOptions | None = None,
    use: Use = "none",
    allow_leak: bool = False,
    resume: bool = False,
    engine: Engine = LocalEngine(),
    progress: Callable[[], object] = _nothing,
) -> Tally:
    """Score a list of trials over the manifest's recordings into a table, in the order of the list.

    Each recording is heard once. Its voice print is kept beside the output until all trials are scored, so that an
    interrupted run goes on; those of a cohort stay there (`OUT.cohort.jsonl`). A trial with a side that cannot be heard
    has an error and no score. `enrolments` is a list of several recordings a name (`read_enrolments`). Scores by a
    cohort of one's own, or by another `use` of the variance than the model's, have no `llr`: the model's calibration is
    of others.

    Raises `DataError` for a bad list or a cohort that cannot be heard whole, `LeakError` where the model or the cohort
    knows the speakers of the trials (with `allow_leak` the table says so), and `UsageError` as `score_detection` does,
    and for a `use` of a variance that the model does not state.
    """
    output = Path(output)
    if use != "none" and not embedder.states_variance:
        raise UsageError("this model states no variance of its voice prints", fix="Compare by the plain cosine.")
    prints, cohort_prints = (output.with_name(f"{output.name}.{what}.jsonl") for what in ("prints", "cohort"))
    part_of(output)  # refuses an unknown format before the work
    if not resume:
        refuse_unfinished(prints)
    trials = read_trials(trials_path, manifest, None if enrolments is None else read_enrolments(enrolments))
    recognised = recognise(trials, trials_path)
    compared = embedder.comparator.cohort if cohort is None else cohort.unheard()
    leak_check = check_trials(embedder.info, trials, recognised.published, compared, allow_leak)
    small = None if cohort is None else cohort.note()
    notes = (recognised.statement, f"leak check: {leak_check}", *([small] if small else []))
    hear = partial(hear_prints, embedder=embedder, resume=resume, engine=engine, progress=progress)
    comparator, info = _comparison(embedder, cohort, use, partial(hear, path=cohort_prints))
    told = {"trial_list": recognised.statement, "leak_check": leak_check, "comparison": comparator.statement}
    if resume and (finished := _finished(output, prints, trials, comparator, info)):
        return replace(finished, notes=notes)
    heard = hear(manifest, rows=trials.rows, path=prints)
    scored = _table(trials, _Sides.of(trials, heard, manifest), comparator, info, told)
    write_table(scored, output)
    prints.unlink()
    return Tally(len(trials), scored["error"].count(), 0, heard.failures, notes)


def _comparison(
    embedder: Embedder, cohort: CohortOptions | None, use: Use, hear: Callable[[Manifest], Prints]
) -> tuple[TrialComparator, ModelInfo]:
    """How both sides are compared, and the model's description: without its calibration where that is of others."""
    own, bare = embedder.comparator, embedder.info.model_copy(update={"calibration": None, "cohort": None})
    if cohort is not None:
        vectors, variances = _cohort_vectors(cohort.manifest, hear(cohort.manifest))
        if cohort.back_end == "plda":
            return cohort.plda(vectors), bare
        return cohort.comparator(vectors, variances).using(use if use != "none" else own.use), bare
    if use not in ("none", own.use):
        return own.using(use), bare
    return own, embedder.info


def _cohort_vectors(manifest: Manifest, prints: Prints) -> tuple[Vectors, Vectors | None]:
    """The voice prints [n, D] of the rows, and their variances where there are any. Raises `DataError` where one could
    not be heard: without it all scores would be others."""
    heard = prints.of(manifest.table["id"].to_list())
    if missing := heard["print"].null_count():
        first = heard.row(int(heard["print"].is_null().arg_max() or 0), named=True)
        what = f"{missing} recording(s) of the cohort cannot be heard; the first {first['error']}"
        raise DataError(what, where=first["id"], fix="Take them out of the cohort, then add --resume.")
    return vectors_in(heard["print"]), variances_in(heard)


class _Sides:
    """What is known of the recordings of trials, and of the enrolments that several of them make.

    `rows` [R] has a line a recording, `models` [M] one an enrolment, whose recordings are `members`.
    """

    def __init__(self, rows: pl.DataFrame, members: Sequence[tuple[int, ...]]) -> None:
        self.rows, self.members = rows, members
        alone = all(len(places) == 1 for places in members)
        self.models = rows[[places[0] for places in members]] if alone else self._joined()

    @classmethod
    def of(cls, trials: Trials, prints: Prints, manifest: Manifest) -> _Sides:
        """With what the manifest says of them."""
        known = manifest.table.select("id", "speaker", *_OF_ROWS).cast(pl.String)
        rows = prints.of([row.id for row in trials.rows]).join(known, on="id", how="left", maintain_order="left")
        variances = variances_in(rows)
        if variances is not None:
            means = pl.Series("mean_variance", variances.mean(axis=1, dtype=np.float64))
            there = pl.col("variance").is_not_null()
            rows = rows.with_columns(means).with_columns(mean_variance=pl.when(there).then("mean_variance"))
        return cls(rows, trials.members)

    def _joined(self) -> pl.DataFrame:
        """A line an enrolment: seconds of speech are added, of what else was measured the least good counts."""
        parts = pl.DataFrame({"model": range(len(self.members)), "row": [list(m) for m in self.members]}).explode("row")
        rows = parts.join(self.rows.with_row_index("row").cast({"row": pl.Int64}), on="row", how="left")
        sums = [pl.col("seconds_used", "seconds_total", "speech_s").sum()]
        least = [pl.col("snr_db", "bandwidth_hz").min()]
        same = [
            pl.when(pl.col(name).n_unique() == 1).then(pl.col(name).first()).alias(name)
            for name in ("speaker", *_OF_ROWS)
        ]
        means = [pl.col("mean_variance").mean()] if "mean_variance" in rows.columns else []
        bad = pl.format("{} {}", "id", "error").drop_nulls()
        error = pl.when(pl.col("error").count() > 0).then(bad.str.join("; ")).alias("error")
        whole = pl.when(pl.col("print").null_count() == 0).then(pl.col("print").first()).alias("print")
        return rows.group_by("model", maintain_order=True).agg(*sums, *least, *same, *means, error, whole)

    def scores(
        self, comparator: TrialComparator, enrol: NDArray[np.int64], test: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Of trials whose sides can be heard."""
        return comparator.enrolled(vectors_in(self.rows["print"]), self.members, enrol, test, variances_in(self.rows))


def _table(
    trials: Trials, sides: _Sides, comparator: TrialComparator, info: ModelInfo, told: Mapping[str, str]
) -> pl.DataFrame:
    """One row a trial; `told` is the same in every row."""
    enrol, test = sides.models[trials.enrolment], sides.rows[trials.test]
    readable = enrol["print"].is_not_null() & test["print"].is_not_null()
    scores = np.full(len(trials), np.nan)
    if (heard := readable.to_numpy()).any():
        scores[heard] = sides.scores(comparator, trials.enrolment[heard], trials.test[heard])
    variance = {"mean_variance": "variance"} if "mean_variance" in sides.rows.columns else {}
    kept = {"seconds_used": "seconds_used", **variance, "seconds_total": "seconds_total"}
    kept |= {name: name for name in (*FACTS, *_OF_ROWS)}
    of_sides = {
        f"{name}_{side}": table[column]
        for column, name in kept.items()
        for side, table in (("enrol", enrol), ("test", test))
        if column not in _OF_ROWS or sides.rows[column].count()
    }
    table = pl.DataFrame(
        {
            "enrol": [pair[0] for pair in trials.names],
            "test": [pair[1] for pair in trials.names],
            "score": scores,
            "llr": _ratios(info, scores),
            "label": trials.labels,
            "enrol_speaker": enrol["speaker"],
            "test_speaker": test["speaker"],
            "enrol_recordings": [len(trials.members[place]) for place in trials.enrolment],
            **of_sides,
            "error_enrol": "enrolment: " + enrol["error"],
            "error_test": "test: " + test["error"],
        }
    )
    error = pl.concat_str("error_enrol", "error_test", separator="; ", ignore_nulls=True)
    return table.with_columns(
        pl.when(readable).then(pl.col("score", "llr")),
        windows=pl.lit(info.windows.name),
        calibration=pl.lit(known_of(info)["calibration"]),
        model=pl.lit(info.reference),
        trained_on=pl.lit(training_statement(info)),
        **{name: pl.lit(value) for name, value in told.items()},
        error=pl.when(~readable).then(error),
    ).drop("error_enrol", "error_test")


def _ratios(info: ModelInfo, scores: NDArray[np.float64]) -> pl.Series:
    """`ModelInfo.llr` of many scores at once."""
    if info.calibration is None:
        return pl.Series([None] * len(scores), dtype=pl.Float64)
    return pl.Series(info.calibration.conditions[0].llrs(scores))


def _finished(output: Path, prints: Path, trials: Trials, comparator: TrialComparator, info: ModelInfo) -> Tally | None:
    """What there was to do, where an earlier run has scored these very trials with this model to the end."""
    if not output.exists() or prints.exists() or part_of(prints).exists():
        return None
    columns = ("enrol", "test", "label", "model", "comparison", "calibration", "error")
    there = read_rows(output, dict.fromkeys(columns, str) | {"enrol_recordings": int})
    told = list(zip(there["enrol"], there["test"], strict=True)), list(there["label"])
    how = set(zip(there["model"], there["comparison"], there["calibration"], strict=True))
    if told != (list(trials.names), list(trials.labels)):
        return None
    if there["enrol_recordings"].to_list() != [len(trials.members[place]) for place in trials.enrolment]:
        return None
    if how != {(info.reference, comparator.statement, known_of(info)["calibration"])}:
        return None
    return Tally(0, there["error"].count(), there.height)
