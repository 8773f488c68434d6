"""How far a model holds: the same recordings made worse in named ways, scored again, judged against the clean scores.

    model = model_of(scores)                                   # the one that made them
    perturbation_report(scores, Manifest.read("test.csv"), model, "perturbed", parse_names("all"))

What is drawn depends on the seed, the perturbation and the id of the recording alone. It is done at the rate at which
the model hears, to the whole recording. Of speaker trials only the test side is perturbed: an enrolment is usually made
in quiet.

    FOLDER/NAME.scores.csv     the scores under a perturbation; an interrupted run goes on where it stopped
    FOLDER/trials.txt          the trials, for speakers
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from earwitness.audio.perturb import Perturbation, item_rng
from earwitness.audio.perturb.suite import PERTURBATIONS, NamedPerturbation
from earwitness.audio.reading import stream
from earwitness.audio.recording import Samples
from earwitness.core.engines.local import each_at_once
from earwitness.core.errors import AudioError, DataError, MetricError, MissingPartError, UsageError
from earwitness.core.hashing import sha256_file
from earwitness.core.writing import ResumableRows, read_rows, write_atomically
from earwitness.corpora.manifest import Manifest, Row
from earwitness.deepfake.detector import Detector
from earwitness.evaluation.judging.judge import JudgeOptions, PairedMeasure, compare
from earwitness.evaluation.judging.labelled import LabelledScores
from earwitness.evaluation.judging.tasks import Task
from earwitness.evaluation.loading import load as load_model
from earwitness.evaluation.perturbation_suite import parse_names
from earwitness.evaluation.scoring.trials import read_trials
from earwitness.metrics.bootstrap import Interval
from earwitness.speaker.embedder import Embedder, VoicePrint
from earwitness.training.model_folder import ModelInfo, read_model_info
from earwitness.training.shipped import shipped_models

__all__ = [
    "PERTURBATIONS",
    "NamedPerturbation",
    "PerturbedResult",
    "model_of",
    "parse_names",
    "perturbation_report",
    "recordings_of",
]

LONGEST_S = 600.0  # a perturbation hears a recording whole: a longer one is a row with an error
SAME_SCORE = 1e-4  # how far a score that is made again may lie from that of the table
CHECKED = 3  # recordings that are scored again before the work

_LABELS: dict[Task, tuple[str, str]] = {"deepfake": ("spoof", "bonafide"), "speaker": ("nontarget", "target")}
_COLUMNS: dict[str, type] = {
    "id": str,
    "enrol": str,
    "test": str,
    "score": float,
    "llr": float,
    "label": str,
    "perturbation": str,
    "windows": str,
    "model": str,
    "error": str,
}


@dataclass(frozen=True)
class PerturbedResult:
    """The EER under one perturbation, that of the clean scores of the same rows, and the first minus the second.

    All three are over the same resamples; above 0 means worse than clean. They are None where `note` says why.
    `failed` counts rows that could be scored clean and not perturbed. `others` are the further figures (minDCF, Cllr,
    ...), perturbed first, clean second.
    """

    name: str
    words: str
    eer: Interval | None = None
    clean: Interval | None = None
    difference: Interval | None = None
    rows: int = 0
    failed: int = 0
    note: str = ""
    others: tuple[PairedMeasure, ...] = ()


def model_of(scores: LabelledScores, given: str | Path | None = None) -> Detector | Embedder:
    """The model that made the scores: `given` by name or path, else the shipped one that their column `model` names.

    Raises `UsageError` where it has to be given, or is another one, `DataError` for scores of several models, and
    `ModelError` where it cannot be loaded.
    """
    reference = scores.model
    if given is None:
        shipped = {read_model_info(folder).reference: folder for folder in shipped_models().values()}
        if reference not in shipped:
            made_by = "do not say which model made them" if reference is None else f"are of {reference}, not shipped"
            raise UsageError(f"the scores {made_by}", where="--model", fix="Give the model's folder.")
        given = shipped[reference]
    model = load_model(given)
    if reference not in (None, model.info.reference):
        what = f"is {model.info.reference}, and the scores are of {reference}"
        raise UsageError(what, where=given, fix="Give the model that made the scores, or score again.")
    if not isinstance(model, Detector | Embedder) or model.info.task != scores.task:
        raise UsageError(f"answers '{model.info.task}', and the scores are of '{scores.task}'", where=given)
    return model


def recordings_of(scores: LabelledScores) -> int:
    """How many recordings each perturbation changes: the steps of `perturbation_report`'s progress for each."""
    return scores.table.height if scores.task == "deepfake" else scores.table["test"].n_unique()


def _nothing() -> None:
    """Shows no progress."""


def perturbation_report(
    scores: LabelledScores,
    manifest: Manifest,
    model: Detector | Embedder,
    folder: str | Path,
    perturbations: Sequence[NamedPerturbation] = PERTURBATIONS,
    options: JudgeOptions | None = None,
    *,
    workers: int = 1,
    progress: Callable[[], object] = _nothing,
) -> tuple[PerturbedResult, ...]:
    """Score the recordings of `scores` under each perturbation and compare with the clean scores, row by row.

    `manifest` says where the recordings lie: its ids are those of the scores, for trials also its paths. `model` made
    the scores, which is checked on some recordings before the work. `progress` is called once a recording and
    perturbation. A perturbation that this machine lacks (a codec) is a result that says so.

    Raises `DataError` where the manifest lacks a recording, or the scores are not this model's, and `UsageError` where
    the folder cannot be written or holds rows of another model or seed.
    """
    options = options or JudgeOptions()
    bench = _Bench(scores, manifest, _scorer(scores, manifest, model, Path(folder)), Path(folder), options, workers)
    bench.check_model()
    return tuple(bench.result(perturbation, progress) for perturbation in perturbations)


class _Scorer(Protocol):
    """Scores again what hangs on one recording, from its samples."""

    @property
    def info(self) -> ModelInfo:
        """The model's."""
        ...

    @property
    def recordings(self) -> Sequence[Row]:
        """Those that are perturbed."""
        ...

    def told(self, row: Row) -> Sequence[dict[str, Any]]:
        """What is known of each scored row that hangs on a recording: its `id`, and what else stands in the table."""
        ...

    def scores(self, row: Row, samples: Samples) -> Sequence[float]:
        """Their scores, in the order of `told`. Raises `AudioError` for what cannot be judged."""
        ...


@dataclass(frozen=True)
class _Detection:
    """Each recording has one score."""

    detector: Detector
    recordings: Sequence[Row]

    @property
    def info(self) -> ModelInfo:
        return self.detector.info

    def told(self, row: Row) -> Sequence[dict[str, Any]]:
        return ({"id": row.id, "label": row.label},)

    def scores(self, row: Row, samples: Samples) -> Sequence[float]:
        return (self.detector.score(samples, self.info.rate).score,)


class _Speakers:
    """A test recording has a score against each enrolment that it is compared with; these are heard clean, once."""

    def __init__(self, embedder: Embedder, manifest: Manifest, trials: Path) -> None:
        self.embedder = embedder
        self.manifest = manifest
        self.prints: dict[str, VoicePrint] = {}
        self.tests: dict[str, Row] = {}
        self.enrolments: dict[str, list[Row]] = {}  # of each test recording
        self._told: dict[str, list[dict[str, Any]]] = {}
        listed = read_trials(trials, manifest)
        for names, label, enrol, test in zip(listed.names, listed.labels, listed.enrol, listed.test, strict=True):
            row = listed.rows[test]
            told = {"id": " ".join(names), "enrol": names[0], "test": names[1], "label": label}
            self.tests[row.id] = row
            self.enrolments.setdefault(row.id, []).append(listed.rows[enrol])
            self._told.setdefault(row.id, []).append(told)

    @property
    def info(self) -> ModelInfo:
        return self.embedder.info

    @property
    def recordings(self) -> Sequence[Row]:
        return tuple(self.tests.values())

    def told(self, row: Row) -> Sequence[dict[str, Any]]:
        return self._told[row.id]

    def scores(self, row: Row, samples: Samples) -> Sequence[float]:
        test = self.embedder.embed(samples, self.info.rate)
        return [self.embedder.compare([self._enrolled(enrol)], test) for enrol in self.enrolments[row.id]]

    def _enrolled(self, row: Row) -> VoicePrint:
        """The clean print of an enrolment. Raises `DataError`: it was heard when the scores were made."""
        if row.id not in self.prints:
            path = self.manifest.resolve(row)
            try:
                self.prints[row.id] = self.embedder.embed_file(path, row.channel, row.start or 0.0, row.end)
            except AudioError as error:
                raise DataError(f"the enrolment cannot be heard again: {error.what}", where=path) from None
        return self.prints[row.id]


def _scorer(scores: LabelledScores, manifest: Manifest, model: Detector | Embedder, folder: Path) -> _Scorer:
    if isinstance(model, Embedder):
        trials = folder / "trials.txt"
        labels = _LABELS[scores.task]
        sides = scores.table.select("enrol", "test", "positive").iter_rows()
        write_atomically(trials, "".join(f"{enrol}\t{test}\t{labels[positive]}\n" for enrol, test, positive in sides))
        return _Speakers(model, manifest, trials)
    missing = ~scores.table["id"].is_in(manifest.table["id"].implode())
    if missing.any():
        name = scores.table["id"][int(missing.arg_max() or 0)]
        fix = "Give the manifest of the scored recordings as --key."
        raise DataError(f"the manifest has no recording '{name}'", where=manifest.root, fix=fix)
    return _Detection(model, tuple(manifest.filter(pl.col("id").is_in(scores.table["id"].implode())).rows()))


@dataclass(frozen=True)
class _Bench:
    """Clean scores, their recordings, and what scores them again."""

    clean: LabelledScores
    manifest: Manifest
    scorer: _Scorer
    folder: Path
    options: JudgeOptions
    workers: int

    def check_model(self) -> None:
        """Raises `DataError` where the first recordings that can be heard do not get the scores of the table."""
        before = dict(self.clean.table.select("id", "score").iter_rows())
        heard = 0
        for row in self.scorer.recordings:
            try:
                scores = self.scorer.scores(row, self._load(row))
            except (AudioError, OSError):
                continue
            for told, score in zip(self.scorer.told(row), scores, strict=True):
                name = told["id"]
                if abs(score - before[name]) > SAME_SCORE:
                    what = f"'{name}' has the score {before[name]:.5g} there and {score:.5g} now"
                    fix = "Give the model and the recordings of which they are, or score again."
                    raise DataError(f"the scores are not of this model: {what}", fix=fix)
            heard += 1
            if heard == CHECKED:
                return
        if not heard:
            fix = "Check the paths of the manifest."
            raise DataError("none of the scored recordings can be heard again", where=self.manifest.root, fix=fix)

    def result(self, perturbation: NamedPerturbation, progress: Callable[[], object]) -> PerturbedResult:
        """Score under a perturbation, and judge."""
        name, words = perturbation.name, perturbation.words
        try:
            perturb = perturbation.config.build()
        except MissingPartError as error:
            return PerturbedResult(name, words, note=f"not run: {error.what}")
        path = self.folder / f"{name}.scores.csv"
        self._score(name, perturb, path, progress)
        perturbed = self._labelled(path)
        failed = len(perturbed.failed)
        try:
            found = compare(perturbed, self.clean, (name, "clean"), self.options)
        except MetricError as error:
            return PerturbedResult(name, words, failed=failed, note=f"no EER: {error.what}")
        eer = (found.eer.first, found.eer.second, found.eer.difference)
        return PerturbedResult(name, words, *eer, found.rows, failed, others=found.measures[1:])

    def _score(self, name: str, perturb: Perturbation, path: Path, progress: Callable[[], object]) -> None:
        info = self.scorer.info
        said = f"{name}, seed {self.options.seed}"
        known = {"perturbation": said, "windows": info.windows.name, "model": info.reference}

        def heard(row: Row) -> list[dict[str, Any]]:
            rng = item_rng(self.options.seed, 0, f"{name}/{row.id}")
            return list(self._rows(row, lambda samples: perturb(samples, info.rate, rng)))

        with ResumableRows(path, "id", _COLUMNS, resume=True, same=known) as table:
            for _, rows in each_at_once(self._not_done(table, progress), heard, self.workers):
                for found in rows:
                    table.add(found | known)
                progress()

    def _not_done(self, table: ResumableRows, progress: Callable[[], object]) -> Iterator[Row]:
        for row in self.scorer.recordings:
            if table.done.issuperset(told["id"] for told in self.scorer.told(row)):
                progress()
            else:
                yield row

    def _load(self, row: Row) -> Samples:
        """All samples of a recording. Raises `AudioError` as `load` does, and for one that is too long."""
        rate = self.scorer.info.rate
        blocks = stream(self.manifest.resolve(row), rate, row.channel, row.start or 0.0, row.end)
        heard: list[Samples] = []
        for block in blocks:  # not every file says how long it is
            heard.append(block)
            if sum(map(len, heard)) > LONGEST_S * rate:
                blocks.close()
                raise AudioError(f"is longer than the {LONGEST_S:g} s that a perturbation hears")
        return np.concatenate(heard)

    def _rows(self, row: Row, perturbed: Callable[[Samples], Samples]) -> Iterator[dict[str, Any]]:
        """What is scored of a recording, one row each."""
        told = self.scorer.told(row)
        try:
            scores = self.scorer.scores(row, perturbed(self._load(row)))
        except (AudioError, OSError) as error:
            what = error.what if isinstance(error, AudioError) else f"cannot be read ({error.strerror or error})"
            yield from (one | {"error": what} for one in told)
            return
        for one, score in zip(told, scores, strict=True):
            yield one | {"score": score, "llr": self.scorer.info.llr(score)}

    def _labelled(self, path: Path) -> LabelledScores:
        """The perturbed scores of the clean rows, with all that is known of these."""
        found = read_rows(path, {"id": str, "score": float, "llr": float, "error": str})
        table = self.clean.table.drop("score", "llr").join(found, on="id", how="inner", maintain_order="left")
        failed = pl.col("error").is_not_null()
        return LabelledScores(
            self.clean.task,
            table.filter(~failed).drop("error"),
            tuple(table.filter(failed)["id"]),
            (),
            self.clean.inputs | {"perturbed": sha256_file(path)},
        )
