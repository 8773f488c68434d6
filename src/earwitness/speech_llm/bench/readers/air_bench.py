"""AIR-Bench (arXiv 2402.07729): its foundation part has options, its chat part free answers."""

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

EXPECTED = "path, question, answer_gt, task_name, dataset_name, and in the foundation part choice_a to choice_d"


def read_air_bench(path: Path, root: Path) -> list[Item]:
    """AIR-Bench's Foundation_meta.json or Chat_meta.json; the audio lies in TASK_DATASET/ under the data root."""

    def make(row: Row, where: str) -> Item:
        task = text_at(row, ("task_name",), where, EXPECTED)
        dataset = text_at(row, ("dataset_name",), where, EXPECTED)
        question = text_at(row, ("question",), where, EXPECTED)
        answer = text_at(row, ("answer_gt",), where, EXPECTED)
        choices = [one for one in (optional_text(row, f"choice_{letter}") for letter in "abcd") if one]
        if choices and answer not in choices:
            raise DataError(f"the answer '{answer}' is none of the choices", where=where, fix=f"Expected: {EXPECTED}.")
        number = optional_text(row, "uniq_id")
        return made(
            audio=f"{task}_{dataset}/{text_at(row, ('path',), where, EXPECTED)}",
            question=with_letters(question, choices) if choices else question,
            answer=answer,
            name=f"{task}-{number}" if number is not None else None,
            kind=type_by_names(task),
            choices=choices,
            label=answer if choices else None,
            tags=(("task", task), ("dataset", dataset), ("description", optional_text(row, "meta_info"))),
        )

    return items_of_rows(path, make)
