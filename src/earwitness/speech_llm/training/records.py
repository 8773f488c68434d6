"""Training records: one question about one stretch of a recording, with its answer, as JSONL (sheet, section 4; a
superset of the record of Audio-FLAN)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from earwitness.core.errors import DataError, LeakError
from earwitness.core.hashing import sha256_file
from earwitness.core.writing import write_atomically
from earwitness.speech_llm.items import CONTEXTUAL, QUESTION_TYPES, QuestionType, json_line, json_lines

Kind = Literal["ASR", "PQA-gender", "PQA-emotion", "PQA*", "CPQA"]
Side = Literal["train", "dev", "test"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SIDES: tuple[Side, ...] = get_args(Side)


@dataclass(frozen=True)
class Record:
    """`audio` is a path relative to the data root, `start` and `end` seconds in it (`end` None: to its end).
    `metadata_text` is a recogniser's line, or None; `label` the class of the answer, if any; `source` the corpus."""

    id: str
    audio: str
    instruction: str
    output: str
    task: Kind
    qtype: QuestionType
    split: Side
    start: float = 0.0
    end: float | None = None
    metadata_text: str | None = None
    label: str | None = None
    source: str = ""

    @property
    def contextual(self) -> bool:
        """Whether the question needs words and manner together."""
        return self.qtype in CONTEXTUAL


def read_records(path: str | Path) -> list[Record]:
    """The records of a JSONL file. Raises `DataError` naming the line of what is none, or of an id that repeats."""
    found: dict[str, Record] = {}
    for number, data in json_lines(path):
        record = _record(data, f"{path}, line {number}")
        if record.id in found:
            raise DataError(f"the id '{record.id}' stands there twice", where=f"{path}, line {number}")
        found[record.id] = record
    if not found:
        raise DataError("holds no records", where=path, fix="Give one JSON object a line.")
    return list(found.values())


def write_records(path: str | Path, records: Iterable[Record]) -> None:
    """One object a line, whole or not at all."""
    write_atomically(path, "".join(json_line(asdict(record)) for record in records))


def require_separate(records: Sequence[Record], root: str | Path) -> None:
    """Raises `LeakError` where a recording, or an equal file, stands on two sides; `AudioError` is left to reading."""
    sides: dict[str, Side] = {}
    for audio, split in sorted({(record.audio, record.split) for record in records}):
        path = Path(root) / audio
        content = sha256_file(path) if path.is_file() else str(path)
        if sides.setdefault(content, split) != split:
            what = f"'{audio}' stands on the sides '{sides[content]}' and '{split}'"
            raise LeakError(what, fix="Put each recording, and equal files, on one side.")


def _record(data: dict[str, Any], where: str) -> Record:
    known = [field.name for field in fields(Record)]
    if unknown := sorted(set(data) - set(known)):
        raise DataError(f"'{unknown[0]}' is no field of a record", where=where, fix=f"Fields: {', '.join(known)}.")
    for name in ("id", "audio", "instruction", "output"):
        if not isinstance(data.get(name), str) or not data[name].strip():
            raise DataError(f"'{name}' is missing or no text", where=where, fix="Add it.")
    for name, allowed in (("task", KINDS), ("qtype", QUESTION_TYPES), ("split", SIDES)):
        if data.get(name) not in allowed:
            raise DataError(f"'{name}' is '{data.get(name)}'", where=where, fix=f"Use one of {', '.join(allowed)}.")
    for name in ("metadata_text", "label", "source"):
        if data.get(name) is not None and not isinstance(data[name], str):
            raise DataError(f"'{name}' is no text", where=where, fix="Give a text, or null.")
    start, end = data.get("start") or 0.0, data.get("end")
    if not all(_is_time(value) for value in (start, 0.0 if end is None else end)):
        raise DataError(f"{start} to {end} are no times", where=where, fix="Give seconds.")
    if end is not None and end <= start:
        raise DataError(f"the stretch from {start} to {end} s is empty", where=where, fix="Give start before end.")
    given = {name: data[name] for name in known if name in data}
    return Record(**{**given, "start": float(start), "end": end, "source": data.get("source") or ""})


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")
