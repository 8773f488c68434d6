"""Corpora whose file names say what each recording is: described once, read alike.

Each gives the columns `corpus` (the name of its reader), `emotion` in the words below, `sentence` (which of the texts
is spoken, so that equal texts can be found), and `fold` where the published folds are sound. A speaker is
`corpus:name`, so that corpora can be joined. Words that a corpus's own table lacks are refused, never passed on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers.base import Imported
from earwitness.corpora.readers.lists import unknown_word
from earwitness.corpora.suffixes import AUDIO_SUFFIXES

Emotion = Literal[
    "neutral",
    "anger",
    "happiness",
    "sadness",
    "fear",
    "disgust",
    "surprised",
    "boredom",
    "calm",
    "excited",
    "frustrated",
    "other",
]
FOLD, SENTENCE = "fold", "sentence"  # extra columns
LOW, HIGH, LEVEL = "intensity_lo", "intensity_hi", "intensity_level"  # an interval of 0..1, and the corpus's own word
NON_COMMERCIAL = "research only, non-commercial"
Values = Mapping[str, str | float | None]


@dataclass(frozen=True)
class NamedFiles:
    """Where a corpus keeps its audio, and what a name says.

    `places` are globs below the corpus folder, the usual one first; those of the first that finds anything are read.
    `name` matches the end of a file's path below the folder, without its suffix, from the start of a part of it;
    `form` is how an error writes it. `values` makes a row of the match: columns of the manifest and further ones.
    """

    corpus: str
    places: tuple[str, ...]
    name: re.Pattern[str]
    form: str
    values: Callable[[re.Match[str], Path], Values]
    language: str | None = None
    licence: str | None = None


def read_named_files(corpus: NamedFiles, path: Path) -> Imported:
    """All recordings of a corpus. Raises `DataError` where there are none, or naming the file that is named otherwise
    or by an unknown word."""
    return imported([row_of(corpus, path, file) for file in audio_below(path, corpus.places)], path)


def audio_below(path: Path, places: Sequence[str]) -> list[Path]:
    """The recordings of the first glob that finds any, sorted. Raises `DataError` where none does."""
    if not path.is_dir():
        raise DataError("is not a folder", where=path, fix="Name the folder of the corpus.")
    for place in places:
        found = [file for file in path.glob(place) if file.suffix.lower() in AUDIO_SUFFIXES]
        if found := sorted(file for file in found if not file.name.startswith(".")):
            return found
    raise DataError(f"holds no recordings at {' or '.join(places)}", where=path, fix="Name the folder of the corpus.")


def row_of(corpus: NamedFiles, root: Path, file: Path) -> dict[str, str | float | None]:
    """What the name of a file says, and what all of the corpus's files share. Raises `DataError`."""
    place = file.relative_to(root)
    found = re.search(rf"(?:^|/){corpus.name.pattern}$", place.with_suffix("").as_posix())
    if found is None:
        raise DataError(f"is not named {corpus.form}", where=file, fix="Correct the name, or move the file away.")
    shared: Values = {
        "id": file.stem,
        "path": place.as_posix(),
        "corpus": corpus.corpus,
        "label": "bonafide",
        "language": corpus.language,
        "licence": corpus.licence,
    }
    return {**shared, **corpus.values(found, file)}


def imported(rows: Sequence[Values], root: Path, notes: Sequence[str] = ()) -> Imported:
    """The rows as a manifest, with their counts as the first note. Raises `DataError`."""
    names = {name: None for row in rows for name in row}
    columns = {name: [None if row.get(name) is None else str(row[name]) for row in rows] for name in names}
    table = pl.DataFrame(columns, schema=dict.fromkeys(names, pl.String))
    counts = [f"{len(rows)} recordings", f"{table['speaker'].n_unique()} speakers"]
    if "emotion" in table.columns:
        counts.append(f"{table['emotion'].drop_nulls().n_unique()} emotions")
    return Imported(Manifest.from_table(table, root, root), (", ".join(counts), *notes))


def meant(kind: str, word: str, table: Mapping[str, str], where: object) -> str:
    """The table's value for a word of the corpus. Raises `DataError` naming a word that it lacks."""
    if word not in table:
        what, fix = unknown_word(kind, word, table)
        raise DataError(what, where=where, fix=fix)
    return table[word]


def strength(level: str, intervals: Mapping[str, tuple[float, float]]) -> dict[str, str | float | None]:
    """The columns of a level of intensity; all empty for one that says nothing."""
    if level not in intervals:
        return {LEVEL: None, LOW: None, HIGH: None}
    low, high = intervals[level]
    return {LEVEL: level, LOW: f"{low:.6g}", HIGH: f"{high:.6g}"}
