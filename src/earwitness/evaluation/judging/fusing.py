"""Score files of several systems as one score file, on which every other command works unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl

from earwitness.core.errors import DataError, UsageError
from earwitness.evaluation.judging.labelled import read_labelled, score_table
from earwitness.evaluation.judging.rows import text_column
from earwitness.evaluation.judging.tasks import Task
from earwitness.metrics.fusion import ScoreFusion, fit_logistic_fusion, mean_of, z_normalised
from earwitness.metrics.scores import Floats

Rule = Literal["mean", "z-mean", "logistic"]
_KEPT = ("label", "speaker", "system", "family", "licence", "seconds_used", "seconds_total")


@dataclass(frozen=True)
class HeldOut:
    """Score files of other trials, one a system in the same order, and the key of their labels where they need one."""

    files: tuple[Path, ...] = ()
    key: Path | None = None


@dataclass(frozen=True)
class Fused:
    """The fused `table` (`id`, or `enrol` and `test`; `score`, `error`, `model`, and what is known of each row), and
    the `fusion` that made it.
    """

    table: pl.DataFrame
    fusion: ScoreFusion

    @property
    def failed(self) -> int:
        """Rows that one of the systems at least could not score."""
        return int(self.table["error"].is_not_null().sum())


def fuse_files(task: Task, files: Sequence[Path], rule: Rule, held_out: HeldOut = HeldOut()) -> Fused:
    """One table of several score files of the same rows.

    `mean`: of the scores as they are; of cosines, what concatenating unit embeddings gives. `z-mean`: each system is
    first normalised by mean and deviation of its held-out scores, or of these very ones where there are none. A row
    that one system could not score has an error. Raises `UsageError`, and `DataError` for rows that are not in every
    file and held-out scores of another model.
    """
    _check(task, files, rule, held_out)
    tables = _aligned([(score_table(task, path), path) for path in files])
    first = tables[0][0].with_columns(_errors(tables))
    scored = first["error"].is_null()
    if not scored.any():
        raise DataError("no row was scored by every system", where=files[0])
    values = np.stack([table["score"].filter(scored).to_numpy() for table, _ in tables])
    fusion = _fitted(task, tables, rule, held_out, values)
    fused = np.full(first.height, np.nan)
    fused[scored.to_numpy()] = fusion.fused(values)
    return Fused(_written(task, first, fused, f"fusion ({rule}) of {' + '.join(map(_model, tables))}"), fusion)


_Table = tuple[pl.DataFrame, Path]


def _check(task: Task, files: Sequence[Path], rule: Rule, held_out: HeldOut) -> None:
    if task not in ("deepfake", "speaker"):
        raise UsageError(f"'{task}' scores cannot be fused", fix="Fuse deepfake or speaker scores.")
    if rule not in get_args(Rule):
        raise UsageError(f"unknown rule '{rule}'", where="--by", fix=f"One of {', '.join(get_args(Rule))}.")
    if len(files) < 2:
        raise UsageError("one system alone is no fusion", fix="Give two score files or more.")
    if held_out.files and len(held_out.files) != len(files):
        what = f"{len(held_out.files)} held-out files for {len(files)} systems"
        raise UsageError(what, where="--held-out", fix="Give one a system, in the same order.")
    if rule == "logistic" and not held_out.files:
        fix = "Give --held-out score files of other trials, and their --key."
        raise UsageError("weights are learnt on trials held out for it", where="--by logistic", fix=fix)
    if rule == "mean" and held_out.files:
        raise UsageError(
            "the plain mean learns nothing", where="--held-out", fix="Leave it out, or choose another --by."
        )
    if held_out.key is not None and rule != "logistic":
        raise UsageError("labels are used by the logistic rule alone", where="--key", fix="Add --by logistic.")


def _aligned(tables: Sequence[_Table]) -> list[_Table]:
    """All in the order of the first. Raises `DataError` for a row that is not in every file."""
    first, where = tables[0]
    for table, path in tables[1:]:
        for rows, other, here, there in ((table, first, path, where), (first, table, where, path)):
            lacking = rows.filter(~pl.col("id").is_in(other["id"].implode()))
            if lacking.height:
                what = f"'{lacking['id'][0]}' is not in {there} ({lacking.height} row(s) of {rows.height} are not)"
                raise DataError(what, where=here, fix="Score the same rows with every system.")
    order = first.select("id")
    return [(order.join(table, on="id", how="left", maintain_order="left"), path) for table, path in tables]


def _fitted(task: Task, tables: Sequence[_Table], rule: Rule, held_out: HeldOut, values: Floats) -> ScoreFusion:
    if rule == "mean":
        return mean_of(len(tables))
    if not held_out.files:
        return z_normalised(values)
    given = [(_learnt_from(task, path, rule, held_out.key), path) for path in held_out.files]
    for system, other in zip(tables, given, strict=True):
        _refuse_another_model(system, other)
    learnt = [table for table, _ in _aligned(given)]
    scores = np.stack([table["score"].to_numpy() for table in learnt])
    if rule == "z-mean":
        return z_normalised(scores)
    positive = learnt[0]["positive"].to_numpy()
    return fit_logistic_fusion(scores[:, positive], scores[:, ~positive])


def _learnt_from(task: Task, path: Path, rule: Rule, key: Path | None) -> pl.DataFrame:
    """The scored rows of a held-out file, labelled where the rule needs it."""
    if rule == "logistic":
        return read_labelled(task, path, key).table
    return score_table(task, path).filter(pl.col("error").is_null())


def _refuse_another_model(system: _Table, held_out: _Table) -> None:
    names = [set(text_column(table, "model").drop_nulls()) for table, _ in (system, held_out)]
    if all(names) and names[0] != names[1]:
        what = f"is of {', '.join(sorted(names[1]))}, but {system[1]} of {', '.join(sorted(names[0]))}"
        raise DataError(what, where=held_out[1], fix="Give the held-out files in the order of the score files.")


def _model(table: _Table) -> str:
    names = text_column(table[0], "model").drop_nulls().unique(maintain_order=True)
    return " and ".join(names) or table[1].name


def _errors(tables: Sequence[_Table]) -> pl.Series:
    """What each system says of the rows that it could not score; null where all could."""
    columns = zip(*(table["error"].to_list() for table, _ in tables), strict=True)
    names = [path.name for _, path in tables]
    said = ["; ".join(f"{name}: {error}" for name, error in zip(names, row, strict=True) if error) for row in columns]
    return pl.Series("error", [text or None for text in said], dtype=pl.String)


def _written(task: Task, first: pl.DataFrame, fused: Floats, model: str) -> pl.DataFrame:
    names = ["id"] if task == "deepfake" else ["enrol", "test"]
    kept = [name for name in _KEPT if name in first.columns]
    score = pl.Series("score", fused).fill_nan(None)
    return first.select(*names, score, "error", pl.lit(model).alias("model"), *kept)
