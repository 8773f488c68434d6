"""What a set of records holds: counts by task, side and kind, and how different its instructions are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from earwitness.speech_llm.flan.diversity import Diversity, diversity
from earwitness.speech_llm.flan.records import Record
from earwitness.speech_llm.flan.spans import core
from earwitness.speech_llm.flan.taxonomy import find_minor

_MEASURES = ("distinct-1", "distinct-2", "Jaccard", "same")


@dataclass(frozen=True)
class TaskPart:
    """One task: its records by split, how many are held out as `unseen`, how many different answers it has, the share
    of the most frequent one (None for audio), and the diversity of its instructions."""

    task: str
    major: str
    domain: str
    splits: tuple[tuple[str, int], ...]
    unseen: int
    answers: int | None
    majority: float | None
    diversity: Diversity

    @property
    def count(self) -> int:
        """All its records."""
        return sum(count for _, count in self.splits)


@dataclass(frozen=True)
class Description:
    """All tasks, largest first, and how many records and different clips there are."""

    records: int
    clips: int
    generation: int
    tasks: tuple[TaskPart, ...]

    def plain(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        speech = sum(part.count for part in self.tasks if part.domain == "speech")
        lines = [
            f"{self.records} records of {len(self.tasks)} tasks on {self.clips} clips; "
            f"{100 * speech / self.records:.1f} % speech; {self.generation} generation",
            "",
        ]
        rows: list[tuple[str, ...]] = [
            ("task", "records", "splits", "answers", "majority", "distinct-1", "distinct-2", "Jaccard", "same")
        ]
        rows += [_row(part) for part in self.tasks]
        return "\n".join([*lines, *aligned(rows)])


def describe(records: Iterable[Record]) -> Description:
    """Reads all records once; keeps their instructions."""
    instructions: dict[str, list[str]] = {}
    splits: dict[str, Counter[str]] = {}
    answers: dict[str, Counter[str]] = {}
    unseen: Counter[str] = Counter()
    clips: set[str] = set()
    generation = 0
    for record in records:
        task = record.minor
        instructions.setdefault(task, []).append(record.instruction)
        splits.setdefault(task, Counter()).update(record.split)
        unseen[task] += record.task_type.unseen
        clips.update(record.audio_ids(), record.audio_path or ())
        if "generation" in record.task_type.flag:
            generation += 1
        else:
            answers.setdefault(task, Counter())[core(record.output)] += 1
    parts = [
        TaskPart(
            task,
            known.major if (known := find_minor(task)) else "?",
            known.domain if known else "?",
            tuple(splits[task].items()),
            unseen[task],
            len(answers[task]) if task in answers else None,
            max(answers[task].values()) / len(texts) if task in answers else None,
            diversity(task, texts),
        )
        for task, texts in instructions.items()
    ]
    parts.sort(key=lambda part: (-part.count, part.task))
    return Description(sum(part.count for part in parts), len(clips), generation, tuple(parts))


def _row(part: TaskPart) -> tuple[str, ...]:
    found = part.diversity
    return (
        part.task,
        str(part.count),
        ", ".join(f"{split} {count}" for split, count in part.splits),
        "-" if part.answers is None else str(part.answers),
        "-" if part.majority is None else f"{100 * part.majority:.1f} %",
        f"{found.distinct_1:.3f}",
        f"{found.distinct_2:.3f}",
        "-" if found.jaccard is None else f"{found.jaccard:.3f}",
        f"{100 * found.duplicates:.1f} %",
    )


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of texts as lines with columns under each other."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
