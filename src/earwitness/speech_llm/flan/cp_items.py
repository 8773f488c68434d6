"""Questions about recordings (CPQA, CP-Bench) as Audio-FLAN records and back, without loss.

The taxonomy has no task for questions about context or content: such a record is filed under the nearest one, and
`other` has the question's own type, its times, choices and tags (the evidence among them). A record that was no
question before becomes one where its task has a type, and carries its own line in a tag.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from earwitness.core.errors import DataError, EarwitnessError
from earwitness.core.hashing import sha256_text
from earwitness.speech_llm.flan.fields import SPLITS
from earwitness.speech_llm.flan.reading import AudioPlace
from earwitness.speech_llm.flan.records import Record, line_of, made, record_of
from earwitness.speech_llm.flan.spans import core, span
from earwitness.speech_llm.flan.taxonomy import task_named
from earwitness.speech_llm.items import QUESTION_TYPES, Item, QuestionType, Tag, item_id
from earwitness.speech_llm.replies import json_object

MINOR: dict[QuestionType, str] = {
    "C": "Speech Caption",
    "DE": "Emotion Recognition",
    "CE": "Emotion Recognition",
    "DG": "Gender Recognition",
    "CG": "Gender Recognition",
    "DS": "Speaker Diarization",
    "CS": "Speaker Diarization",
}
"""The task that is nearest to each type of question."""
_TYPES: dict[str, QuestionType] = {"Emotion Recognition": "DE", "Gender Recognition": "DG", "Speech Caption": "C"}
_KEY = "question"
TAG = "audio_flan"


def record_of_item(item: Item, split: str = "test", dataset: str = "00_CP") -> Record:
    """An item as a record; its audio id names the clip by its path and stretch. Raises `DataError` for an unknown
    split."""
    if split not in SPLITS:
        raise DataError(f"there is no split '{split}'", fix=f"Use one of {', '.join(SPLITS)}.")
    for tag in item.tags:
        if tag.name == TAG:
            found = record_of(json_object(tag.value) or {}, f"item {item.id}")
            if (found.instruction, found.output) == (item.question, item.answer):  # else it was edited as an item
                return found
    facts: dict[str, Any] = {
        "id": item.id,
        "clip_id": item.clip_id,
        "audio": item.audio,
        "start": item.start,
        "end": item.end,
        "type": item.type,
        "lang": item.lang,
        "label": item.label,
        "choices": list(item.choices),
        "tags": [[tag.name, tag.value] for tag in item.tags],
    }
    input_ = f"audio: {span(audio_id_of(item, dataset))}"
    other = {"choices": list(item.choices), _KEY: facts}
    return made(task_named(MINOR[item.type]), item.question, input_, item.answer, split, ["unknown"], other)


def audio_id_of(item: Item, dataset: str = "00_CP") -> str:
    """The same for all questions about one stretch of a recording."""
    return f"{dataset}_{sha256_text(f'{item.audio} {item.start} {item.end}')[:20]}"


def item_of_record(
    record: Record, places: Sequence[AudioPlace | None] = (), data_root: str | Path | None = None
) -> Item:
    """A record as an item. One that was an item before comes back as it was; of others the task must have a type of
    question and the first of `places` says where its audio lies, told from `data_root` where it lies under it.

    Raises `DataError` for a task without a type of question, for several recordings, and where the audio is not known.
    """
    facts = record.facts().get(_KEY)
    if isinstance(facts, dict):
        return _restored(record, facts)
    kind = _TYPES.get(record.minor)
    if kind is None or len(record.audio_ids()) != 1:
        what = f"'{record.minor}' with {len(record.audio_ids())} recording(s) is no question of CP-Bench"
        fix = f"Convert records of {', '.join(_TYPES)} with one recording."
        raise DataError(what, where=f"record {record.uuid}", fix=fix)
    place = next(iter(places), None)
    if place is None:
        raise DataError("its audio is not here", where=f"record {record.uuid}", fix="Give the layout's scp files.")
    choices = record.facts().get("choices")
    return Item(
        id=item_id(record.audio_ids()[0], record.instruction, record.output),
        clip_id=record.audio_ids()[0],
        audio=_told_from(data_root, place.path),
        question=record.instruction,
        answer=record.output,
        type=kind,
        start=place.start,
        end=place.end,
        label=core(record.output) if choices else None,
        choices=tuple(map(str, choices)) if isinstance(choices, list) else (),
        tags=(Tag(TAG, line_of(record).strip()),),
    )


def _told_from(data_root: str | Path | None, path: Path) -> str:
    """The path from the data root, as the benchmark reads audio; unchanged where it is not under it."""
    if data_root is None or not path.resolve().is_relative_to(Path(data_root).resolve()):
        return path.as_posix()
    return path.resolve().relative_to(Path(data_root).resolve()).as_posix()


def _restored(record: Record, facts: dict[str, Any]) -> Item:
    where = f"record {record.uuid}"
    try:
        if facts["type"] not in QUESTION_TYPES:
            raise DataError(f"'{facts['type']}' is no type of question", where=where)
        return Item(
            id=str(facts["id"]),
            clip_id=str(facts["clip_id"]),
            audio=str(facts["audio"]),
            question=record.instruction,
            answer=record.output,
            type=facts["type"],
            start=float(facts["start"]),
            end=None if facts["end"] is None else float(facts["end"]),
            lang=str(facts["lang"]),
            label=None if facts["label"] is None else str(facts["label"]),
            choices=tuple(map(str, facts["choices"])),
            tags=tuple(Tag(str(name), str(value)) for name, value in facts["tags"]),
        )
    except EarwitnessError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"its question is damaged ({error})", where=where, fix="Convert the items anew.") from None
