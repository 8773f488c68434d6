"""The tasks of Audio-FLAN (arXiv 2502.16584, tables 1 to 3): 3 domains, 23 major and 80 minor tasks, and other names.

The table is `taxonomy.csv`, names that drift (age prediction, SNR estimation) are in `aliases.csv`; both are checked
when they are read. A task's published flag follows its major task; whether a record is understanding or generation
follows from its output alone, which for a few tasks is not the same (speaker extraction gives audio).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, cast, get_args

from earwitness.core.config import nearest
from earwitness.core.errors import DataError

Domain = Literal["speech", "music", "audio"]
Flag = Literal["understanding", "generation"]
AnswerKind = Literal["class", "text", "number", "spans", "audio"]
DOMAINS: tuple[Domain, ...] = get_args(Domain)
FLAGS: tuple[Flag, ...] = get_args(Flag)
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class MinorTask:
    """One task: its place in the published table (from 1), its domain and major task, the flag that is published for
    it, and what kind of answer it asks for (one of a few classes, free text, a number, times, or audio)."""

    number: int
    domain: Domain
    major: str
    minor: str
    flag: Flag
    answer: AnswerKind


@cache
def tasks() -> Mapping[str, MinorTask]:
    """The 80 tasks by their minor name, in the published order. Raises `DataError` where the table is damaged."""
    where = HERE / "taxonomy.csv"
    found: dict[str, MinorTask] = {}
    for row in _rows(where):
        fits = row["domain"] in DOMAINS and row["flag"] in FLAGS and row["answer"] in get_args(AnswerKind)
        if not fits or row["minor"] in found or int(row["number"]) != len(found) + 1:
            raise DataError(f"row {len(found) + 1} is no task", where=where, fix="Install the package anew.")
        found[row["minor"]] = MinorTask(
            int(row["number"]),
            cast("Domain", row["domain"]),
            row["major"],
            row["minor"],
            cast("Flag", row["flag"]),
            cast("AnswerKind", row["answer"]),
        )
    return found


@cache
def majors() -> Mapping[str, tuple[MinorTask, ...]]:
    """The minor tasks of each of the 23 major tasks."""
    found: dict[str, list[MinorTask]] = {}
    for task in tasks().values():
        found.setdefault(task.major, []).append(task)
    return {major: tuple(minor) for major, minor in found.items()}


def find_minor(name: str) -> MinorTask | None:
    """The task of that name or alias, whatever its case and hyphens; None where there is none."""
    known = tasks().get(name)
    return known if known is not None else _folded().get(fold(name))


def find_major(name: str) -> str | None:
    """The major task of that name, whatever its case and hyphens."""
    return name if name in majors() else _folded_majors().get(fold(name))


def task_named(name: str) -> MinorTask:
    """As `find_minor`. Raises `DataError` with the nearest name."""
    found = find_minor(name)
    if found is None:
        guess = nearest(name, tasks())
        hint = f"Did you mean '{guess}'?" if guess else "The 80 names are in the documentation of Audio-FLAN."
        raise DataError(f"there is no task '{name}'", fix=hint)
    return found


def fold(name: str) -> str:
    """A name without case, hyphens, punctuation and doubled spaces, to compare by."""
    return " ".join(re.sub(r"[^\w]+", " ", name.casefold().replace("_", " ")).split())


@cache
def _folded() -> Mapping[str, MinorTask]:
    found = {fold(name): task for name, task in tasks().items()}
    where = HERE / "aliases.csv"
    for row in _rows(where):
        task = tasks().get(row["minor"])
        if task is None or found.get(fold(row["alias"]), task) is not task:
            raise DataError(f"'{row['alias']}' names no task, or two", where=where, fix="Install the package anew.")
        found[fold(row["alias"])] = task
    return found


@cache
def _folded_majors() -> Mapping[str, str]:
    return {fold(name): name for name in majors()}


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)
