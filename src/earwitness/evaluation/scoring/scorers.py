"""Scoring many inputs: one row each, written as it comes, decoding hidden behind the model.

A file that cannot be judged gets a row with `error` and no score. Killed at any moment and started again with `resume`,
no row is lost or doubled.

    id, path, label, start, end        as in the manifest; seconds in the file
    score                              higher = bona fide (deepfake) or same speaker
    llr                                calibrated natural-log likelihood ratio for a recording in no special condition;
                                       `examine` weakens it further where a recording is short, narrow-band or noisy
    seconds_used, seconds_total        heard of it, and how long it is
    windows                            the policy by which it was heard
    calibration                        what the llr was fitted on
    references                         which recordings it was compared with (speakers only)
    variance                           mean variance of the voice print, where the model states one; it falls with
                                       the seconds, so read it beside `seconds_used` (of trials: one of each side)
    model                              name, version and hash of the model
    error                              why there is no score

Trials have `enrol, test` as their list names them and its `label`, the speakers where the manifest knows them, the
seconds of both sides, and what their figures must be told with (`evaluation.speaker_statement`): which list it is, how
both sides were compared, what the model learnt from, and whether it knows the speakers.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earwitness.audio import Recording, load, probe
from earwitness.core.errors import AudioError, DataError, UsageError
from earwitness.core.hashing import sha256_data, sha256_file
from earwitness.core.writing import ResumableRows, part_of, read_rows, refuse_unfinished
from earwitness.corpora.manifest import Manifest, Row
from earwitness.corpora.tables import write_table
from earwitness.deepfake.detector import DetectionScore, Detector
from earwitness.evaluation.judging.speaker_statement import training_statement
from earwitness.evaluation.scoring.cohorts import CohortOptions
from earwitness.evaluation.scoring.inputs import read_input
from earwitness.evaluation.scoring.trial_leaks import check_trials
from earwitness.evaluation.scoring.trials import Trials, read_trials
from earwitness.evaluation.scoring.voxceleb_lists import recognise
from earwitness.nn.pretrained.mos import QualityScore
from earwitness.speaker.comparison import Vectors
from earwitness.speaker.embedder import Embedder, VoicePrint
from earwitness.speaker.phonetic_traits.comparing import TraitPrint
from earwitness.speaker.uncertainty import Use
from earwitness.training.model_folder import ModelInfo

R = TypeVar("R", DetectionScore, VoicePrint, QualityScore, TraitPrint)
T = TypeVar("T")
U = TypeVar("U")

COLUMNS: dict[str, type] = {
    "id": str,
    "path": str,
    "score": float,
    "llr": float,
    "label": str,
    "start": float,
    "end": float,
    "seconds_used": float,
    "seconds_total": float,
    "windows": str,
    "calibration": str,
    "model": str,
    "error": str,
}
REFERENCE_COLUMNS: dict[str, type] = {**COLUMNS, "references": str}
_PRINT_COLUMNS: dict[str, type] = {
    "id": str,
    "print": str,  # base64 of little-endian float32 [D]
    "variance": str,  # the same, where the network states one
    "seconds_used": float,
    "seconds_total": float,
    "windows": str,
    "model": str,
    "error": str,
}
HELD_IN_MEMORY_S = 120.0  # longer recordings are streamed instead of decoded ahead
LISTED = 20  # failures that a tally names; the table names all


@dataclass(frozen=True)
class Tally:
    """How a run went; `failures` are the first errors of this run in words."""

    done: int
    failed: int  # of all rows, also those of an earlier, interrupted run
    skipped: int  # rows that such a run had written
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what must be said besides, e.g. which list this is


def _nothing() -> None:
    """Shows no progress."""


def _known(info: ModelInfo) -> dict[str, str]:
    """What every row says of the model that heard it."""
    calibration = "none" if info.calibration is None else info.calibration.fitted_on
    return {"windows": info.windows.name, "calibration": calibration, "model": info.reference}


def score_detection(
    manifest: Manifest,
    detector: Detector,
    output: str | Path,
    *,
    resume: bool = False,
    workers: int = 1,
    progress: Callable[[], object] = _nothing,
) -> Tally:
    """Score every row of the manifest into a CSV, Parquet or JSONL table.

    Raises `UsageError` where it cannot write, or where rows of an interrupted run or another model lie there.
    """
    known = _known(detector.info)

    def columns(heard: DetectionScore) -> dict[str, Any]:
        return {"score": heard.score, "llr": heard.llr}

    hearing = Hearing(manifest, detector.info.rate, detector.score, detector.score_file, columns, known)
    with ResumableRows(output, "id", COLUMNS, resume=resume, same=known) as table:
        return hearing.fill(table, manifest.rows(), workers, progress)


def score_references(
    manifest: Manifest,
    references: Sequence[str | Path],
    embedder: Embedder,
    output: str | Path,
    *,
    resume: bool = False,
    workers: int = 1,
    progress: Callable[[], object] = _nothing,
) -> Tally:
    """Compare every row of the manifest with one speaker, known from `references`: files, folders, globs, manifests.

    Raises `AudioError` for a reference that cannot be heard, and `UsageError` as `score_detection` does.
    """
    enrolment, name = _enrol(references, embedder)
    known = _known(embedder.info) | {"references": name}

    def columns(heard: VoicePrint) -> dict[str, Any]:
        score = embedder.compare(enrolment, heard)
        return {"score": score, "llr": embedder.info.llr(score), "variance": heard.mean_variance}

    hearing = Hearing(manifest, embedder.info.rate, embedder.embed, embedder.embed_file, columns, known)
    kept = {**REFERENCE_COLUMNS, "variance": float} if embedder.states_variance else REFERENCE_COLUMNS
    with ResumableRows(output, "id", kept, resume=resume, same=known) as table:
        return hearing.fill(table, manifest.rows(), workers, progress)


def score_trials(
    manifest: Manifest,
    trials_path: str | Path,
    embedder: Embedder,
    output: str | Path,
    *,
    cohort: CohortOptions | None = None,
    use: Use = "none",
    allow_leak: bool = False,
    resume: bool = False,
    workers: int = 1,
    progress: Callable[[], object] = _nothing,
) -> Tally:
    """Score a list of trials over the manifest's recordings into a table, in the order of the list.

    Each recording is heard once. Its voice print is kept beside the output until all trials are scored, so that an
    interrupted run goes on; those of a cohort stay there (`OUT.cohort.jsonl`). A trial with a side that cannot be heard
    has an error and no score. Scores by a cohort of one's own, or by another `use` of the variance than the model's,
    have no `llr`: the model's calibration is of others.

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
    trials = read_trials(trials_path, manifest)
    recognised = recognise(trials, trials_path)
    compared = embedder.comparator.cohort if cohort is None else cohort.unheard()
    leak_check = check_trials(embedder.info, trials, recognised.published, compared, allow_leak)
    told = {"trial_list": recognised.statement, "leak_check": leak_check}
    small = None if cohort is None else cohort.note()
    notes = (recognised.statement, f"leak check: {leak_check}", *([small] if small else []))
    hear = partial(_heard_prints, embedder=embedder, resume=resume, workers=workers, progress=progress)
    if cohort is not None:
        heard, _ = hear(cohort.manifest, path=cohort_prints)
        means = cohort.comparator(*_cohort_vectors(cohort.manifest, heard))
        embedder = embedder.compared_by(means.using(use if use != "none" else embedder.comparator.use))
    elif use not in ("none", embedder.comparator.use):
        embedder = embedder.compared_by(embedder.comparator.using(use))
    if resume and (finished := _finished_trials(output, prints, trials, embedder)):
        return replace(finished, notes=notes)
    table, failures = hear(manifest, rows=trials.rows, path=prints)
    scored = _trial_table(trials, table, embedder, told)
    write_table(scored, output)
    prints.unlink()
    return Tally(len(trials), scored["error"].count(), 0, failures, notes)


def _heard_prints(
    manifest: Manifest,
    *,
    path: Path,
    embedder: Embedder,
    resume: bool,
    workers: int,
    progress: Callable[[], object],
    rows: Sequence[Row] | None = None,
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The voice prints of rows (all of the manifest's), kept in `path`, and the first errors in words."""
    known = {"windows": embedder.info.windows.name, "model": embedder.info.reference}
    hearing = Hearing(manifest, embedder.info.rate, embedder.embed, embedder.embed_file, _as_text, known)
    with ResumableRows(path, "id", _PRINT_COLUMNS, resume=resume, same=known) as table:
        heard = hearing.fill(table, manifest.rows() if rows is None else rows, workers, progress)
    return read_rows(path, _PRINT_COLUMNS), heard.failures


def _cohort_vectors(manifest: Manifest, prints: pl.DataFrame) -> tuple[Vectors, Vectors | None]:
    """The voice prints [n, D] of the rows, and their variances where there are any. Raises `DataError` where one could
    not be heard: without it all scores would be others."""
    heard = manifest.table.select("id").join(prints, on="id", how="left", maintain_order="left")
    if missing := heard["print"].null_count():
        first = heard.row(int(heard["print"].is_null().arg_max() or 0), named=True)
        what = f"{missing} recording(s) of the cohort cannot be heard; the first {first['error']}"
        raise DataError(what, where=first["id"], fix="Take them out of the cohort, then add --resume.")
    return _as_vectors(heard["print"]), _variances(heard)


@dataclass(frozen=True)
class Hearing(Generic[R]):
    """A model hears the rows of a manifest: short recordings decoded ahead, long ones streamed; both give the same.

    `columns` are what a row says of what was heard, `known` what every row says.
    """

    manifest: Manifest
    rate: int
    hear: Callable[[Any, int], R]
    hear_file: Callable[[Path, int | None, float, float | None], R]
    columns: Callable[[R], dict[str, Any]]
    known: dict[str, str]

    def fill(
        self, table: ResumableRows, rows: Iterable[Row], workers: int, progress: Callable[[], object] = _nothing
    ) -> Tally:
        """Add every row that is not there yet; what cannot be heard is a row with an error."""
        before = len(table.done)
        failures: list[str] = []
        for row, ahead in ahead_of(_not_done(table, rows, progress), self._decode, workers):
            found = self._row(row, ahead)
            table.add(found)
            if "error" in found and len(failures) < LISTED:
                failures.append(f"{row.id}: {found['error']}")
            progress()
        return Tally(len(table.done) - before, table.failed, before, tuple(failures))

    def _row(self, row: Row, ahead: Future[Recording | None]) -> dict[str, Any]:
        told = {"id": row.id, "path": row.path, "label": row.label, "start": row.start, "end": row.end, **self.known}
        try:
            heard = self._heard(row, ahead.result())
        except (AudioError, DataError) as error:
            return told | {"error": str(type(error)(error.what, fix=error.fix))}  # the row says where
        except OSError as error:  # a disk or a share that went away in the middle of a file
            return told | {"error": f"cannot be read ({error.strerror or error})"}
        seconds = {"seconds_used": round(heard.seconds_used, 4), "seconds_total": round(heard.seconds_total, 4)}
        return told | seconds | self.columns(heard)

    def _heard(self, row: Row, recording: Recording | None) -> R:
        if recording is None:
            return self.hear_file(self.manifest.resolve(row), row.channel, row.start or 0.0, row.end)
        return self.hear(recording.samples, recording.rate)

    def _decode(self, row: Row) -> Recording | None:
        """The recording where it is short enough to lie in memory, else None: it will be streamed."""
        path, start_s = self.manifest.resolve(row), row.start or 0.0
        end_s = probe(path).duration_s if row.end is None else row.end
        if end_s is None or end_s - start_s > HELD_IN_MEMORY_S:
            return None
        return load(path, self.rate, row.channel, start_s, row.end)


def _not_done(table: ResumableRows, rows: Iterable[Row], progress: Callable[[], object]) -> Iterator[Row]:
    for row in rows:
        if row.id in table.done:
            progress()
        else:
            yield row


def ahead_of(items: Iterable[T], work: Callable[[T], U], workers: int) -> Iterator[tuple[T, Future[U]]]:
    """Each item with its finished or running work, in order; at most `2 * workers + 3` are held at once."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        waiting: deque[tuple[T, Future[U]]] = deque()
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) > 2 * workers + 2:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            for _, future in waiting:
                future.cancel()


def _enrol(references: Sequence[str | Path], embedder: Embedder) -> tuple[list[VoicePrint], str]:
    """The prints of the claimed speaker, and a name for the recordings that they are from."""
    prints, heard = [], []
    for reference in references:
        manifest = read_input(reference)
        for row in manifest.rows():
            path = manifest.resolve(row)
            try:
                prints.append(embedder.embed_file(path, row.channel, row.start or 0.0, row.end))
            except AudioError as error:
                what = f"cannot serve as a reference: {error.what}"
                raise AudioError(what, where=path, fix=error.fix) from None
            heard.append([sha256_file(path), row.channel, row.start, row.end])
    if not prints:
        raise UsageError("there are no references", fix="Name at least one recording of the claimed speaker.")
    return prints, f"{len(heard)} recording(s) (sha256 {sha256_data(heard)[:12]})"


def _as_text(heard: VoicePrint) -> dict[str, Any]:
    variance = {} if heard.variance is None else {"variance": _text_of(heard.variance)}
    return {"print": _text_of(heard.vector), **variance}


def _text_of(values: Vectors) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")


def _variances(prints: pl.DataFrame) -> Vectors | None:
    """[n, D]; None where the model states none."""
    return None if prints["variance"].is_null().all() else _as_vectors(prints["variance"])


def _as_vectors(texts: pl.Series) -> Vectors:
    """[n, D]; zeros where there is no print. At least one there must be."""
    found = [None if text is None else np.frombuffer(base64.b64decode(text), "<f4") for text in texts]
    blank = np.zeros_like(next(vector for vector in found if vector is not None))
    return np.stack([blank if vector is None else vector for vector in found])


def _ratios(info: ModelInfo, scores: NDArray[np.float64]) -> pl.Series:
    """`ModelInfo.llr` of many scores at once."""
    if info.calibration is None:
        return pl.Series([None] * len(scores), dtype=pl.Float64)
    clean = info.calibration.conditions[0]
    return pl.Series(np.clip(clean.scale * scores + clean.offset, clean.low, clean.high))


def _trial_table(trials: Trials, prints: pl.DataFrame, embedder: Embedder, told: Mapping[str, str]) -> pl.DataFrame:
    """One row a trial; `told` is the same in every row."""
    ids = pl.DataFrame({"id": [row.id for row in trials.rows], "speaker": [row.speaker for row in trials.rows]})
    sides = ids.cast(pl.String).join(prints, on="id", how="left", maintain_order="left")
    enrol, test = sides[trials.enrol], sides[trials.test]
    readable = enrol["print"].is_not_null() & test["print"].is_not_null()
    scores, variances = np.full(len(trials), np.nan), _variances(sides)
    if (heard := readable.to_numpy()).any():
        vectors = _as_vectors(sides["print"])
        scores[heard] = embedder.comparator.trials(vectors, trials.enrol[heard], trials.test[heard], variances)
    table = pl.DataFrame(
        {
            "enrol": [pair[0] for pair in trials.names],
            "test": [pair[1] for pair in trials.names],
            "score": scores,
            "llr": _ratios(embedder.info, scores),
            "label": trials.labels,
            "enrol_speaker": enrol["speaker"],
            "test_speaker": test["speaker"],
            "seconds_used_enrol": enrol["seconds_used"],
            "seconds_used_test": test["seconds_used"],
            **_stated(sides, variances, trials),
            "seconds_total_enrol": enrol["seconds_total"],
            "seconds_total_test": test["seconds_total"],
            "error_enrol": "enrolment: " + enrol["error"],
            "error_test": "test: " + test["error"],
        }
    )
    error = pl.concat_str("error_enrol", "error_test", separator="; ", ignore_nulls=True)
    return table.with_columns(
        pl.when(readable).then(pl.col("score", "llr")),
        windows=pl.lit(embedder.info.windows.name),
        calibration=pl.lit(_known(embedder.info)["calibration"]),
        comparison=pl.lit(embedder.comparator.statement),
        model=pl.lit(embedder.info.reference),
        trained_on=pl.lit(training_statement(embedder.info)),
        **{name: pl.lit(value) for name, value in told.items()},
        error=pl.when(~readable).then(error),
    ).drop("error_enrol", "error_test")


def _stated(sides: pl.DataFrame, variances: Vectors | None, trials: Trials) -> dict[str, pl.Series]:
    """The mean variance of both sides of each trial; no column where the model states none."""
    if variances is None:
        return {}
    means = pl.Series(variances.mean(axis=1, dtype=np.float64))
    told = sides.select(pl.when(pl.col("variance").is_not_null()).then(means)).to_series()
    return {"variance_enrol": told[trials.enrol], "variance_test": told[trials.test]}


def _finished_trials(output: Path, prints: Path, trials: Trials, embedder: Embedder) -> Tally | None:
    """What there was to do, where an earlier run has scored these very trials with this model to the end."""
    if not output.exists() or prints.exists() or part_of(prints).exists():
        return None
    columns = ("enrol", "test", "label", "model", "comparison", "calibration", "error")
    there = read_rows(output, dict.fromkeys(columns, str))
    told = list(zip(there["enrol"], there["test"], strict=True)), list(there["label"])
    how = set(zip(there["model"], there["comparison"], there["calibration"], strict=True))
    if told != (list(trials.names), list(trials.labels)):
        return None
    if how != {(embedder.info.reference, embedder.comparator.statement, _known(embedder.info)["calibration"])}:
        return None
    return Tally(0, there["error"].count(), there.height)
