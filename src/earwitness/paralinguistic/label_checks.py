"""What trainings of age and emotion would refuse in a manifest, found beforehand, all of it and not the first alone."""

from __future__ import annotations

from collections.abc import Iterator

from earwitness.core.errors import DataError
from earwitness.corpora.inspection import Problem
from earwitness.corpora.manifest import Manifest
from earwitness.paralinguistic.age_training import is_possible_age
from earwitness.paralinguistic.labels import (
    CORPORA,
    Cells,
    LabelsConfig,
    label_cells,
    named_corpus,
    read_category,
    read_strength,
)


def manner_problems(manifest: Manifest) -> list[Problem]:
    """Ages that nobody has; labels of emotion that the corpus's map does not name, and strengths outside of 0..1; sides
    of a split with one category.

    Emotions of a corpus that has no map here are passed over: a recipe gives them one.
    """
    return [*_ages(manifest), *_emotions(manifest)]


def _ages(manifest: Manifest) -> Iterator[Problem]:
    for name, age in manifest.table.select("id", "age").drop_nulls().iter_rows():
        if not is_possible_age(age):
            yield Problem(name, f"an age of {age:g} years, which no speaker has")


def _emotions(manifest: Manifest) -> Iterator[Problem]:
    sides = dict[str, set[str]]()
    splits = manifest.table["split"] if "split" in manifest.table.columns else [None] * len(manifest)
    for row, side in zip(label_cells(manifest), splits, strict=True):
        try:
            category = _category(row)
        except DataError as error:
            yield Problem(str(row["id"]), error.what)
            continue
        if side is not None and category is not None:
            sides.setdefault(side, set()).add(category)
    for side, there in sides.items():
        if len(there) < 2:
            yield Problem(f"the side '{side}'", f"has one category only ({there.pop()})")


def _category(row: Cells) -> str | None:
    """Of a row whose corpus has a map. Raises `DataError` for what the map does not name."""
    labels, config = CORPORA.get(named_corpus(str(row.get("corpus")))), LabelsConfig()
    if labels is None:
        return None
    category = read_category(row, labels, config)
    read_strength(row, labels, category, config)
    return category
