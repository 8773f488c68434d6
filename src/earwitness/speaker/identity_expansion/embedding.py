"""The embeddings of the real speakers' utterances: made once, kept row by row, averaged (2.1, 2.2)."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from earwitness.audio.reading import probe
from earwitness.core.errors import AudioError, UsageError
from earwitness.core.writing import ResumableRows, read_rows
from earwitness.corpora.inspection import Problem
from earwitness.corpora.making import FAILURES, Original, in_words, worked
from earwitness.corpora.manifest import Manifest, Row
from earwitness.speaker.comparison import Vectors
from earwitness.speaker.identity_expansion.synthesisers import Synthesiser, SynthesiserConfig
from earwitness.speaker.identity_expansion.vectors import AveragingConfig

TABLE = "embeddings.csv"
_COLUMNS = {"id": str, "speaker": str, "vector": str, "drawn": str, "error": str}
Progress = Callable[[int], Callable[[], None]]


@dataclass(frozen=True)
class Heard:
    """The vectors [n, D] of each speaker's utterances, and the utterances that have none."""

    vectors: dict[str, Vectors]
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Task:
    """One utterance to be embedded."""

    id: str
    speaker: str
    original: Original


def embed_sources(
    rows: Manifest,
    folder: Path,
    synthesiser: SynthesiserConfig,
    averaging: AveragingConfig,
    *,
    resume: bool,
    workers: int,
    progress: Progress,
) -> Heard:
    """Embed the utterances that count, as rows of `folder/embeddings.csv`.

    Raises `UsageError` as `ResumableRows` does.
    """
    tasks = [Task(row.id, str(row.speaker), Original.of(rows, row)) for row in chosen_rows(rows, averaging)]
    step = progress(len(tasks))
    drawn = f"{synthesiser!r} {averaging.seconds} {averaging.most}"
    with ResumableRows(folder / TABLE, "id", _COLUMNS, resume=resume, same={"drawn": drawn}) as table:
        todo = [task for task in tasks if task.id not in table.done]
        for _ in range(len(tasks) - len(todo)):
            step()
        for row in worked(todo, partial(embed_one, synthesiser=synthesiser.model_dump_json()), workers, folder):
            table.add({**row, "drawn": drawn})
            step()
    wanted = {task.id for task in tasks}
    found: dict[str, list[Vectors]] = {}
    problems = []
    for row in read_rows(folder / TABLE, _COLUMNS).iter_rows(named=True):
        if row["id"] not in wanted:
            continue
        if row["error"]:
            problems.append(Problem(row["id"], row["error"]))
        else:
            found.setdefault(row["speaker"], []).append(unpacked(row["vector"]))
    return Heard({speaker: np.stack(vectors) for speaker, vectors in sorted(found.items())}, tuple(problems))


def embed_one(task: Task, synthesiser: str) -> dict[str, Any]:
    """The row of one utterance; what cannot be embedded is a row with an error."""
    told: dict[str, Any] = {"id": task.id, "speaker": task.speaker}
    try:
        samples, rate = task.original.load()
        return told | {"vector": packed(built(synthesiser).embed(samples, rate))}
    except UsageError:
        raise
    except FAILURES as error:
        return told | {"error": in_words(error, "cannot be embedded")}


@lru_cache(maxsize=2)
def built(config: str) -> Synthesiser:
    """The synthesiser of a configuration in JSON, once in each process."""
    parsed: SynthesiserConfig = TypeAdapter(SynthesiserConfig).validate_json(config)
    return parsed.build()


def chosen_rows(rows: Manifest, averaging: AveragingConfig) -> list[Row]:
    """Rows of the right length, of each speaker the loudest `most`, in the manifest's order."""
    by_speaker: dict[str, list[Row]] = {}
    for row in rows.rows():
        length = length_of(rows, row)
        # what cannot be read has no length; it is kept, so that its error is told
        if length is None or averaging.seconds[0] <= length <= averaging.seconds[1]:
            by_speaker.setdefault(str(row.speaker), []).append(row)
    kept = {
        row.id
        for found in by_speaker.values()
        for row in (found if len(found) <= averaging.most else _loudest(rows, found, averaging.most))
    }
    return [row for row in rows.rows() if row.id in kept]


def length_of(rows: Manifest, row: Row) -> float | None:
    """Seconds by the manifest, or by the file where that says nothing; None where it cannot be read."""
    end = row.end if row.end is not None else row.duration_s
    if end is None:
        try:
            end = probe(rows.resolve(row)).duration_s
        except FAILURES:
            return None
    return None if end is None else end - (row.start or 0.0)


def _loudest(rows: Manifest, found: list[Row], most: int) -> list[Row]:
    def level(row: Row) -> float:
        try:
            samples, _ = Original.of(rows, row).load()
        except AudioError:
            return -1.0
        return float(np.mean(np.square(samples, dtype=np.float64)))

    return sorted(found, key=lambda row: (-level(row), row.id))[:most]


def packed(vector: Vectors) -> str:
    """float32 [D] as text, exactly."""
    return base64.b85encode(np.ascontiguousarray(vector, "<f4").tobytes()).decode("ascii")


def unpacked(text: str) -> Vectors:
    """What `packed` wrote."""
    return np.frombuffer(base64.b85decode(text), "<f4").astype(np.float32)
