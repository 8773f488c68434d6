"""Instructions that were written by hand: five a task, from `instructions.yaml`, checked when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from earwitness.core.config import read_yaml
from earwitness.core.errors import DataError
from earwitness.speech_llm.flan.taxonomy import tasks


@cache
def written_instructions() -> Mapping[str, tuple[str, ...]]:
    """Of each task that has some; the first is the template's. Raises `DataError` where the file is damaged."""
    where = Path(__file__).resolve().parent / "instructions.yaml"
    data = read_yaml(where)
    found = {str(task): tuple(map(str, texts)) for task, texts in data.items()} if isinstance(data, dict) else {}
    for task, texts in found.items():
        if task not in tasks() or len(set(texts)) != 5:
            raise DataError(f"'{task}' is no task with five instructions", where=where, fix="Install the package anew.")
    return found


def template(task: str) -> str:
    """The instruction that records of a task are made with."""
    return written_instructions()[task][0]
