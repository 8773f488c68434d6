"""MMAU (arXiv 2410.19168): questions with options, as a JSON list."""

from __future__ import annotations

from pathlib import Path

from earwitness.core.errors import DataError
from earwitness.speech_llm.bench.readers.base import (
    Row,
    items_of_rows,
    made,
    optional_text,
    text_at,
    type_by_names,
    with_letters,
)
from earwitness.speech_llm.items import Item

EXPECTED = "id, audio_id, question, choices (a list of texts) and answer (one of them)"


def read_mmau(path: Path, root: Path) -> list[Item]:
    """MMAU's JSON list (id, audio_id, question, choices, answer); MMAR's, with audio_path, too."""

    def make(row: Row, where: str) -> Item:
        choices = row.get("choices")
        if not isinstance(choices, list) or not choices or not all(isinstance(one, str) for one in choices):
            raise DataError("has no list of texts at 'choices'", where=where, fix=f"Expected: {EXPECTED}.")
        answer = text_at(row, ("answer",), where, EXPECTED)
        label = next((one for one in choices if one.strip() == answer), None)
        if label is None:
            raise DataError(f"the answer '{answer}' is none of the choices", where=where, fix=f"Expected: {EXPECTED}.")
        names = [optional_text(row, name) for name in ("category", "sub-category", "task")]
        return made(
            audio=text_at(row, ("audio_id", "audio_path"), where, EXPECTED),
            question=with_letters(text_at(row, ("question",), where, EXPECTED), choices),
            answer=answer,
            name=optional_text(row, "id"),
            kind=type_by_names(*names),
            choices=choices,
            label=label,
            tags=zip(("category", "sub-category", "task"), names, strict=True),
        )

    return items_of_rows(path, make)
