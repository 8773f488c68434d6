"""Trials of a speaker test that are of children, of adults, of each corpus: an average hides whom a model fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from earwitness.core.writing import write_atomically
from earwitness.corpora.manifest import Manifest

CHILD_YEARS = 13.0
FEWEST = 3  # speakers with trials of their own; with fewer an interval says nothing


def group_tables(side: Manifest, scored: Path) -> Iterator[tuple[str, Path]]:
    """The score table's rows of each group, in words, written beside it as `SIDE.CONDITION.GROUP.scores.csv`.

    A trial is of a group where both of its recordings are. Groups that are all trials, or that have too few speakers or
    no trials of two, are left out.
    """
    table = pl.read_csv(scored, infer_schema_length=None)
    for name, words, members in _groups(side):
        rows = table.filter(pl.col("enrol").is_in(members) & pl.col("test").is_in(members))
        same = rows.filter(pl.col("label") == "target")
        if rows.height == table.height or same.height == rows.height or same["enrol_speaker"].n_unique() < FEWEST:
            continue
        path = scored.with_name(scored.name.replace(".scores.csv", f".{name}.scores.csv"))
        write_atomically(path, rows.write_csv())
        yield words, path


def _groups(side: Manifest) -> Iterator[tuple[str, str, list[str]]]:
    """Name, words and recordings of each group."""
    for name, words, rows in (
        ("children", f"children (under {CHILD_YEARS:g})", pl.col("age") < CHILD_YEARS),
        ("adults", f"of {CHILD_YEARS:g} years and more", pl.col("age") >= CHILD_YEARS),
    ):
        yield name, words, side.filter(rows).table["id"].to_list()
    for corpus in sorted(_corpora(side)):
        members = side.filter(pl.col("corpus") == corpus).table["id"].to_list()
        yield f"corpus-{corpus.replace('/', '-')}", f"of {corpus}", members


def _corpora(side: Manifest) -> list[str]:
    return side.table["corpus"].drop_nulls().unique().to_list() if "corpus" in side.table.columns else []
