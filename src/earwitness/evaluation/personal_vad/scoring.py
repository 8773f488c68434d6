"""Every trial of a list measured once, each row kept as it comes, so that a killed run goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from earwitness.audio.reading import load
from earwitness.core.errors import AudioError
from earwitness.core.hashing import sha256_data
from earwitness.core.writing import ResumableRows, read_rows
from earwitness.corpora.mixtures import MixtureTrial, mixed_trial
from earwitness.evaluation.personal_vad.systems import SYSTEMS, measure
from earwitness.speaker.comparison import Vectors
from earwitness.speaker.personal_vad.hearing import PersonalVerifier

GAMMAS = ("gamma_lead", "gamma_others", "gamma_silence")
_COLUMNS: dict[str, type] = {
    "trial": int, "label": bool, "enrol": str, "mode": str, "rho": float, "snr_db": float,
    **dict.fromkeys(SYSTEMS, float), "auc_other": float, "auc_rest": float, **dict.fromkeys(GAMMAS, float),
    "model": str, "trials": str, "error": str,
}  # fmt: skip
Progress = Callable[[], object]


class Enrolled:
    """The voices of a list's enrolments, each heard once. `of` raises `AudioError`."""

    def __init__(self, verifier: PersonalVerifier, root: Path) -> None:
        self._verifier, self._root = verifier, root
        self._known: dict[str, Vectors] = {}

    def of(self, name: str) -> Vectors:
        """The unit vector [E] of one recording."""
        if name not in self._known:
            rate = self._verifier.info.rate
            self._known[name] = self._verifier.enrol([load(self._root / name, rate).samples], rate)
        return self._known[name]


def score_mixtures(
    verifier: PersonalVerifier,
    trials: Sequence[MixtureTrial],
    root: Path,
    table: Path | None = None,
    progress: Progress = lambda: None,
) -> pl.DataFrame:
    """A row a trial; one that cannot be heard has an `error` and no scores. With a `table` rows are kept there as they
    come, and those that are there already are not made again. Raises `UsageError` where it is another model's."""
    same = {"model": verifier.info.reference, "trials": sha256_data([str(trial) for trial in trials])[:16]}
    rows = _rows(verifier, trials, root)
    if table is None:
        made = []
        for row in rows:
            made.append({name: row.get(name) for name in _COLUMNS} | same)
            progress()
        kinds = {str: pl.String, float: pl.Float64, int: pl.Int64, bool: pl.Boolean}
        return pl.DataFrame(made, schema={name: kinds[kind] for name, kind in _COLUMNS.items()})
    with ResumableRows(table, "trial", _COLUMNS, resume=True, same=same) as kept:
        done = set(kept.done)
        for row in _rows(verifier, trials, root, done):
            kept.add(row | same)
            progress()
    return read_rows(table, _COLUMNS).sort("trial")


def _rows(
    verifier: PersonalVerifier, trials: Sequence[MixtureTrial], root: Path, done: set[Any] | None = None
) -> Iterator[dict[str, Any]]:
    voices = Enrolled(verifier, root)
    for number, trial in enumerate(trials):
        if done is not None and number in done:
            continue
        told: dict[str, Any] = {"trial": number, "label": trial.label, "enrol": trial.enrol}
        told |= {"mode": trial.mode, "rho": trial.rho, "snr_db": trial.snr_db}
        try:
            found = measure(verifier, mixed_trial(trial, root, verifier.info.rate), voices.of(trial.enrol))
        except AudioError as error:
            yield told | {"error": str(error)}
            continue
        yield (
            told
            | found.scores
            | {
                "auc_other": found.auc_other,
                "auc_rest": found.auc_rest,
                **dict(zip(GAMMAS, found.gamma, strict=True)),
            }
        )
