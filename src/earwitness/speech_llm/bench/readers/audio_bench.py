"""AudioBench (arXiv 2406.16020): rows with `context`, `instruction` and `answer`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from earwitness.speech_llm.bench.readers.base import (
    Row,
    items_of_rows,
    made,
    optional_text,
    sound_at,
    text_at,
    type_by_names,
)
from earwitness.speech_llm.items import QUESTION_TYPES, Item, QuestionType

EXPECTED = "context.audio {array, sampling_rate}, instruction.text and answer.text; or flat audio, question and answer"


def read_audio_bench(path: Path, root: Path) -> list[Item]:
    """AudioBench's rows (context.audio, instruction.text, answer.text), exported as JSONL or Parquet."""

    def make(row: Row, where: str) -> Item:
        context: Any = row.get("context")
        cell = context.get("audio") if isinstance(context, dict) else row.get("audio")
        attributes = row.get("other_attributes")
        other: Row = {**attributes, **row} if isinstance(attributes, dict) else row
        return made(
            audio=sound_at(cell, root, path.stem, where, EXPECTED),
            question=text_at(row, ("instruction.text", "question"), where, EXPECTED),
            answer=text_at(row, ("answer.text", "answer"), where, EXPECTED),
            name=optional_text(other, "id", "index"),
            kind=_kind(other, path.stem),
        )

    return items_of_rows(path, make)


def _kind(row: Row, stem: str) -> QuestionType:
    given = optional_text(row, "type", "question_type")
    for kind in QUESTION_TYPES:
        if kind == given:
            return kind
    return type_by_names(given, optional_text(row, "task", "task_name", "dataset"), stem)
