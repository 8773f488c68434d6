"""One or several personal VADs on a list of mixtures: all tests, as data."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from earwitness.core.errors import ModelError
from earwitness.core.hashing import sha256_file
from earwitness.core.records import RunRecord
from earwitness.core.writing import write_atomically
from earwitness.corpora.mixtures import read_trials
from earwitness.evaluation.personal_vad.grid import Cell, Gain, Gamma, cells, gains, gamma_figures
from earwitness.evaluation.personal_vad.safety import (
    Injection,
    OthersOnly,
    Swap,
    enrolled_voices,
    injections,
    others_only,
    swapped,
)
from earwitness.evaluation.personal_vad.scoring import score_mixtures
from earwitness.speaker.personal_vad.hearing import PersonalVerifier
from earwitness.training.model_folder import DESCRIPTION

EER_NOTE = "EER interpolated; minDCF at a prior of 0.01; thresholds are those of the EER"


@dataclass(frozen=True)
class Outcome:
    """What one model does on a list."""

    name: str
    model: str
    beta: str
    trials: int
    failed: tuple[str, ...]
    cells: tuple[Cell, ...]
    gains: tuple[Gain, ...]
    gamma: Gamma
    injections: tuple[Injection, ...]
    others: OthersOnly
    swap: Swap


@dataclass(frozen=True)
class PersonalVadResult:
    """One outcome a model, the first model's first; several are ablations beside each other."""

    outcomes: tuple[Outcome, ...]
    record: RunRecord

    def write(self, path: str | Path) -> None:
        """As JSON, whole or not at all."""
        data: dict[str, Any] = {"outcomes": [asdict(one) for one in self.outcomes], "record": self.record.plain()}
        write_atomically(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def models_in(place: Path) -> dict[str, Path]:
    """A model folder by its name; of a folder of runs every run's `model`. Raises `ModelError` where there is none."""
    if (place / DESCRIPTION).is_file():
        return {place.parent.name if place.name == "model" else place.name: place}
    if (place / "model" / DESCRIPTION).is_file():
        return {place.name: place / "model"}
    found = {run.name: run / "model" for run in sorted(place.glob("*")) if (run / "model" / DESCRIPTION).is_file()}
    if not found:
        fix = "Give a model folder, the folder of a run, or a folder of runs."
        raise ModelError("holds no personal VAD", where=place, fix=fix)
    return found


def evaluate_personal_vad(
    place: str | Path,
    key: str | Path,
    *,
    tables: Path | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
    progress: Callable[[], object] = lambda: None,
) -> PersonalVadResult:
    """Every model of `place` on the trials of `key`. With `tables`, a folder, scores are kept there row by row and a
    killed run goes on. Raises `DataError`, `ModelError` and `UsageError`."""
    models, key = models_in(Path(place)), Path(key)
    trials = read_trials(key)
    outcomes = []
    for name, folder in models.items():
        verifier = PersonalVerifier.load(folder)
        table = None if tables is None else tables / f"{name}.csv"
        scores = score_mixtures(verifier, trials, key.parent, table, progress)
        failed = scores.filter(pl.col("error").is_not_null())
        outcomes.append(
            Outcome(
                name=name,
                model=verifier.info.reference,
                beta=verifier.vad.config.beta,
                trials=len(trials),
                failed=tuple(f"trial {row['trial'] + 1}: {row['error']}" for row in failed.iter_rows(named=True)),
                cells=cells(scores),
                gains=tuple(gains(scores, n_resamples, seed)),
                gamma=gamma_figures(scores),
                injections=injections(verifier, enrolled_voices(verifier, trials, key.parent), scores, seed),
                others=others_only(scores),
                swap=swapped(verifier, trials, key.parent),
            )
        )
    record = RunRecord.make(
        "evaluate personal-vad",
        {"models": [str(folder) for folder in models.values()], "key": str(key), "resamples": n_resamples},
        seed=seed,
        inputs={"trials": sha256_file(key)},
        weights=[one.model for one in outcomes],
        definitions={"EER": EER_NOTE},
    )
    return PersonalVadResult(tuple(outcomes), record)
