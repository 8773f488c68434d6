"""The record of Audio-FLAN (arXiv 2502.16584, appendix A.3): an instruction, what goes in, and what must come out.

A file has one JSON object a line. Canonical lines come back byte for byte: keys in the order of the fields, text in any
script as it is.
"""

from __future__ import annotations

import json
import uuid as uuids
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from earwitness.core.errors import DataError
from earwitness.speech_llm.flan.spans import audio_ids
from earwitness.speech_llm.flan.taxonomy import Flag, MinorTask
from earwitness.speech_llm.flan.validation import first_fault
from earwitness.speech_llm.items import json_line

_NAMESPACE = uuids.UUID("6f0c6b0e-6a53-5f3e-9a51-3b1f5d1c0a77")


@dataclass(frozen=True)
class TaskType:
    """`flag` is the field `U/G`. Lists, since a record may be of several tasks."""

    major: tuple[str, ...]
    minor: tuple[str, ...]
    flag: tuple[str, ...]
    unseen: bool = False


@dataclass(frozen=True)
class Record:
    """One instance. `source` is a list in the paper and one text in its sister; `other` is free metadata.

    `audio_path`, `audio_start` and `audio_end` (seconds) are the sister's, None where the record has no such fields.
    """

    instruction: str
    input: str
    output: str
    uuid: str
    split: tuple[str, ...]
    task_type: TaskType
    domain: str
    source: tuple[str, ...] | str
    other: Any = None
    audio_path: tuple[str, ...] | None = None
    audio_start: float | None = None
    audio_end: float | None = None

    @property
    def minor(self) -> str:
        """Its task, the first where it has several."""
        return self.task_type.minor[0]

    def audio_ids(self) -> list[str]:
        """All ids in it: those of the input, then those of the output."""
        return [*audio_ids(self.input), *audio_ids(self.output)]

    def facts(self) -> Mapping[str, Any]:
        """`other` as an object, also where it was kept as JSON text; empty where it is neither."""
        other = self.other
        if isinstance(other, str):
            try:
                other = json.loads(other)
            except (ValueError, RecursionError):
                return {}
        return other if isinstance(other, dict) else {}


def made(
    task: MinorTask,
    instruction: str,
    input_: str,
    output: str,
    split: str,
    source: Sequence[str],
    other: Mapping[str, Any],
) -> Record:
    """A new record of a task; its flag follows from its output, and its uuid from its contents."""
    flag: Flag = "generation" if audio_ids(output) else "understanding"
    name = str(uuids.uuid5(_NAMESPACE, json_line([task.minor, input_, output, instruction])))
    kind = TaskType((task.major,), (task.minor,), (flag,))
    return Record(instruction, input_, output, name, (split,), kind, task.domain, tuple(source), dict(other))


def varied(record: Record, instruction: str, input_: str, output: str) -> Record:
    """The record in other words, with a uuid of its own."""
    name = str(uuids.uuid5(_NAMESPACE, json_line([record.uuid, instruction, input_, output])))
    return replace(record, instruction=instruction, input=input_, output=output, uuid=name)


def repeated(record: Record, number: int) -> Record:
    """The record with a uuid of its own, for its `number`-th repetition."""
    return replace(record, uuid=str(uuids.uuid5(_NAMESPACE, f"{record.uuid}/{number}")))


def plain(record: Record) -> dict[str, Any]:
    """As an object of the published form."""
    kind = record.task_type
    found: dict[str, Any] = {
        "instruction": record.instruction,
        "input": record.input,
        "output": record.output,
        "uuid": record.uuid,
        "split": list(record.split),
        "task_type": {
            "major": list(kind.major),
            "minor": list(kind.minor),
            "U/G": list(kind.flag),
            "unseen": kind.unseen,
        },
        "domain": record.domain,
        "source": record.source if isinstance(record.source, str) else list(record.source),
        "other": record.other,
    }
    if record.audio_path is not None:
        found["audio_path"] = list(record.audio_path)
    for name in ("audio_start", "audio_end"):
        if getattr(record, name) is not None:
            found[name] = getattr(record, name)
    return found


def line_of(record: Record) -> str:
    """The canonical line of a file, with its end."""
    return json_line(plain(record))


def record_of(data: Mapping[str, Any], where: object = None) -> Record:
    """A record from its object. Raises `DataError` with the first fault."""
    fault = first_fault(data)
    if fault is not None:
        raise DataError(f"{fault.kind}: {fault.what}", where=where, fix="`earwitness flan validate` lists all faults.")
    return unchecked(data)


def unchecked(data: Mapping[str, Any]) -> Record:
    """A record from an object that has been validated."""
    kind = data["task_type"]
    paths = data.get("audio_path")
    return Record(
        data["instruction"],
        data["input"],
        data["output"],
        data["uuid"],
        tuple(data["split"]),
        TaskType(tuple(kind["major"]), tuple(kind["minor"]), tuple(kind["U/G"]), kind["unseen"]),
        data["domain"],
        data["source"] if isinstance(data["source"], str) else tuple(data["source"]),
        data["other"],
        None if paths is None else tuple(paths),
        data.get("audio_start"),
        data.get("audio_end"),
    )


def by_task(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by their (first) minor task, tasks in the order in which they come."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.minor, []).append(record)
    return found
