"""Score tables of ages and emotions, joined with what a manifest says of the same recordings.

Nothing is guessed and nothing dropped in silence: rows with an error, outside of the key or without a truth are left
out, and `notes` count them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl

from earwitness.core.errors import DataError
from earwitness.core.hashing import sha256_file
from earwitness.core.writing import TABLE_FORMATS
from earwitness.corpora.joining import join_advice
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.tables import read_table
from earwitness.evaluation.emotions import COLUMNS as ANSWERS
from earwitness.evaluation.judging.rows import number_column, refuse_first, require_file, text_column
from earwitness.nn.losses.label_distribution.grid import GridConfig
from earwitness.paralinguistic.age_training import OLDEST, check_ages, with_ages
from earwitness.paralinguistic.labels import CATEGORIES, LabelsConfig, read_labels

Manner = Literal["age", "emotion"]
SHARES = tuple(f"p_{name}" for name in CATEGORIES)
NEEDED: dict[Manner, tuple[str, ...]] = {"age": ("mean", "sd", "low", "high"), "emotion": ("called", *SHARES)}
SUM_ERROR = 1e-3  # how far the probabilities of a row may be from 1 together
Rows = pl.DataFrame


@dataclass(frozen=True)
class MannerScores:
    """What was estimated, beside the truth.

    `table` has a row a judged recording, of ages `id`, `speaker`, `sex`, `age`, `mean`, `sd`, `low`, `high`; of
    emotions the columns of `evaluation.emotions`. `notes` count the rows that are not in it; `inputs` names the files
    by their sha256, `model` the one that made the scores.
    """

    task: Manner
    table: Rows
    notes: tuple[str, ...]
    inputs: dict[str, str]
    model: str | None


def manner_of(path: str | Path) -> Manner | None:
    """Which of the two a table is about, by its columns; None for other tables and files."""
    path = Path(path)
    if path.suffix not in TABLE_FORMATS or not path.is_file():
        return None
    columns = set(read_table(path).columns)
    return next((task for task, needed in NEEDED.items() if columns.issuperset(needed)), None)


def read_manner_scores(
    task: Manner, scores: str | Path, key: str | Path, labels: LabelsConfig | None = None
) -> MannerScores:
    """The table that `earwitness score --task age` or `emotion` wrote, joined by `id` with a manifest.

    `labels` is the scheme by which the key's emotions are read. Raises `DataError` for a table of another task, ids
    that stand there twice, rows with neither estimate nor error, scores of several models, a key that shares no
    recording with the scores, ages that nobody has, and labels as `read_labels` does.
    """
    scored = _scored(task, scores)
    failed = scored.filter(pl.col("error").is_not_null())
    heard = scored.filter(pl.col("error").is_null())
    if not heard.height:
        what = f"all {scored.height} rows have an error (the first: {failed['error'][0]})"
        raise DataError(what, where=scores, fix="Score recordings that can be read.")
    require_file(key)
    manifest = Manifest.read(key)
    known = manifest.filter(pl.col("id").is_in(heard["id"].implode()))
    if not len(known):
        _refuse_strangers(heard, scores, manifest, key)
    with _told_of(key):
        truth, left_out = _ages(known) if task == "age" else _emotions(known, labels)
    table = heard.join(truth, on="id", how="inner", maintain_order="left")
    unscored = manifest.filter(~pl.col("id").is_in(scored["id"].implode()))
    counts = {
        "scored row(s) have an error and are not judged": failed,
        "scored row(s) are not in the key": heard.filter(~pl.col("id").is_in(known.table["id"].implode())),
        "row(s) of the key have no score": unscored.table,
    }
    notes = [f"{rows.height} {what} (the first: '{rows['id'][0]}')" for what, rows in counts.items() if rows.height]
    if alone := table["speaker"].null_count():
        notes.append(f"{alone} recording(s) have no speaker and are each resampled as a unit of their own")
    judged = table.select(*ANSWERS) if task == "emotion" else table.select(*truth.columns, *NEEDED["age"])
    inputs = {"scores": sha256_file(scores), "key": sha256_file(key)}
    return MannerScores(task, judged, (*notes, *left_out), inputs, _model(scored, scores))


def _scored(task: Manner, path: str | Path) -> Rows:
    """The score table typed and checked, with `error`; of emotions with the likeliest class in `called`."""
    require_file(path)
    table = read_table(Path(path))
    if missing := [name for name in ("id", *NEEDED[task]) if name not in table.columns]:
        other = next((name for name in get_args(Manner) if set(NEEDED[name]) <= set(table.columns)), None)
        told = f"It is a table of the task {other}: judge it as that." if other else None
        fix = told or f"Give what `earwitness score --task {task}` wrote; it has: {', '.join(table.columns)}."
        raise DataError(f"has no column `{missing[0]}`, so it holds no scores of the task {task}", where=path, fix=fix)
    if table.is_empty():
        raise DataError("holds no scores", where=path, fix="Score something first.")
    table = table.with_columns(id=text_column(table, "id"), error=text_column(table, "error"))
    refuse_first(table, table["id"].is_null(), "has no id", path)
    refuse_first(table, ~table["id"].is_first_distinct(), "stands there twice", path, "Keep one of them.")
    return _age_scores(table, path) if task == "age" else _emotion_scores(table, path)


def _age_scores(table: Rows, path: object) -> Rows:
    numbers = {name: number_column(table, name, path) for name in NEEDED["age"]}
    table = table.select("id", "error", *_if_there(table, "model"), **numbers)
    heard = table["error"].is_null()
    for name, values in numbers.items():
        refuse_first(table, heard & values.is_null(), f"has neither a `{name}` nor an error", path)
    backwards = (numbers["low"] > numbers["high"]).fill_null(False)
    refuse_first(table, heard & backwards, "has an interval whose `low` is above its `high`", path)
    return table


def _emotion_scores(table: Rows, path: object) -> Rows:
    """A class that the model does not know has no probability, which is one of 0."""
    numbers = [number_column(table, name, path) for name in SHARES]
    shares = np.stack([values.fill_null(0.0).to_numpy() for values in numbers], axis=1)
    heard, called = table["error"].is_null(), text_column(table, "called")
    none = pl.Series(np.all([values.is_null().to_numpy() for values in numbers], axis=0))
    refuse_first(table, heard & none, "has neither probabilities nor an error", path)
    unlike = (np.abs(shares.sum(axis=1) - 1) > SUM_ERROR) | (shares < 0).any(axis=1)
    refuse_first(table, heard & pl.Series(unlike), "has probabilities that are none: together they must be 1", path)
    unknown = called.is_not_null() & ~called.is_in(CATEGORIES).fill_null(False)
    if unknown.any():
        word = called.filter(unknown)[0]
        refuse_first(table, unknown, f"is called '{word}'", path, f"Categories: {', '.join(CATEGORIES)}, or empty.")
    likeliest = pl.Series(np.array(CATEGORIES)[shares.argmax(axis=1)], dtype=pl.String)
    own = np.array([-1 if name is None else CATEGORIES.index(name) for name in called])
    less = (own >= 0) & (shares[np.arange(len(own)), own] < shares.max(axis=1))
    refuse_first(table, heard & pl.Series(less), "is called otherwise than its likeliest class", path)
    return table.select(
        "id",
        "error",
        *_if_there(table, "model"),
        called=called.fill_null(likeliest),
        probability=pl.Series(shares.max(axis=1)),
        answered=called.is_not_null(),
        intensity=number_column(table, "intensity", path),
    )


def _ages(known: Manifest) -> tuple[Rows, list[str]]:
    rows, notes = with_ages(known)
    check_ages(rows, GridConfig(low=0, high=OLDEST))
    return rows.table.select("id", "speaker", "sex", "age"), notes


def _emotions(known: Manifest, config: LabelsConfig | None) -> tuple[Rows, list[str]]:
    """Truths by the label scheme; `intensity_lo` and `intensity_hi` are empty where no strength is known."""
    labels = read_labels(known, config)
    if not len(labels.manifest):
        dropped = ", ".join(f"{count} of '{label}'" for (_, label), count in labels.dropped.items())
        raise DataError(f"no scored row has a category ({dropped})", fix="Fill the column `emotion`.")
    if len(there := set(labels.manifest.table["emotion"])) < 2:
        what = f"the scored rows have one category only ({there.pop()}), over which a mean recall says nothing"
        raise DataError(what, fix="Score and judge recordings of two categories or more.")
    rows = labels.manifest.table.select("id", "corpus", "speaker", "sex", "emotion", text="transcript")
    low, high = (pl.Series(labels.intensity[:, end]).fill_nan(None) for end in (0, 1))
    return rows.with_columns(intensity_lo=low, intensity_hi=high), labels.told()


def _refuse_strangers(heard: Rows, scores: object, manifest: Manifest, key: object) -> None:
    """Raise `DataError` for a key that has none of the scored recordings, with what would make ids meet."""
    there = manifest.table["id"]
    advice = join_advice(heard["id"], there, ("the scores", "the key"))
    what = f"none of the {heard.height} ids is in the key {key} (here '{heard['id'][0]}'"
    what += f", there '{there[0]}')" if len(there) else ", which has no rows)"
    fix = f"{advice[0].upper()}{advice[1:]}." if advice else "Give the manifest of these very recordings."
    raise DataError(what, where=scores, fix=fix)


def _model(scored: Rows, path: object) -> str | None:
    """Who made the scores; None where they don't say. Raises `DataError` for several."""
    found = text_column(scored, "model").drop_nulls().unique(maintain_order=True).to_list()
    if len(found) > 1:
        what = f"the scores are of several models ({found[0]}, {found[1]})"
        raise DataError(what, where=path, fix="Take one model at a time.")
    return str(found[0]) if found else None


def _if_there(table: Rows, *names: str) -> list[str]:
    return [name for name in names if name in table.columns]


@contextmanager
def _told_of(path: object) -> Iterator[None]:
    """What is wrong with the key names its file."""
    try:
        yield
    except DataError as error:
        where = path if error.where is None else f"{path}, {error.where}"
        raise DataError(error.what, where=where, fix=error.fix) from None
