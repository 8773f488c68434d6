"""What the readers share: rows of JSON, JSONL or Parquet, the sound of a row, options with letters, types by names."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.core.errors import DataError
from earwitness.core.writing import write_atomically
from earwitness.speech_llm.items import Item, QuestionType, Tag, item_id, json_lines

Row = dict[str, Any]

_TYPES: tuple[tuple[re.Pattern[str], QuestionType], ...] = (
    (re.compile(r"emotion|sentiment", re.IGNORECASE), "DE"),
    (re.compile(r"gender", re.IGNORECASE), "DG"),
    (re.compile(r"speaker[ _-]?(number|count)|number[ _-]of[ _-]speakers", re.IGNORECASE), "DS"),
)


def rows_of(path: Path) -> Iterator[tuple[str, Row]]:
    """(where, row) of a JSON list, JSONL, or Parquet file. Raises `DataError`."""
    if path.suffix == ".parquet":
        yield from _parquet(path)
    elif path.suffix == ".jsonl":
        for number, row in json_lines(path):
            yield f"{path}, line {number}", row
    elif path.suffix == ".json":
        yield from _json_list(path)
    else:
        fix = "Give a JSON list (.json), JSON lines (.jsonl) or Parquet (.parquet)."
        raise DataError(f"'{path.suffix}' is no form of rows", where=path, fix=fix)


def items_of_rows(path: Path, make: Callable[[Row, str], Item]) -> list[Item]:
    """An item a row; rows that are word for word the same get numbers. Raises `DataError` where there are none."""
    items: list[Item] = []
    seen: dict[str, int] = {}
    for where, row in rows_of(path):
        item = make(row, where)
        seen[item.id] = seen.get(item.id, 0) + 1
        items.append(_renamed(item, seen[item.id]) if seen[item.id] > 1 else item)
    if not items:
        raise DataError("holds no rows", where=path, fix="Give at least one question.")
    return items


def made(
    *,
    audio: str,
    question: str,
    answer: str,
    name: str | None = None,
    kind: QuestionType = "C",
    choices: Sequence[str] = (),
    label: str | None = None,
    tags: Iterable[tuple[str, object]] = (),
) -> Item:
    """An item about a whole file; what has no name of its own is named by its content."""
    return Item(
        id=name or item_id(audio, question, answer),
        clip_id=audio,
        audio=audio,
        question=question,
        answer=answer,
        type=kind,
        label=label,
        choices=tuple(choices),
        tags=tuple(Tag(key, str(value)) for key, value in tags if value not in (None, "")),
    )


def text_at(row: Row, names: Sequence[str], where: str, expected: str) -> str:
    """The first of the named fields ("a.b" looks into "a") that holds text. Raises `DataError` with the form."""
    for name in names:
        value: Any = row
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, str) and value.strip():
            return value.strip()
    raise DataError(f"has no text at '{names[0]}'", where=where, fix=f"Expected: {expected}.")


def optional_text(row: Row, *names: str) -> str | None:
    """The first of the named fields that holds text or a number."""
    for name in names:
        value = row.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
            return str(value).strip()
    return None


def sound_at(cell: object, root: Path, stem: str, where: str, expected: str) -> str:
    """The path of a row's sound: as it stands there, or of a file that is written from `bytes` or `array`."""
    if isinstance(cell, str) and cell.strip():
        return cell
    if isinstance(cell, dict):
        if isinstance(cell.get("bytes"), bytes):
            return _kept(cell["bytes"], Path(str(cell.get("path") or "")).suffix, root, stem)
        if cell.get("array") is not None:
            return _kept(_wav(cell, where), ".wav", root, stem)
        if isinstance(cell.get("path"), str) and cell["path"].strip():
            return str(cell["path"])
    raise DataError("holds no sound that can be read", where=where, fix=f"Expected: {expected}.")


def with_letters(question: str, choices: Sequence[str]) -> str:
    """The question and its options, each with a letter."""
    options = [f"({chr(ord('A') + place)}) {choice}" for place, choice in enumerate(choices)]
    return "\n".join([question, *options, "Answer with one of the options."])


def type_by_names(*names: str | None) -> QuestionType:
    """DE, DG or DS where a name says so, else C."""
    for pattern, kind in _TYPES:
        if any(name and pattern.search(name) for name in names):
            return kind
    return "C"


def _parquet(path: Path) -> Iterator[tuple[str, Row]]:
    import polars as pl

    try:
        table = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"cannot be read as Parquet ({first})", where=path) from None
    for number, row in enumerate(table.iter_rows(named=True), 1):
        yield f"{path}, row {number}", row


def _json_list(path: Path) -> Iterator[tuple[str, Row]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise DataError("cannot be read as JSON", where=path, fix="Give a list of objects.") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError("is no list of objects", where=path, fix="Give a list of objects.")
    for number, row in enumerate(rows, 1):
        yield f"{path}, entry {number}", row


def _renamed(item: Item, number: int) -> Item:
    return replace(item, id=f"{item.id}-{number}")


def _wav(cell: dict[str, Any], where: str) -> bytes:
    import soundfile

    try:
        samples, rate = np.asarray(cell["array"], np.float32), int(cell["sampling_rate"])
    except (KeyError, TypeError, ValueError):
        fix = "Expected: {array: numbers, sampling_rate: Hz}."
        raise DataError("holds no array of sound with its rate", where=where, fix=fix) from None
    if samples.ndim != 1 or not len(samples) or not 1_000 <= rate <= 400_000:
        raise DataError(f"holds sound of shape {samples.shape} at {rate} Hz", where=where, fix="Expected: one channel.")
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="FLOAT")
    return _timeless(file.getvalue())


def _timeless(wav: bytes) -> bytes:
    """Without the second of writing, which libsndfile keeps in the chunk `PEAK`: same sound, same bytes."""
    at = wav.find(b"PEAK", 0, 256)
    return wav if at < 0 else wav[: at + 12] + bytes(4) + wav[at + 16 :]


def _kept(data: bytes, suffix: str, root: Path, stem: str) -> str:
    """The file of these bytes under the root, written once; its path relative to the root."""
    suffix = suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,5}", suffix) else ".audio"
    name = f"{stem}-sound/{hashlib.sha256(data).hexdigest()[:24]}{suffix}"
    if not (root / name).exists():
        write_atomically(root / name, data)
    return name
