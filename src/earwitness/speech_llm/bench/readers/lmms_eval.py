"""lmms-eval: documents of its audio tasks, or its logged samples, as JSONL."""

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
    with_letters,
)
from earwitness.speech_llm.items import Item

EXPECTED = "audio (or audio_path), question and answer, flat or under doc; a logged sample has target for the answer"


def read_lmms_eval(path: Path, root: Path) -> list[Item]:
    """lmms-eval's documents (audio, question, answer), or its logged samples (doc, target), one a line."""

    def make(row: Row, where: str) -> Item:
        inner = row.get("doc")
        doc: Row = inner if isinstance(inner, dict) else row
        cell = next((doc[name] for name in ("audio", "audio_path", "wav", "path") if doc.get(name)), None)
        answer = text_at({**doc, **row}, ("target", "answer", "gt", "answer_gt"), where, EXPECTED)
        question = text_at(doc, ("question", "instruction", "prompt"), where, EXPECTED)
        choices = _choices(doc.get("choices") or doc.get("options"))
        label = answer if answer in choices else None
        task = optional_text(doc, "task", "task_name", "category")
        return made(
            audio=sound_at(cell, root, path.stem, where, EXPECTED),
            question=with_letters(question, choices) if choices else question,
            answer=answer,
            name=optional_text(doc, "id", "question_id") or optional_text(row, "doc_id"),
            kind=type_by_names(task),
            choices=choices if label else (),
            label=label,
            tags=(("task", task),),
        )

    return items_of_rows(path, make)


def _choices(value: Any) -> list[str]:
    return value if isinstance(value, list) and all(isinstance(one, str) for one in value) else []
