"""Genuine speech becomes an index: stage 1 of RAD (arXiv 2404.13892). What is there already is not read again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from earwitness.core.errors import AudioError, DataError
from earwitness.core.hashing import sha256_file
from earwitness.core.writing import write_atomically
from earwitness.corpora.manifest import Manifest, Row
from earwitness.deepfake.retrieval.hearing import Hearing
from earwitness.deepfake.retrieval.store import PROBLEMS, IndexInfo, IndexWriter, Recording


@dataclass(frozen=True)
class Problem:
    """Why a row is not in the index."""

    id: str
    what: str


@dataclass(frozen=True)
class Built:
    """What a build did, in recordings but for `segments`. Spoofs are never added; rows without a label are, on the
    word of whoever gave them."""

    added: int
    segments: int
    already_there: int
    spoofs_left_out: int
    unlabelled: int
    problems: tuple[Problem, ...]
    total_segments: int


def build_index(
    manifest: Manifest,
    folder: str | Path,
    hearing: Hearing,
    *,
    approximate: bool = False,
    step: Callable[[], None] = lambda: None,
) -> Built:
    """Add the genuine rows of a manifest to an index, which is made where there is none; `step` is called after each
    row.

    A row that cannot be heard is a problem, and the others are added. Raises `DataError` for a manifest without genuine
    rows, and what `IndexWriter` raises.
    """
    rows = [row for row in manifest.rows() if row.label != "spoof"]
    if not rows:
        raise DataError("has no genuine row", where=manifest.root, fix="An index holds human speech alone.")
    problems: list[Problem] = []
    added = there = segments = 0
    with IndexWriter(folder, IndexInfo(recipe=hearing.recipe, approximate=approximate)) as writer:
        here = manifest.rebased(folder)
        for row, moved in zip(manifest.rows(), here.rows(), strict=True):
            if row.label != "spoof":
                try:
                    new = _added(writer, hearing, manifest.resolve(row), row, moved.path)
                    segments, added, there = segments + new, added + bool(new), there + (not new)
                except (AudioError, DataError) as error:
                    problems.append(Problem(row.id, error.what))
            step()
        total = writer.count
    lines = "".join(json.dumps(vars(problem), ensure_ascii=False) + "\n" for problem in problems)
    write_atomically(Path(folder) / PROBLEMS, lines.encode("utf-8", "replace"))
    return Built(
        added=added,
        segments=segments,
        already_there=there,
        spoofs_left_out=len(manifest) - len(rows),
        unlabelled=sum(row.label is None for row in rows),
        problems=tuple(problems),
        total_segments=total,
    )


def _added(writer: IndexWriter, hearing: Hearing, path: Path, row: Row, stored_path: str) -> int:
    """Add one recording; gives its segments, 0 where it is there already.

    Raises `AudioError` where it cannot be read or holds no sound, `DataError` where another one has its id.
    """
    if writer.holds(row.id, stored_path, lambda: sha256_file(path)):
        return 0
    parts = hearing.file(path, row.channel, row.start or 0.0, row.end)
    first = next(parts, None)
    if first is None:
        raise AudioError("holds no sound", where=path)
    known = Recording(row.id, stored_path, row.channel, row.speaker, row.source_recording, sha256_file(path))
    return writer.add(known, chain([first], parts))
