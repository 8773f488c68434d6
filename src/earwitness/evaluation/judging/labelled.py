"""Scores joined with what is known of each trial: the table that judging reads.

Every scored row finds its label or the reading stops; a row that could not be scored is counted, never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import polars as pl

from earwitness.core.errors import DataError, UsageError
from earwitness.core.hashing import sha256_file
from earwitness.core.writing import TABLE_FORMATS
from earwitness.corpora.canonical import list_checksum
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.tables import read_table
from earwitness.evaluation.judging.rows import (
    number_column,
    refuse_first,
    require_file,
    require_partners,
    text_column,
)
from earwitness.evaluation.judging.sasv_keys import read_sasv_key
from earwitness.evaluation.judging.score_files import SYSTEM_SCORES, read_score_file
from earwitness.evaluation.judging.tasks import Task
from earwitness.evaluation.scoring.trials import read_trial_list

# the classes of a task, the positive one first, and the words that name each
_WORDS: dict[Task, dict[str, tuple[str, ...]]] = {
    "deepfake": {"bonafide": ("bonafide", "bona-fide"), "spoof": ("spoof", "deepfake")},
    "speaker": {"target": ("target", "1"), "nontarget": ("nontarget", "non-target", "0")},
    "sasv": {"target": ("target",), "nontarget": ("nontarget", "non-target"), "spoof": ("spoof",)},
}
_NUMBERS = ("score", "llr")
NEGATED = "the scores were multiplied by -1, as their file grows towards the wrong class"
_SCORED = (
    *("id", *_NUMBERS, *SYSTEM_SCORES, "error", "model", "windows", "calibration", "seconds_used", "seconds_total"),
)


@dataclass(frozen=True)
class LabelledScores:
    """Scored and labelled rows.

    `table` has `id`, `score`, `llr` (null where absent; sasv: `cm_score` and `asv_score` too), `label` (the class),
    `positive`, and the columns of the key. `failed` are ids of rows with an error, `unlabelled` of rows whose label is
    empty: neither is in `table`. `inputs` names the files by their sha256; `notes` say what was done to the scores.
    """

    task: Task
    table: pl.DataFrame
    failed: tuple[str, ...]
    unlabelled: tuple[str, ...]
    inputs: dict[str, str]
    notes: tuple[str, ...] = ()

    @property
    def positive(self) -> pl.DataFrame:
        """Bona fide rows, or trials of one speaker (sasv: in a genuine voice)."""
        return self.table.filter(pl.col("positive"))

    @property
    def negative(self) -> pl.DataFrame:
        """Spoofed rows, or trials of two speakers (sasv: both)."""
        return self.table.filter(~pl.col("positive"))

    @property
    def has_llr(self) -> bool:
        """Every row has a log-likelihood ratio."""
        return self.has("llr")

    def has(self, column: str) -> bool:
        """Every row has this number."""
        return column in self.table.columns and self.table[column].null_count() == 0

    @property
    def checksum(self) -> str:
        """Of ids and labels in any order: the same rows, wherever their files lie."""
        return list_checksum(self.table)

    @property
    def model(self) -> str | None:
        """Which model made the scores, by its reference; None where they don't say.

        Raises `DataError` for scores of several models.
        """
        if "model" not in self.table.columns:
            return None
        found = self.table["model"].drop_nulls().unique(maintain_order=True).to_list()
        if len(found) > 1:
            raise DataError(
                f"the scores are of several models ({found[0]}, {found[1]})", fix="Take one model at a time."
            )
        return str(found[0]) if found else None

    def with_ids(self, ids: Sequence[str]) -> LabelledScores:
        """The rows with these ids, in the order of the ids."""
        order = pl.DataFrame({"id": ids}, schema={"id": pl.String})
        table = order.join(self.table, on="id", how="inner", maintain_order="left")
        return replace(self, table=table)

    def negated(self) -> LabelledScores:
        """The same rows with scores and likelihood ratios of the other sign, for files that grow towards the wrong
        class: which way a file grows is for its publisher to say, never for its numbers."""
        table = self.table.with_columns(-pl.col("score"), -pl.col("llr"))
        return replace(self, table=table, notes=(*self.notes, NEGATED))


@dataclass(frozen=True)
class Key:
    """What is known of each trial: `id` (or `path`; trials: `enrol`, `test`), `label` and more columns.

    `where` names it in errors.
    """

    table: pl.DataFrame
    where: str
    sha256: str

    @classmethod
    def read(cls, path: str | Path) -> Key:
        """A manifest or any CSV, Parquet or JSONL table. Raises `DataError`."""
        require_file(path)
        return cls(read_table(Path(path)), str(path), sha256_file(path))

    @classmethod
    def of_trials(cls, path: str | Path) -> Key:
        """Trials of three classes in any form that `sasv_keys` reads. Raises `DataError`."""
        require_file(path)
        return cls(read_sasv_key(path), str(path), sha256_file(path))

    @classmethod
    def of_speakers(cls, path: str | Path) -> Key:
        """Trials of two classes: a table, or a list in VoxCeleb's or Kaldi's form. Raises `DataError`."""
        if Path(path).suffix in TABLE_FORMATS:
            return cls.read(path)
        require_file(path)
        trials = read_trial_list(path)
        sides = {side: [pair[place] for pair in trials.names] for place, side in enumerate(("enrol", "test"))}
        return cls(pl.DataFrame({**sides, "label": trials.labels}), str(path), sha256_file(path))

    @classmethod
    def of_manifest(cls, manifest: Manifest, where: str = "the manifest") -> Key:
        """A manifest's columns as far as they hold anything."""
        table = manifest.table
        known = [name for name in table.columns if name == "id" or table[name].null_count() < table.height]
        return cls(table.select(known), where, manifest.sha256)


def read_labelled(task: Task, scores: str | Path, key: str | Path | Manifest | Key | None = None) -> LabelledScores:
    """A score file of any form that `score_files` knows, with the labels of the key where one is given, else its own.

    The key is a manifest or any CSV, Parquet or JSONL table with `id` (or `path`) and `label`; for speaker trials with
    `enrol`, `test` and `label`, or a trial list; for sasv any list that `sasv_keys` reads.
    Raises `UsageError` for an unknown task, and `DataError` naming the first row for duplicate ids, ids without a
    partner in the other file, unknown labels, and rows with neither score nor error.
    """
    if task not in get_args(Task):
        raise UsageError(f"unknown task '{task}'", fix=f"This version judges: {', '.join(get_args(Task))}.")
    scored = score_table(task, scores)
    inputs = {"scores": sha256_file(scores)}
    if key is None:
        return labelled(task, scored, inputs, scores)
    if isinstance(key, Manifest):
        key = Key.of_manifest(key)
    elif not isinstance(key, Key):
        key = _KEYS[task](key)
    return labelled(task, join_key(task, scored, key, scores), inputs | {"key": key.sha256}, key.where)


_KEYS: dict[Task, Callable[[str | Path], Key]] = {
    "deepfake": Key.read,
    "speaker": Key.of_speakers,
    "sasv": Key.of_trials,
}


def labelled(task: Task, scored: pl.DataFrame, inputs: dict[str, str], where: object) -> LabelledScores:
    """A table with `id`, `score`, `llr`, `error` and `label` as labelled scores. Raises `DataError`."""
    label = _classes(task, scored, where)
    scored = scored.with_columns(label=label, positive=label == next(iter(_WORDS[task])))
    failed, unlabelled = pl.col("error").is_not_null(), pl.col("label").is_null()
    return LabelledScores(
        task,
        scored.filter(~failed & ~unlabelled).drop("error"),
        tuple(scored.filter(failed)["id"]),
        tuple(scored.filter(~failed & unlabelled)["id"]),
        inputs,
    )


def score_table(task: Task, path: str | Path) -> pl.DataFrame:
    """A score file with `id`, its numbers (null where absent) and `error` checked and typed. Raises `DataError`."""
    require_file(path)
    table = _with_ids(task, read_score_file(task, path), path)
    if table.is_empty():
        raise DataError("holds no scores", where=path, fix="Score something first.")
    if "score" not in table.columns:
        raise DataError("has no column `score`", where=path, fix="Give the file that `earwitness score` wrote.")
    names = (*_NUMBERS, *SYSTEM_SCORES) if task == "sasv" else _NUMBERS
    numbers = {name: number_column(table, name, path) for name in names}
    error = text_column(table, "error")
    bare = error.is_null() & numbers["score"].is_null()
    refuse_first(table, bare, "has neither a score nor an error", path)
    return table.with_columns(**numbers, error=error)


def join_key(task: Task, scored: pl.DataFrame, key: Key, where: object) -> pl.DataFrame:
    """Every scored row with its row of the key; what the key says counts.

    Raises `DataError` for rows without a partner on the other side, with advice where the ids nearly agree, and for
    labels that contradict each other.
    """
    table = _with_ids(task, key.table, key.where)
    require_partners((scored, where), (table, key.where))
    known = table.select("id", known=_classes(task, table, key.where))
    if "label" in scored.columns:
        said = scored.select("id", said=_classes(task, scored, where))
        both = said.join(known, on="id", how="left", maintain_order="left")
        differs = (both["said"] != both["known"]).fill_null(False)
        refuse_first(scored, differs, "has another label in the key", where)
    again = [name for name in scored.columns if name in table.columns and name not in _SCORED]
    extra = [name for name in table.columns if name not in _SCORED or name == "id"]
    return scored.drop(again).join(table.select(extra), on="id", how="left", maintain_order="left")


def _with_ids(task: Task, table: pl.DataFrame, where: object) -> pl.DataFrame:
    """The table with unique ids as text: of recordings their `id` or else `path`, of trials both sides."""
    trials = task != "deepfake"
    names = ("enrol", "test") if trials else ("id", "path")
    missing = [name for name in names if name not in table.columns]
    if trials and not missing:
        ids = pl.select(text_column(table, "enrol") + pl.lit(" ") + text_column(table, "test")).to_series()
    elif not trials and len(missing) < 2:
        ids = text_column(table, "id").zip_with(text_column(table, "id").is_not_null(), text_column(table, "path"))
    else:
        needed = "`enrol` and `test`" if trials else "`id`"
        meant = "These are recordings, not trials" if trials else "These are trials, not recordings"
        other = ("id" if trials else "enrol") in table.columns
        fix = f"{meant}: choose another task." if other else f"It has: {', '.join(table.columns)}."
        raise DataError(f"has no column {needed}", where=where, fix=fix)
    table = table.with_columns(ids.alias("id"))
    refuse_first(table, ids.is_null(), "has no id", where)
    refuse_first(table, ~ids.is_first_distinct(), "stands there twice", where, "Keep one of them.")
    return table


def _classes(task: Task, table: pl.DataFrame, where: object) -> pl.Series:
    """The class of each row by its usual name; null where there is no label."""
    if "label" not in table.columns:
        raise DataError("has no column `label`", where=where, fix="Give a --key that says what each row truly is.")
    labels = text_column(table, "label").str.to_lowercase()
    names = {word: name for name, words in _WORDS[task].items() for word in words}
    unknown = labels.is_not_null() & ~labels.is_in(list(names))
    if unknown.any():
        first = int(unknown.arg_max() or 0)
        fix = f"Allowed: {', '.join(names)}."
        raise DataError(f"id '{table['id'][first]}': unknown label '{table['label'][first]}'", where=where, fix=fix)
    return labels.replace(names)
