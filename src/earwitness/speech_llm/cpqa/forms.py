"""The files of a condensed set, section 4 of the sheet on CPQA: JSONL, one object a line. Times are seconds in the
recording; labels are guesses of models.

    recordings.jsonl   rec_id, audio, seconds, speech_s, error
    windows.jsonl      what was heard window by window, and why it was dropped
    segments.jsonl     the same for segments
    words.jsonl        words of the kept segments with the label of the stretch in which each lies
    qa.jsonl           every pair that was made, those that were rejected too
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from earwitness.core.errors import DataError
from earwitness.core.writing import write_atomically
from earwitness.speech_llm.cpqa.classes import Emotion, Sentiment
from earwitness.speech_llm.cpqa.gender import Gender
from earwitness.speech_llm.items import json_line, json_lines

RECORDINGS, WINDOWS, SEGMENTS, WORDS = "recordings.jsonl", "windows.jsonl", "segments.jsonl", "words.jsonl"
QA, ITEMS, FAILURES = "qa.jsonl", "items.jsonl", "failures.jsonl"


@dataclass(frozen=True)
class RecordingRow:
    """A recording, heard or not: `error` says why not."""

    rec_id: str
    audio: str
    seconds: float | None
    speech_s: float | None
    error: str | None = None


@dataclass(frozen=True)
class WindowRow:
    """`probs`: of each recogniser over the nine classes; `emotion` is the joined guess."""

    rec_id: str
    seg_id: str
    win_id: str
    start: float
    end: float
    label_start: float
    label_end: float
    probs: dict[str, list[float]]
    emotion: Emotion
    valence: float | None
    arousal: float | None
    dominance: float | None
    sentiment: Sentiment | None
    kept: bool
    drop_reason: str | None


@dataclass(frozen=True)
class SegmentRow:
    """A stretch of speech; `emotion` is None where its windows agree on none."""

    rec_id: str
    seg_id: str
    audio: str
    start: float
    end: float
    emotion: Emotion | None
    emotion_conf: float | None
    gender: Gender | None
    gender_conf: float | None
    n_windows: int
    n_kept: int
    kept: bool
    drop_reason: str | None


@dataclass(frozen=True)
class WordRow:
    """A word of a segment; `emotion` is None where no trusted label covers its midpoint."""

    seg_id: str
    word: str
    start: float
    end: float
    emotion: Emotion | None
    gender: Gender | None


@dataclass(frozen=True)
class QaRow:
    """A pair with all that is needed to know where it came from; `reject_rule` says why it was not accepted."""

    qa_id: str
    seg_id: str
    audio: str
    start: float
    end: float
    question: str
    answer: str
    type: str
    evidence: list[float] | None
    generator: str
    prompt_sha256: str
    params: dict[str, Any]
    accepted: bool
    reject_rule: str | None


R = TypeVar("R", RecordingRow, WindowRow, SegmentRow, WordRow, QaRow)


def write_rows(path: Path, rows: Iterable[R]) -> None:
    """One object a line, whole or not at all."""
    write_atomically(path, "".join(json_line(asdict(row)) for row in rows))


def read_rows(path: Path, kind: type[R]) -> list[R]:
    """The rows of a file in one of these forms. Raises `DataError` naming the line."""
    names = [field.name for field in fields(kind)]
    adapter: TypeAdapter[R] = TypeAdapter(kind)
    rows = []
    for number, record in json_lines(path):
        if set(record) != set(names):
            wrong = sorted(set(record) ^ set(names))[0]
            what = f"'{wrong}' is missing or unknown"
            raise DataError(what, where=f"{path}, line {number}", fix=f"Fields: {', '.join(names)}.")
        try:
            rows.append(adapter.validate_python(record))
        except ValidationError as error:
            first = error.errors()[0]
            what = f"'{'.'.join(map(str, first['loc']))}': {first['msg'].lower()}"
            raise DataError(what, where=f"{path}, line {number}", fix="Write the file again.") from None
    return rows
