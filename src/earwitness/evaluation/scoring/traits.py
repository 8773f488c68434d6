"""Trials scored twice: by a verifier's verdict, and by what the sounds of both recordings say (arXiv 2501.05729).

    enrol, test, label          as the trial list has them
    score                       the verdict; higher = same speaker
    evd                         the evidence score: the mean similarity of the sounds that both recordings hold
    evd_full                    its other form: the mean of all similarities between sounds that are not 0
    shared_phones               how many sounds both hold
    similarities                JSON: each shared sound's similarity
    phones                      where the labels of sounds come from
    seconds_used_*, model, error

Beside `OUT.csv` stands `OUT.evd.csv`, the same trials with the evidence score as `score`: `earwitness evaluate speaker`
and `compare` judge the explanation as they judge the verdict.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from earwitness.core.engines import Engine, LocalEngine
from earwitness.core.errors import DataError, MetricError
from earwitness.core.writing import ResumableRows, part_of, read_rows, refuse_unfinished
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.tables import read_table, write_table
from earwitness.evaluation.judging.speaker_statement import training_statement
from earwitness.evaluation.scoring.scorers import Hearing, Tally
from earwitness.evaluation.scoring.trial_leaks import check_trials
from earwitness.evaluation.scoring.trials import Trials, read_trials
from earwitness.evaluation.scoring.voxceleb_lists import recognise
from earwitness.metrics.detection import eer
from earwitness.speaker.phonetic_traits.comparing import (
    Flags,
    Similarities,
    TraitPrint,
    agreement,
    full_evidence,
    similarity_matrix,
)
from earwitness.speaker.phonetic_traits.verifier import FEW_PHONES, TraitVerifier

_PRINT_COLUMNS: dict[str, type] = {
    "id": str,
    "embedding": str,  # base64 of little-endian float32 [D]
    "traits": str,  # base64 of little-endian float16 [present phones, F]
    "present": str,  # JSON: their places in the inventory
    "seconds": str,  # JSON: of each phone [I]
    "seconds_used": float,
    "seconds_total": float,
    "model": str,
    "phones": str,
    "error": str,
}
_FINISHED: dict[str, type] = {
    **dict.fromkeys(("enrol", "test", "label", "model", "phones", "error"), str),
    **{"score": float, "evd": float, "shared_phones": int},
}


def _nothing() -> None:
    """Shows no progress."""


def score_traits(
    manifest: Manifest,
    trials_path: str | Path,
    verifier: TraitVerifier,
    output: str | Path,
    *,
    allow_leak: bool = False,
    resume: bool = False,
    engine: Engine = LocalEngine(),
    progress: Callable[[], object] = _nothing,
) -> Tally:
    """Score a list of trials over the manifest's recordings; each is heard once and kept until all are scored.

    Raises `DataError` for a bad list, `LeakError` where the model knows the speakers, and `UsageError` where it cannot
    write.
    """
    output = Path(output)
    prints = output.with_name(f"{output.name}.traits.jsonl")
    part_of(output)  # refuses an unknown format before the work
    if not resume:
        refuse_unfinished(part_of(prints))
    trials = read_trials(trials_path, manifest)
    recognised = recognise(trials, trials_path)
    leak_check = check_trials(verifier.info, trials, recognised.published, None, allow_leak)
    known = {"model": verifier.info.reference, "phones": verifier.phones.maker.words}
    told = {**known, "trial_list": recognised.statement, "leak_check": leak_check}
    notes = (recognised.statement, f"leak check: {leak_check}", f"labels: {known['phones']}")
    if resume and (finished := _finished(output, prints, trials, known)) is not None:
        return Tally(0, finished["error"].count(), len(trials), (), (*notes, *summary(finished)))
    # from files, since a phone track may lie beside one
    hearing: Hearing[TraitPrint] = Hearing(manifest.place, verifier.info.rate, None, verifier.hear_file, _as_row, known)
    with ResumableRows(prints, "id", _PRINT_COLUMNS, resume=resume, same=known) as table:
        heard = hearing.fill(table, trials.rows, engine, progress)
    scored = _table(trials, read_rows(prints, _PRINT_COLUMNS), verifier, told)
    write_table(scored, output)
    write_table(as_evidence(scored), evidence_path(output))
    prints.unlink()
    return Tally(len(trials), scored["error"].count(), 0, heard.failures, (*notes, *summary(scored)))


def _finished(output: Path, prints: Path, trials: Trials, known: dict[str, str]) -> pl.DataFrame | None:
    """The table of an earlier run that scored these very trials with these very phones to the end."""
    if not output.exists() or prints.exists() or part_of(prints).exists():
        return None
    table = read_rows(output, _FINISHED)
    if list(zip(table["enrol"], table["test"], strict=True)) != list(trials.names):
        return None
    same = all(table[name].unique().to_list() == [value] for name, value in known.items())
    return table if same and table["label"].to_list() == list(trials.labels) else None


def evidence_path(output: Path) -> Path:
    """Where the evidence scores of a table of trials lie."""
    return output.with_name(f"{output.stem}.evd{output.suffix}")


def as_evidence(scored: pl.DataFrame) -> pl.DataFrame:
    """The table with the evidence score in the place of the verdict, which has a likelihood ratio of its own."""
    nothing = pl.lit("the recordings share no sound")
    error = pl.when(pl.col("error").is_null() & pl.col("evd").is_null()).then(nothing).otherwise(pl.col("error"))
    return scored.with_columns(score="evd", llr=pl.lit(None, pl.Float64), error=error).drop("similarities")


def summary(scored: pl.DataFrame) -> list[str]:
    """How verdict and explanation agree, in words: both EERs, and Spearman's correlation over trials."""
    there = scored.filter(pl.col("evd").is_not_null() & pl.col("score").is_not_null())
    scores, evidence = there["score"].to_numpy(), there["evd"].to_numpy()
    target = (there["label"] == "target").to_numpy()
    few = int((there["shared_phones"] < FEW_PHONES).sum())
    try:
        both = [eer(values[target], values[~target]).value for values in (scores, evidence)]
    except MetricError:
        return ["there are no trials of both kinds to compare score and evidence by"]
    told = [
        f"EER (interpolated) of the score {both[0]:.2%}, of the evidence score {both[1]:.2%}; "
        f"Spearman's correlation {agreement(scores, evidence):.3f} over {len(there)} trials"
    ]
    return told + ([f"{few} trial(s) share fewer than {FEW_PHONES} sounds: little to go by"] if few else [])


def read_similarities(path: str | Path, phones: tuple[str, ...]) -> tuple[Similarities, Flags]:
    """What a scored table holds of each trial, and which trials are of one speaker. Raises `DataError`."""
    table = read_table(Path(path))
    if missing := {"similarities", "label"} - set(table.columns):
        fix = "Give a table that `earwitness score` wrote with a model of speaker-traits."
        raise DataError(f"has no column `{min(missing)}`", where=path, fix=fix)
    table = table.filter(pl.col("similarities").is_not_null())
    values, shared = np.zeros((table.height, len(phones))), np.zeros((table.height, len(phones)), np.bool_)
    place = {phone: number for number, phone in enumerate(phones)}
    for row, text in enumerate(table["similarities"]):
        for phone, value in _told(text, path).items():
            if phone not in place:
                raise DataError(f"names the sound '{phone}', which the model does not know", where=path)
            values[row, place[phone]], shared[row, place[phone]] = value, True
    return Similarities(values, shared), (table["label"] == "target").to_numpy()


def _told(text: str, path: str | Path) -> dict[str, float]:
    try:
        return {str(phone): float(value) for phone, value in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):
        raise DataError("has similarities that are not JSON", where=path) from None


def _text(values: np.ndarray[Any, Any], kind: str) -> str:
    return base64.b64encode(values.astype(kind).tobytes()).decode("ascii")


def _as_row(heard: TraitPrint) -> dict[str, Any]:
    places = np.flatnonzero(heard.present)
    return {
        "embedding": _text(heard.embedding, "<f4"),
        "traits": _text(heard.traits[places], "<f2"),
        "present": json.dumps(places.tolist()),
        "seconds": json.dumps(heard.seconds.round(3).tolist()),
    }


def _as_print(row: dict[str, Any]) -> TraitPrint:
    places, seconds = json.loads(row["present"]), np.array(json.loads(row["seconds"]))
    found = np.frombuffer(base64.b64decode(row["traits"]), "<f2").reshape(len(places), -1)
    traits = np.zeros((len(seconds), found.shape[1]), np.float16)
    traits[places] = found
    present = np.zeros(len(seconds), np.bool_)
    present[places] = True
    embedding = np.frombuffer(base64.b64decode(row["embedding"]), "<f4")
    return TraitPrint(embedding, traits, present, seconds, row["seconds_used"], row["seconds_total"])


def _table(trials: Trials, heard: pl.DataFrame, verifier: TraitVerifier, told: dict[str, str]) -> pl.DataFrame:
    ids = pl.DataFrame({"id": [row.id for row in trials.rows], "speaker": [row.speaker for row in trials.rows]})
    sides = ids.cast(pl.String).join(heard, on="id", how="left", maintain_order="left")
    prints = {place: _as_print(row) for place, row in enumerate(sides.iter_rows(named=True)) if row["present"]}
    able = np.array([a in prints and b in prints for a, b in zip(trials.enrol, trials.test, strict=True)])
    enrol, test = sides[trials.enrol], sides[trials.test]
    table = pl.DataFrame(
        {
            "enrol": [pair[0] for pair in trials.names],
            "test": [pair[1] for pair in trials.names],
            **_compared(verifier, prints, trials, able),
            "label": trials.labels,
            "enrol_speaker": enrol["speaker"],
            "test_speaker": test["speaker"],
            "seconds_used_enrol": enrol["seconds_used"],
            "seconds_used_test": test["seconds_used"],
            "error_enrol": "enrolment: " + enrol["error"],
            "error_test": "test: " + test["error"],
        }
    )
    numbers = pl.col("score", "llr", "evd", "evd_full").cast(pl.Float64)
    table = table.with_columns(numbers, pl.col("shared_phones").cast(pl.Int64), pl.col("similarities").cast(pl.String))
    error = pl.concat_str("error_enrol", "error_test", separator="; ", ignore_nulls=True)
    calibration = verifier.info.calibration
    return table.with_columns(
        calibration=pl.lit("none" if calibration is None else calibration.fitted_on),
        windows=pl.lit(verifier.info.windows.name),
        trained_on=pl.lit(training_statement(verifier.info)),
        **{name: pl.lit(value) for name, value in told.items()},
        error=pl.when(~pl.Series(able)).then(error),
    ).drop("error_enrol", "error_test")


def _compared(
    verifier: TraitVerifier, prints: dict[int, TraitPrint], trials: Trials, able: Flags
) -> dict[str, list[Any]]:
    """The columns of what was compared; None where a side could not be heard."""
    columns: dict[str, list[Any]] = {
        name: [None] * len(trials) for name in ("score", "llr", "evd", "evd_full", "shared_phones", "similarities")
    }
    if not able.any():
        return columns
    order = {place: number for number, place in enumerate(prints)}
    kept = list(prints.values())
    enrol = np.array([order[int(place)] for place in trials.enrol[able]])
    test = np.array([order[int(place)] for place in trials.test[able]])
    scores, found = verifier.compare(kept, enrol, test)
    full = [full_evidence(similarity_matrix(kept[a], kept[b])) for a, b in zip(enrol, test, strict=True)]
    names = verifier.known.names
    rows = zip(scores, found.evidence, full, found.count, _similarities(found, names), strict=True)
    for place, (score, evd, whole, count, text) in zip(np.flatnonzero(able), rows, strict=True):
        values = (float(score), verifier.info.llr(float(score)), _number(evd), _number(whole), int(count), text)
        for name, value in zip(columns, values, strict=True):
            columns[name][place] = value
    return columns


def _number(value: float) -> float | None:
    """None for what is no number: two recordings that share no sound."""
    return float(value) if np.isfinite(value) else None


def _similarities(found: Similarities, names: tuple[str, ...]) -> Iterator[str]:
    for values, shared in zip(found.values, found.shared, strict=True):
        told = {names[place]: round(float(values[place]), 5) for place in np.flatnonzero(shared)}
        yield json.dumps(told, ensure_ascii=False)
