"""Questions about recordings: the item that generation writes, the benchmark asks, and instruction records carry.

The seven types are those of CP-Bench (arXiv 2509.16589, section 2.1 of the sheet): content; direct emotion, gender and
speaker count; and the same three in context, where words and voice are both needed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from earwitness.core.errors import DataError
from earwitness.core.hashing import sha256_data
from earwitness.core.writing import write_atomically

QuestionType = Literal["C", "DE", "DG", "DS", "CE", "CG", "CS"]
QUESTION_TYPES: tuple[QuestionType, ...] = get_args(QuestionType)
DIRECT: tuple[QuestionType, ...] = ("DE", "DG", "DS")
CONTEXTUAL: tuple[QuestionType, ...] = ("CE", "CG", "CS")


@dataclass(frozen=True)
class Tag:
    """Something else that is known of an item."""

    name: str
    value: str


@dataclass(frozen=True)
class Item:
    """One question about one stretch of a recording.

    `clip_id` groups the questions about one clip, which are not independent. `audio` is a path, relative to the data
    root; `start` and `end` are seconds in it (`end` None: to its end). `answer` is the reference. Where the answer is
    one of a few, `choices` lists them and `label` says which.
    """

    id: str
    clip_id: str
    audio: str
    question: str
    answer: str
    type: QuestionType
    start: float = 0.0
    end: float | None = None
    lang: str = "en"
    label: str | None = None
    choices: tuple[str, ...] = ()
    tags: tuple[Tag, ...] = ()


def item_id(clip_id: str, question: str, answer: str) -> str:
    """The name of an item by its content: a second run gives the same."""
    return sha256_data([clip_id, question, answer])[:16]


def read_items(path: str | Path) -> list[Item]:
    """The items of a JSONL file, in its order.

    Raises `DataError` naming the line for what is not an item, for an unknown type, a time that is not one, and for an
    id that stands there twice.
    """
    items: list[Item] = []
    seen: dict[str, int] = {}
    for number, record in json_lines(path):
        item = _item(record, f"{path}, line {number}")
        if item.id in seen:
            what = f"the id '{item.id}' stands in line {seen[item.id]} already"
            raise DataError(what, where=f"{path}, line {number}", fix="Give each item an id of its own.")
        seen[item.id] = number
        items.append(item)
    if not items:
        raise DataError("holds no items", where=path, fix="Give one JSON object a line.")
    return items


def write_items(path: str | Path, items: Iterable[Item]) -> None:
    """The items as JSONL: one object a line, keys in the order of the fields, whole or not at all."""
    write_atomically(path, "".join(json_line(_record(item)) for item in items))


def json_line(record: object) -> str:
    """Plain data as one line of JSONL; text stays readable in any script."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"


def json_lines(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number from 1, object) of a JSONL file; empty lines are passed over. Raises `DataError`."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, _object(line, f"{path}, line {number}")
    except FileNotFoundError:
        raise DataError("there is no such file", where=path, fix="Check the path.") from None
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=path) from None
    except UnicodeDecodeError:
        raise DataError("is not UTF-8 text", where=path, fix="Give JSONL in UTF-8.") from None


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise DataError("is not JSON", where=where, fix="Give one JSON object a line.") from None
    if not isinstance(value, dict):
        raise DataError("is not a JSON object", where=where, fix="Give one JSON object a line.")
    return value


def _record(item: Item) -> dict[str, Any]:
    record = asdict(item)
    record["tags"] = {tag.name: tag.value for tag in item.tags}
    return record


def _item(record: dict[str, Any], where: str) -> Item:
    known = {field.name for field in fields(Item)}
    unknown = sorted(set(record) - known)
    if unknown:
        raise DataError(
            f"'{unknown[0]}' is no field of an item", where=where, fix=f"Fields: {', '.join(sorted(known))}."
        )
    for name in ("id", "clip_id", "audio", "question", "answer", "type"):
        if not isinstance(record.get(name), str) or not record[name].strip():
            raise DataError(f"'{name}' is missing or no text", where=where, fix="Add it.")
    if record["type"] not in QUESTION_TYPES:
        raise DataError(
            f"'{record['type']}' is no type of question", where=where, fix=f"Use one of {', '.join(QUESTION_TYPES)}."
        )
    start, end = _times(record, where)
    return Item(
        id=record["id"],
        clip_id=record["clip_id"],
        audio=record["audio"],
        question=record["question"],
        answer=record["answer"],
        type=record["type"],
        start=start,
        end=end,
        lang=_text(record, "lang", where) or "en",
        label=_text(record, "label", where),
        choices=tuple(_texts(record.get("choices") or [], "choices", where)),
        tags=_tags(record.get("tags") or {}, where),
    )


def _times(record: dict[str, Any], where: str) -> tuple[float, float | None]:
    start, end = record.get("start") or 0.0, record.get("end")
    for value in (start, end):
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value)
        ):
            raise DataError(f"'{value}' is no time", where=where, fix="Give seconds.")
    if start < 0 or (end is not None and end <= start):
        raise DataError(
            f"the stretch from {start} to {end} s is empty", where=where, fix="Give seconds, start before end."
        )
    return float(start), None if end is None else float(end)


def _text(record: dict[str, Any], name: str, where: str) -> str | None:
    value = record.get(name)
    if value is not None and not isinstance(value, str):
        raise DataError(f"'{name}' is no text", where=where, fix="Give a text.")
    return value


def _texts(values: object, name: str, where: str) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise DataError(f"'{name}' is no list of texts", where=where, fix="Give a list of texts.")
    return values


def _tags(values: object, where: str) -> tuple[Tag, ...]:
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise DataError("'tags' is no object of texts", where=where, fix='Give {"name": "text"}.')
    return tuple(Tag(name, value) for name, value in values.items())
