"""The run record of a judgement: what was asked, of which files, models and licences, and what each figure means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from earwitness.core.records import RunRecord, command_line
from earwitness.evaluation.judging.labelled import LabelledScores
from earwitness.evaluation.results.requests import AnyRequest


def record_of(
    request: AnyRequest,
    tables: Sequence[LabelledScores],
    inputs: Mapping[str, str],
    definitions: Mapping[str, str],
) -> RunRecord:
    """The record of a request that read these score tables and inputs (name -> sha256)."""
    return RunRecord.make(
        command_line(),
        request.model_dump(mode="json"),
        seed=request.options.seed,
        inputs=dict(inputs),
        weights=_distinct(tables, "model"),
        definitions=dict(definitions),
        licences=_distinct(tables, "licence"),
        seconds_heard=_seconds(tables[0].table),
    )


def with_request(record: RunRecord, request: AnyRequest) -> RunRecord:
    """The record with the request as it stands in the result's file: paths against that file's folder."""
    return replace(record, settings=request.model_dump(mode="json"))


def _distinct(tables: Sequence[LabelledScores], column: str) -> list[str]:
    """The values of a column in all tables that have it."""
    found = {str(v) for t in tables if column in t.table.columns for v in t.table[column].drop_nulls().unique()}
    return sorted(found)


def _seconds(table: pl.DataFrame) -> float | None:
    """How much was heard: of trials, each recording once."""
    if "seconds_used" in table.columns:
        return _sum(table["seconds_used"])
    sides = [("enrol", "seconds_used_enrol"), ("test", "seconds_used_test")]
    if not all({*pair} <= {*table.columns} for pair in sides):
        return None
    both = pl.concat([table.select(name=pl.col(a), seconds=pl.col(b)) for a, b in sides])
    return _sum(both.unique("name")["seconds"])


def _sum(seconds: pl.Series) -> float:
    return round(float(seconds.cast(pl.Float64, strict=False).sum()), 3)
