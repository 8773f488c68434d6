"""Scoring recordings against a gallery of known voices: a row a recording and candidate, the best first.

id, path                           of the recording
known, rank                        the candidate's name, from 1 on
known_recordings                   of how many recordings its print is
score, llr, llr_low, llr_high      of this candidate alone, under the measured conditions of both sides
llr_best_of_n                      llr less ln N: what is left of it where it is the best of N candidates
llr_one_of                         that it is any of them, against none; the same in all rows of a recording
known_names                        N
note                               the recording is itself in the gallery, or holds several voices
seconds_used, seconds_total, windows, calibration, comparison, model, error
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from earwitness.core.engines import Engine, LocalEngine
from earwitness.core.errors import UsageError
from earwitness.core.hashing import sha256_file
from earwitness.core.writing import part_of, refuse_unfinished
from earwitness.corpora.manifest import Manifest, Row
from earwitness.corpora.tables import write_table
from earwitness.evaluation.scoring.galleries import KnownVoices
from earwitness.evaluation.scoring.print_files import hear_prints, vectors_in
from earwitness.evaluation.scoring.scorers import Tally, known_of
from earwitness.speaker.comparison import Vectors
from earwitness.speaker.gallery import Gallery
from earwitness.training.conditions import conditions_by

_NUMBERS = ("score", "llr", "llr_low", "llr_high", "llr_best_of_n", "llr_one_of")
COLUMNS: dict[str, type[pl.DataType]] = {
    **{"id": pl.String, "path": pl.String, "known": pl.String, "rank": pl.Int64, "known_recordings": pl.Int64},
    **dict.fromkeys(_NUMBERS, pl.Float64),
    **{"known_names": pl.Int64, "note": pl.String, "seconds_used": pl.Float64, "seconds_total": pl.Float64},
    **dict.fromkeys(("windows", "calibration", "comparison", "model", "error"), pl.String),
}


def score_known(
    manifest: Manifest,
    known: KnownVoices,
    output: str | Path,
    *,
    candidates: int = 10,
    resume: bool = False,
    engine: Engine = LocalEngine(),
    progress: Callable[[], object] = lambda: None,
) -> Tally:
    """Rank the names of a gallery for every row of the manifest; the best `candidates` of each become rows.

    A recording that is itself in the gallery is not compared with itself, and `note` says so. Raises `UsageError` where
    it cannot write, where rows of an interrupted run lie there, and for a model without a calibration.
    """
    output = Path(output)
    part_of(output)  # refuses an unknown format before the work
    prints = output.with_name(f"{output.name}.prints.jsonl")
    embedder = known.embedder
    if embedder.info.calibration is None:
        raise UsageError("candidates are ranked by calibrated ratios, and this model has no calibration")
    if not resume:
        refuse_unfinished(prints)
        refuse_unfinished(part_of(prints))
    gallery = known.gallery()
    assert gallery is not None
    heard = hear_prints(manifest, prints, embedder, resume=resume, engine=engine, progress=progress)
    told = known_of(embedder.info) | {"comparison": embedder.comparator.statement}
    rows = heard.of(manifest.table["id"].to_list())
    vectors = vectors_in(rows["print"]) if rows["print"].count() else None
    ranking = _Ranking(known, gallery, candidates)
    table = [
        told | found
        for place, (row, values) in enumerate(zip(manifest.rows(), rows.iter_rows(named=True), strict=True))
        for found in ranking.of(manifest, row, values, None if vectors is None else vectors[place])
    ]
    write_table(pl.DataFrame(table, schema=COLUMNS), output)
    prints.unlink()
    failed = rows["error"].count()
    notes = (f"gallery: {len(known.names)} names, {len(known.recordings)} recordings", *known.warnings(gallery))
    return Tally(len(manifest), failed, 0, heard.failures, notes)


class _Ranking:
    """Rows of one recording after the other; galleries without a file are made where they are needed."""

    def __init__(self, known: KnownVoices, gallery: Gallery, candidates: int) -> None:
        self._known, self._gallery, self._candidates = known, gallery, candidates

    def of(
        self, manifest: Manifest, row: Row, values: dict[str, Any], vector: Vectors | None
    ) -> Iterator[dict[str, Any]]:
        """At least one: with an error where nothing can be compared."""
        told = {"id": row.id, "path": row.path} | {name: values[name] for name in ("seconds_used", "seconds_total")}
        if values["error"] or vector is None:
            yield told | {"error": values["error"]}
            return
        digest = sha256_file(manifest.resolve(row))
        itself = self._known.holding(digest)
        notes = [f"it is itself in the gallery, as {r.name}, and was left out of it" for r in itself]
        notes += ["more than one voice is probably heard in it"] if values["several"] else []
        gallery = self._known.gallery(without=digest) if itself else self._gallery
        if gallery is None:
            yield told | {"error": "is all that the gallery holds"}
            return
        calibration = self._known.embedder.info.calibration
        assert calibration is not None
        conditions = conditions_by(values["speech_s"], values["bandwidth_hz"], values["snr_db"])
        found = gallery.candidates(vector, calibration, conditions)
        told |= {"note": "; ".join(notes) or None, "known_names": len(gallery), "llr_one_of": found.one_of.llr}
        for rank, place in enumerate(found.order[: self._candidates].tolist(), start=1):
            ratio, voice = found.ratios.at(place), gallery.voices[place]
            yield told | {
                "known": voice.name,
                "rank": rank,
                "known_recordings": len(voice.prints),
                "score": float(found.scores[place]),
                "llr": ratio.llr,
                "llr_low": ratio.low,
                "llr_high": ratio.high,
                "llr_best_of_n": ratio.llr - found.correction,
            }
