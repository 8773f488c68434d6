"""What is kept of a run: one line an answer, one line a judgement. Both are read back with every field checked."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from earwitness.core.errors import DataError, UsageError
from earwitness.core.writing import write_atomically
from earwitness.speech_llm.bench.settings import CONDITIONS, Condition
from earwitness.speech_llm.clients.interface import STATUSES, Status
from earwitness.speech_llm.items import json_line

ANSWERS = "answers.jsonl"
JUDGEMENTS = "judgements.jsonl"
FAILURES: tuple[Status, ...] = ("empty", "error", "timeout", "too_long")  # no answer: never judged, never scored
BEST = 5  # the ratings are 0 to 5
R = TypeVar("R", "AnswerRecord", "Judgement")
JudgementStatus = Literal["ok", "unparsed", "error"]
JUDGEMENT_STATUSES: tuple[JudgementStatus, ...] = get_args(JudgementStatus)


@dataclass(frozen=True)
class AnswerRecord:
    """One question put under one condition, and what came back; `text` is None where `status` is a failure."""

    key: str
    item_id: str
    condition: Condition
    sample: int
    text: str | None
    status: Status
    error: str | None
    finish_reason: str | None
    seconds_heard: float
    seconds_total: float
    latency_s: float
    prompt_tokens: int | None
    completion_tokens: int | None
    model: str | None
    raw: str | None


@dataclass(frozen=True)
class Judgement:
    """One rating 0..5 of one answer in one run of a judge; None where its reply held none, or none came.

    `answer_sha256` is that of the text that was rated, `attempts` how often the judge was asked.
    """

    key: str
    answer_key: str
    answer_sha256: str
    judge: str
    template_sha256: str
    temperature: float
    run: int
    rating: int | None
    rationale: str | None
    status: JudgementStatus
    error: str | None
    attempts: int
    model: str | None
    raw: str | None


def plain(record: AnswerRecord | Judgement) -> dict[str, Any]:
    """As a line of the file."""
    return asdict(record)


def read_answers(folder: str | Path) -> list[AnswerRecord]:
    """Ordered by key, whatever the order of the lines. Raises `DataError`."""
    path = Path(folder) / ANSWERS
    return _sorted([_answer(record, where) for where, record in _lines(path)], path)


def read_judgements(folder: str | Path) -> list[Judgement]:
    """Ordered by key; none where there is no file yet. Raises `DataError`."""
    path = Path(folder) / JUDGEMENTS
    if not path.exists():
        return []
    return _sorted([_judgement(record, where) for where, record in _lines(path)], path)


def set_aside(path: Path, unwanted: Callable[[dict[str, Any]], bool]) -> int:
    """Move records out of a file into `replaced-NAME` beside it, so that they are made anew; how many."""
    if not path.exists():
        return 0
    lines = [(json_line(record), unwanted(record)) for _, record in _lines(path)]
    gone = [line for line, out in lines if out]
    if gone:
        aside = path.with_name(f"replaced-{path.name}")
        try:
            with aside.open("a", encoding="utf-8", errors="replace") as file:
                file.writelines(gone)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UsageError(f"cannot be written ({error.strerror})", where=aside, fix="Free space.") from None
        rest = "".join(line for line, out in lines if not out)
        write_atomically(path, rest.encode("utf-8", "replace"))
    return len(gone)


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The whole lines of a file, which is not changed; one torn by a kill is passed over."""
    name = str(path)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.endswith(b"\n"):
                    where = f"{name}, line {number}"
                    yield where, _object(line, where)
    except FileNotFoundError:
        raise DataError("there is no such file", where=path, fix="Ask first: `earwitness bench run`.") from None
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=path) from None


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise DataError("is not JSON", where=where, fix="Remove the line, and run again.") from None
    if not isinstance(value, dict):
        raise DataError("is no record", where=where, fix="Remove the line, and run again.")
    return value


def _answer(record: dict[str, Any], where: str) -> AnswerRecord:
    found: AnswerRecord = _fields(AnswerRecord, record, where)
    if found.condition not in CONDITIONS or found.status not in STATUSES:
        raise DataError(f"knows no condition '{found.condition}' or status '{found.status}'", where=where)
    return found


def _judgement(record: dict[str, Any], where: str) -> Judgement:
    found: Judgement = _fields(Judgement, record, where)
    if found.status not in JUDGEMENT_STATUSES or (found.status == "ok") != (found.rating is not None):
        raise DataError(f"has status '{found.status}' and rating {found.rating}", where=where)
    if found.rating is not None and not 0 <= found.rating <= BEST:
        raise DataError(f"has the rating {found.rating}", where=where, fix=f"Ratings are 0 to {BEST}.")
    return found


_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "Condition": (str,),
    "Status": (str,),
    "JudgementStatus": (str,),
    "str | None": (str, type(None)),
    "int | None": (int, type(None)),
}


_SEEN: dict[type, set[tuple[type, ...]]] = {AnswerRecord: set(), Judgement: set()}  # types of fields that were right


def _fields(kind: type[R], record: dict[str, Any], where: str) -> R:
    """The record's fields, each of its type. Raises `DataError`. Most records have the types of one before."""
    values: list[Any] = [record.get(name) for name in kind.__annotations__]
    types = tuple(map(type, values))
    if types not in _SEEN[kind]:
        for (name, annotation), value in zip(kind.__annotations__.items(), values, strict=True):
            if not isinstance(value, _KINDS[annotation]) or isinstance(value, bool):
                fix = "Remove the line, run again."
                raise DataError(f"'{name}' is missing or of another type", where=where, fix=fix)
        _SEEN[kind].add(types)
    return kind(*values)


def _sorted(records: list[R], path: Path) -> list[R]:
    records.sort(key=lambda record: record.key)
    for first, second in pairwise(records):
        if first.key == second.key:
            raise DataError(f"the key {first.key} stands there twice", where=path, fix="Remove one of the lines.")
    return records
