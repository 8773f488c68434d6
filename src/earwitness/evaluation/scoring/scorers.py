"""Scoring many inputs: one row each, written as it comes, several recordings at once.

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
    reference_doubts                   what is wrong with them; where one holds no speech, or too little of it, there is
                                       a score and no llr
    variance                           mean variance of the voice print, where the model states one; it falls with
                                       the seconds, so read it beside `seconds_used`
    model                              name, version and hash of the model
    note                               what the file said amiss of itself, e.g. that it is shorter than its header says
    error                              why there is no score
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from earwitness.audio import Samples, stream
from earwitness.audio.facts import file_facts
from earwitness.audio.noting import notes_taken
from earwitness.core.engines import Engine, LocalEngine
from earwitness.core.errors import AudioError, DataError, UsageError
from earwitness.core.hashing import sha256_data, sha256_file
from earwitness.core.writing import ResumableRows
from earwitness.corpora.manifest import Manifest, Place, Row
from earwitness.deepfake.detector import DetectionScore, Detector
from earwitness.evaluation.scoring.inputs import read_input
from earwitness.speaker.diarisation import diarise
from earwitness.speaker.embedder import Embedder, VoicePrint
from earwitness.speaker.references import BETTER, UNFIT, reference_doubts, speech_seconds
from earwitness.training.model_folder import ModelInfo


class HeardSeconds(Protocol):
    """Anything that a model makes of a recording, and how much of it was heard."""

    @property
    def seconds_used(self) -> float:
        """Heard of it."""
        ...

    @property
    def seconds_total(self) -> float:
        """How long it is."""
        ...


R = TypeVar("R", bound=HeardSeconds)
Hear = Callable[[Any, int], R]  # samples and their rate
HearFile = Callable[[Path, int | None, float, float | None], R]  # a file, its channel, start and end

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
    "note": str,
    "error": str,
}
REFERENCE_COLUMNS: dict[str, type] = {**COLUMNS, "references": str, "reference_doubts": str}
HELD_IN_MEMORY_S = 120.0  # longer recordings are streamed
LISTED = 20  # failures that a tally names; the table names all


@dataclass(frozen=True)
class Tally:
    """How a run went; `failures` are the first errors of this run in words."""

    done: int
    failed: int  # of all rows, also those of an earlier, interrupted run
    skipped: int  # rows that such a run had written
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what must be said besides, e.g. which list this is; the first notes on files


def _nothing() -> None:
    """Shows no progress."""


def _unheard(found: Mapping[str, Any]) -> None:
    """Does nothing with a row."""


def known_of(info: ModelInfo) -> dict[str, str]:
    """What every row says of the model that heard it."""
    calibration = "none" if info.calibration is None else info.calibration.fitted_on
    return {"windows": info.windows.name, "calibration": calibration, "model": info.reference}


def score_detection(
    manifest: Manifest,
    detector: Detector,
    output: str | Path,
    *,
    resume: bool = False,
    engine: Engine = LocalEngine(),
    progress: Callable[[], object] = _nothing,
) -> Tally:
    """Score every row of the manifest into a CSV, Parquet or JSONL table.

    Raises `UsageError` where it cannot write, or where rows of an interrupted run or another model lie there.
    """
    known = known_of(detector.info)

    def columns(heard: DetectionScore) -> dict[str, Any]:
        return {"score": heard.score, "llr": heard.llr}

    hearing = Hearing(manifest.place, detector.info.rate, detector.score, detector.score_file, columns, known)
    with ResumableRows(output, "id", COLUMNS, resume=resume, same=known) as table:
        return hearing.fill(table, manifest.rows(), engine, progress)


def score_references(
    manifest: Manifest,
    references: Sequence[str | Path],
    embedder: Embedder,
    output: str | Path,
    *,
    resume: bool = False,
    engine: Engine = LocalEngine(),
    progress: Callable[[], object] = _nothing,
) -> Tally:
    """Compare every row of the manifest with one speaker, known from `references`: files, folders, globs, manifests.

    A row whose file is itself a reference has an error and no score; doubts about the references are notes, and with a
    reference in which no speech is found, or too little, no row has an llr. Raises `AudioError` for a reference that
    cannot be heard, and `UsageError` as `score_detection` does.
    """
    enrolment = _enrol(references, embedder)
    known = known_of(embedder.info) | {"references": enrolment.name}
    known |= {"reference_doubts": "; ".join(enrolment.notes)} if enrolment.notes else {}

    def columns(heard: VoicePrint) -> dict[str, Any]:
        score = embedder.compare(enrolment.prints, heard)
        llr = None if enrolment.unfit else embedder.info.llr(score)
        return {"score": score, "llr": llr, "variance": heard.mean_variance}

    hearing = _ApartFrom(
        manifest.place, embedder.info.rate, embedder.embed, embedder.embed_file, columns, known, enrolment.files
    )
    kept = {**REFERENCE_COLUMNS, "variance": float} if embedder.states_variance else REFERENCE_COLUMNS
    with ResumableRows(output, "id", kept, resume=resume, same=known) as table:
        tally = hearing.fill(table, manifest.rows(), engine, progress)
    return replace(tally, notes=(*enrolment.notes, *tally.notes))


@dataclass(frozen=True)
class Hearing(Generic[R]):
    """A model hears the rows of a manifest: short recordings from memory, long ones streamed; both give the same.
    Without `hear` all are heard from their files. Threads share it: what it is made of must stand that.

    `columns` are what a row says of what was heard, `known` what every row says.
    """

    files: Place
    rate: int
    hear: Hear[R] | None
    hear_file: HearFile[R]
    columns: Callable[[R], dict[str, Any]]
    known: dict[str, str]

    def fill(
        self,
        table: ResumableRows,
        rows: Iterable[Row],
        engine: Engine,
        progress: Callable[[], object] = _nothing,
        each: Callable[[Mapping[str, Any]], object] = _unheard,
    ) -> Tally:
        """Add every row that is not there yet, and show it to `each`; what cannot be heard is a row with an error."""
        before = len(table.done)
        failures, noted = list[str](), list[str]()
        for row, found in engine.results(self, _not_done(table, rows, progress)):
            table.add(found)
            each(found)
            if "error" in found and len(failures) < LISTED:
                failures.append(f"{row.id}: {found['error']}")
            if found.get("note") and len(noted) < LISTED:
                noted.append(f"{row.id}: heard, but {found['note']}")
            progress()
        return Tally(len(table.done) - before, table.failed, before, tuple(failures), tuple(noted))

    def result(self, row: Row) -> dict[str, Any]:
        """The row of the table."""
        try:
            with notes_taken() as notes:
                heard = self._heard(row)
        except (AudioError, DataError) as error:
            return self.lost(row, str(type(error)(error.what, fix=error.fix)))  # the row says where
        except OSError as error:  # a disk or a share that went away in the middle of a file
            return self.lost(row, f"cannot be read ({error.strerror or error})")
        seconds = {"seconds_used": round(heard.seconds_used, 4), "seconds_total": round(heard.seconds_total, 4)}
        return self._told(row) | seconds | {"note": "; ".join(notes) or None} | self.columns(heard)

    def lost(self, row: Row, why: str) -> dict[str, Any]:
        """The row of a recording that cannot be judged."""
        return self._told(row) | {"error": why}

    def _told(self, row: Row) -> dict[str, Any]:
        told = {"id": row.id, "path": row.path, "label": row.label, "start": row.start, "end": row.end}
        return told | self.known

    def _heard(self, row: Row) -> R:
        return self._heard_by(self.hear, self.hear_file, row)

    def _heard_by(self, hear: Hear[R] | None, hear_file: HearFile[R], row: Row) -> R:
        path, start_s = self.files.resolve(row), row.start or 0.0
        if hear is None or (samples := self._short(path, row.channel, start_s, row.end)) is None:
            return hear_file(path, row.channel, start_s, row.end)
        return hear(samples, self.rate)

    def _short(self, path: Path, channel: int | None, start_s: float, end_s: float | None) -> Samples | None:
        """What is heard of a file, [N] at the model's rate, where it is short enough to lie in memory."""
        blocks = stream(path, self.rate, channel, start_s, end_s)
        end_s = blocks.info.duration_s if end_s is None else end_s
        if end_s is None or end_s - start_s > HELD_IN_MEMORY_S:
            blocks.close()
            return None
        return np.concatenate(list(blocks))


@dataclass(frozen=True)
class _ApartFrom(Hearing[VoicePrint]):
    """Hears no file that has one of these sha256: it would be compared with itself."""

    references: frozenset[str]

    def _heard(self, row: Row) -> VoicePrint:
        if sha256_file(self.files.resolve(row)) in self.references:
            fix = "Compare it with other recordings of the speaker."
            raise DataError("is itself one of the references, and such a score says nothing", fix=fix)
        return super()._heard(row)


def _not_done(table: ResumableRows, rows: Iterable[Row], progress: Callable[[], object]) -> Iterator[Row]:
    for row in rows:
        if row.id in table.done:
            progress()
        else:
            yield row


@dataclass(frozen=True)
class _Enrolled:
    """The claimed speaker's prints, a name for their recordings, the sha256 of the files, doubts about them; `unfit`
    where nothing can be settled by them."""

    prints: tuple[VoicePrint, ...]
    name: str
    files: frozenset[str]
    notes: tuple[str, ...]
    unfit: bool


def _enrol(references: Sequence[str | Path], embedder: Embedder) -> _Enrolled:
    prints, heard, notes, unfit = [], [], [], False
    for reference in references:
        manifest = read_input(reference)
        for row in manifest.rows():
            path = manifest.resolve(row)
            stretch = (row.channel, row.start or 0.0, row.end)
            try:
                prints.append(embedder.embed_file(path, *stretch))
                speech_s, facts = speech_seconds(path, *stretch), file_facts(path, *stretch)
            except AudioError as error:
                what = f"cannot serve as a reference: {error.what}"
                raise AudioError(what, where=path, fix=error.fix) from None
            heard.append([sha256_file(path), row.channel, row.start, row.end])
            voices = diarise(path, embedder, *stretch)
            doubts = reference_doubts(prints[-1], speech_s, facts, embedder.info, voices)
            notes += [f"reference {path}: {doubt}. {BETTER}" for doubt in doubts]
            unfit = unfit or any(doubt.startswith(UNFIT) for doubt in doubts)
    if not prints:
        raise UsageError("there are no references", fix="Name at least one recording of the claimed speaker.")
    name = f"{len(heard)} recording(s) (sha256 {sha256_data(heard)[:12]})"
    return _Enrolled(tuple(prints), name, frozenset(str(found[0]) for found in heard), tuple(notes), unfit)
