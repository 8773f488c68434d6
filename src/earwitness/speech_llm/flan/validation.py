"""What is wrong with a record, each fault by a kind of its own, and the same for whole files.

Nothing is repaired and nothing dropped: a file's report counts what was read and lists what is at fault, by line.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earwitness.core.errors import DataError
from earwitness.speech_llm.flan.fields import FIELDS, SISTER_FIELDS, SPLITS
from earwitness.speech_llm.flan.spans import OPEN, PLACEHOLDER, audio_ids, delimiter_fault
from earwitness.speech_llm.flan.taxonomy import DOMAINS, FLAGS, MinorTask, find_major, find_minor

_KNOWN = frozenset((*FIELDS, *SISTER_FIELDS))
_TEXTS = ("instruction", "input", "output", "uuid", "domain")
_TASK_FIELDS = ("major", "minor", "U/G", "unseen")
_LISTED = 200  # faults that a report keeps in words; all are counted


@dataclass(frozen=True)
class Fault:
    """One thing wrong: its kind (for counting) and what it is in words."""

    kind: str
    what: str


@dataclass(frozen=True)
class PlacedFault:
    """A fault with the file and line (from 1) where it stands."""

    place: str
    fault: Fault

    def __str__(self) -> str:
        return f"{self.place}: {self.fault.kind}: {self.fault.what}"


@dataclass
class Report:
    """Of all that was read: records, those at fault, faults by kind, and the first of them in words."""

    records: int = 0
    faulty: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    listed: list[PlacedFault] = field(default_factory=list)

    def add(self, place: str, faults: Iterable[Fault]) -> None:
        """Count one record with its faults, if any."""
        self.records += 1
        before = sum(self.kinds.values())
        for fault in faults:
            self.kinds[fault.kind] = self.kinds.get(fault.kind, 0) + 1
            if len(self.listed) < _LISTED:
                self.listed.append(PlacedFault(place, fault))
        self.faulty += sum(self.kinds.values()) > before


def validate_files(paths: Iterable[str | Path]) -> Report:
    """Every line of these JSONL files; a uuid must stand once in all of them. Raises `DataError` for a file that
    cannot be read as text."""
    report, seen = Report(), dict[str, str]()
    for path in paths:
        for number, line in _lines(path):
            place = f"{path}, line {number}"
            report.add(place, _line_faults(line, place, seen))
    return report


def _lines(path: str | Path) -> Iterator[tuple[int, str]]:
    try:
        with Path(path).open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise DataError(f"cannot be read ({reason})", where=path, fix="Give JSONL in UTF-8.") from None


def _line_faults(line: str, place: str, seen: dict[str, str]) -> Iterator[Fault]:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        yield Fault("broken JSON", "the line is not JSON")
        return
    if not isinstance(data, dict):
        yield Fault("broken JSON", "the line is not a JSON object")
        return
    yield from faults_of(data)
    name = data.get("uuid")
    if isinstance(name, str):
        first = seen.setdefault(name, place)
        if first is not place:
            yield Fault("duplicate uuid", f"'{name}' stands at {first} already")


def first_fault(data: Mapping[str, Any]) -> Fault | None:
    """The first fault of one record; None where it is well."""
    return next(faults_of(data), None)


def faults_of(data: Mapping[str, Any]) -> Iterator[Fault]:
    """All faults of one record, but for those that need others (duplicates)."""
    missing = [name for name in FIELDS if name not in data]
    for name in missing:
        yield Fault("missing field", f"'{name}' is missing")
    for name in sorted(data.keys() - _KNOWN):
        yield Fault("unknown field", f"'{name}' is no field of a record; put it into 'other'")
    wrong = [name for name in _TEXTS if name in data and not _is_text(data[name])]
    for name in wrong:
        yield Fault("wrong type", f"'{name}' must be text, and not empty")
    if "split" in data:
        yield from _split_faults(data["split"])
    if "source" in data and not (_is_text(data["source"]) or _is_texts(data["source"])):
        yield Fault("wrong type", "'source' must be a text or a list of texts")
    if "domain" in data and data["domain"] not in DOMAINS:
        yield Fault("bad domain", f"'{data['domain']}' is none of {', '.join(DOMAINS)}")
    for name in ("instruction", "input", "output"):
        if name in data and isinstance(data[name], str) and (found := delimiter_fault(data[name])):
            yield Fault(found[0], f"in '{name}': {found[1]}")
    yield from _audio_faults(data)
    if "task_type" in data:
        yield from _task_faults(data["task_type"], data)


def _split_faults(split: object) -> Iterator[Fault]:
    if not _is_texts(split) or len(split) != 1 or split[0] not in SPLITS:  # type: ignore[arg-type, index]
        yield Fault("bad split", f'{json.dumps(split)[:60]} is none of ["train"], ["dev"], ["test"]')


def _task_faults(kind: object, data: Mapping[str, Any]) -> Iterator[Fault]:
    if not isinstance(kind, dict):
        yield Fault("wrong type", "'task_type' must be an object")
        return
    absent = [name for name in _TASK_FIELDS if name not in kind]
    for name in absent:
        yield Fault("missing field", f"'task_type.{name}' is missing")
    if absent:
        return
    lists = [name for name in ("major", "minor", "U/G") if not _is_texts(kind[name])]
    for name in lists:
        yield Fault("wrong type", f"'task_type.{name}' must be a list of texts")
    if not isinstance(kind["unseen"], bool):
        yield Fault("wrong type", "'task_type.unseen' must be true or false")
    if lists:
        return
    given = {major: find_major(major) for major in kind["major"]}
    for major, found in given.items():
        if found is None:
            yield Fault("unknown major", f"there is no major task '{major}'")
    for name in kind["minor"]:
        yield from _minor_faults(name, find_minor(name), set(given.values()), data)
    yield from _flag_faults(kind["U/G"], data)


def _minor_faults(
    name: str, task: MinorTask | None, given: set[str | None], data: Mapping[str, Any]
) -> Iterator[Fault]:
    if task is None:
        yield Fault("unknown minor", f"there is no minor task '{name}'")
        return
    if None not in given and task.major not in given:
        yield Fault("wrong major", f"'{name}' belongs to '{task.major}'")
    if data.get("domain") in DOMAINS and data["domain"] != task.domain:
        yield Fault("wrong domain", f"'{name}' belongs to '{task.domain}', not to '{data['domain']}'")


def _flag_faults(flags: list[str], data: Mapping[str, Any]) -> Iterator[Fault]:
    if any(flag not in FLAGS for flag in flags):
        yield Fault("bad U/G", f"{flags} is not 'understanding' or 'generation'")
        return
    output = data.get("output")
    if isinstance(output, str):
        meant = "generation" if OPEN in output else "understanding"
        if set(flags) != {meant}:
            yield Fault("U/G contradiction", f"the output is {_modality(meant)}, so it is {meant}, not {flags[0]}")


def _modality(flag: str) -> str:
    return "audio" if flag == "generation" else "text"


def _audio_faults(data: Mapping[str, Any]) -> Iterator[Fault]:
    """Of the sister's fields: as many paths as placeholders, and a stretch that is one."""
    texts = [data[name] for name in ("input", "output") if isinstance(data.get(name), str)]
    places = sum(audio_ids(text).count(PLACEHOLDER) for text in texts if PLACEHOLDER in text)
    paths = data.get("audio_path")
    if paths is not None and not (isinstance(paths, list) and all(_is_text(path) for path in paths)):
        yield Fault("wrong type", "'audio_path' must be a list of texts")
    elif places != len(paths or ()):
        yield Fault("audio path", f"{places} placeholder(s) {PLACEHOLDER} and {len(paths or ())} audio path(s)")
    times = [data.get("audio_start"), data.get("audio_end")]
    if not all(_is_time(value) for value in times):
        yield Fault("audio times", "'audio_start' and 'audio_end' must be seconds, 0 or more")
    elif times[1] is not None and times[1] <= (times[0] or 0.0):
        yield Fault("audio times", f"the stretch from {times[0] or 0.0} to {times[1]} s is empty")


def _is_time(value: object) -> bool:
    if value is None:
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_text(part) for part in value)
