"""A user's calibration in use: ratios of scores, and of a model that goes on to score."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
from pydantic import TypeAdapter

from earwitness.core.errors import DataError, UsageError
from earwitness.core.hashing import sha256_file
from earwitness.evaluation.judging.labelled import NEGATED, LabelledScores
from earwitness.evaluation.results.calibrating import CalibrationResult
from earwitness.evaluation.results.json_form import read_as
from earwitness.training.calibration import Calibration
from earwitness.training.model_folder import ModelInfo

_CALIBRATION = TypeAdapter(CalibrationResult)


def read_calibration(path: str | Path) -> CalibrationResult:
    """What `earwitness calibrate` wrote. Raises `DataError` for anything else."""
    return read_as(path, _CALIBRATION)


def with_calibration(info: ModelInfo, path: str | Path) -> ModelInfo:
    """A model's description with a user's calibration in place of its own.

    Raises `DataError` where it was made for scores of another model.
    """
    found = read_calibration(path)
    if found.model != info.reference:
        what = f"was made for scores of {found.model or 'an unnamed model'}, not of {info.reference}"
        raise DataError(what, where=path, fix="Calibrate this model.")
    if found.negated:
        raise DataError("was made for negated scores", where=path, fix="Calibrate the scores as the model gives them.")
    name = f"{Path(path).name} (sha256 {sha256_file(path)[:12]})"
    return info.model_copy(update={"calibration": Calibration(fitted_on=name, conditions=(found.calibration,))})


def calibrated(scores: LabelledScores, path: str | Path) -> LabelledScores:
    """The scores with ratios by a user's calibration in place of their own.

    Raises `DataError` where it was made for another task or another model.
    """
    found = read_calibration(path)
    if found.task != scores.task:
        raise UsageError(f"was made for the task {found.task}", where=path, fix="Choose another calibration.")
    model = scores.model
    if None not in (model, found.model) and model != found.model:
        raise DataError(
            f"was made for scores of {found.model}, not of {model}", where=path, fix="Calibrate this model."
        )
    if found.negated != (NEGATED in scores.notes):
        what = f"was made for scores {'with' if found.negated else 'without'} --negate"
        raise DataError(what, where=path, fix="Judge with the same polarity.")
    llr = pl.Series("llr", found.llr(scores.table["score"].to_numpy()))
    inputs = {**scores.inputs, "calibration": sha256_file(path)}
    return replace(scores, table=scores.table.with_columns(llr), inputs=inputs)
