"""Lhotse manifests: recordings with supervisions, or cuts, as JSON lines (`.jsonl`, `.jsonl.gz`).

A row is a supervision, or a recording without one. In cuts a row is a cut; one that holds several supervisions, or one
that does not fill it, is a row for each, and `cut`, `cut_start`, `cut_end` and `supervision` say where it stood.
Further fields (`custom`, alignments) are columns: texts as they are, all else as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earwitness.core.errors import DataError
from earwitness.corpora.formats.base import Value, extra_name, fits, imported, root_above
from earwitness.corpora.formats.json_lines import (
    MOST,
    Fields,
    as_text,
    number_of,
    quoted_numbers,
    read_objects,
    text_of,
)
from earwitness.corpora.formats.lhotse_writing import write_lhotse
from earwitness.corpora.formats.times import end_of, shown, stretch
from earwitness.corpora.imported import Imported
from earwitness.corpora.schema import COLUMNS

__all__ = ["read_lhotse", "write_lhotse"]

COLUMN_OF: Mapping[str, str] = {"text": "transcript", "language": "language", "speaker": "speaker", "gender": "sex"}
KNOWN = (
    "id",
    "recording_id",
    "start",
    "duration",
    "channel",
    "custom",
    "type",
    "supervisions",
    "recording",
    "features",
)
PREFIX = "lhotse_"
PATTERNS = ("*.jsonl", "*.jsonl.gz")
KINDS = ("cuts", "recordings", "supervisions")


@dataclass(frozen=True)
class File:
    """One audio file of a recording: the recording's channels that it holds, in order; lengths as the manifest says."""

    recording: str
    path: str
    channels: tuple[int, ...]
    rate: int
    duration: float
    samples: int | None

    def row(self, channel: int | None) -> dict[str, Any]:
        """What a row says of its file; `channel` is the recording's number, the row's is its place in the file."""
        usual = self.channels == (0,)
        derived = round(self.duration * self.rate)
        return {
            "path": self.path,
            "recording": self.recording,
            "channel": None if channel is None else float(self.channels.index(channel)),
            "duration_s": self.duration,
            "sample_rate": float(self.rate),
            "channel_ids": None if usual else as_text(list(self.channels)),
            "num_samples": None if self.samples in (None, derived) else str(self.samples),
        }


def read_lhotse(path: Path) -> Imported:
    """A folder with recordings (and supervisions), or a single file of recordings or cuts.

    Raises `DataError` naming file and line: sources that are no files, transformed audio, mixed cuts.
    """
    files = _files(path)
    folder = path if path.is_dir() else path.parent
    notes: list[str] = []
    if files["cuts"]:
        rows = [
            row
            for file in files["cuts"]
            for number, cut in read_objects(file)
            for row in _cut(cut, file, number, notes)
        ]
    else:
        rows = _joined(files["recordings"], files["supervisions"], notes)
    renamed = _renamed(rows)
    notes += [f"`{name}` holds numbers in quotes; writing gives numbers" for name in _quoted(rows)]
    notes = list(dict.fromkeys(notes)) + [f"`{old}` is kept as the column `{new}`" for old, new in renamed.items()]
    rows = [{renamed.get(name, name): _cell(value) for name, value in row.items()} for row in rows]
    root, told = root_above(folder, [str(row["path"]) for row in rows])
    late = sum(float(row.get("end") or 0) > float(row["duration_s"] or 0) for row in rows)
    if late:
        notes.append(f"{late} supervision(s) end after their recording")
    if count := sum(row.get("point_s") is not None for row in rows):
        notes.append(f"{count} stretch(es) of no length kept as a point of their recording (column `point_s`)")
    return imported(rows, root, path, (*notes, *told))


def _files(path: Path) -> dict[str, list[Path]]:
    """The files by what they hold; their names say it in a folder, their first line in a file."""
    files: dict[str, list[Path]] = {kind: [] for kind in KINDS}
    if path.is_file():
        files[_kind(path)].append(path)
        if files["supervisions"]:
            raise DataError("holds supervisions", where=path, fix="Name the folder, where their recordings are too.")
        return files
    for file in sorted(file for pattern in PATTERNS for file in path.glob(pattern)):
        for kind in KINDS:
            if kind in file.name:
                files[kind].append(file)
    if files["cuts"] and (files["recordings"] or files["supervisions"]):
        raise DataError("holds cuts and recordings", where=path, fix="Name the cuts' file to read those.")
    if not files["cuts"] and not files["recordings"]:
        fix = "Expected: *recordings*.jsonl(.gz) and *supervisions*.jsonl(.gz), or *cuts*.jsonl(.gz)."
        raise DataError("holds no recordings and no cuts", where=path, fix=fix)
    return files


def _kind(file: Path) -> str:
    first = next(read_objects(file), None)
    if first is None:
        raise DataError("is empty", where=file)
    fields = first[1]
    if "sources" in fields:
        return "recordings"
    return "supervisions" if "recording_id" in fields and "supervisions" not in fields else "cuts"


# --- recordings and supervisions


def _recording(fields: Fields, path: Path, line: int, notes: list[str]) -> list[File]:
    """The files of a recording, each by its name; where there are several, its channels tell them apart."""
    name = text_of(fields, "id", path, line)
    if fields.get("transforms"):
        fix = "Save the transformed audio as files first."
        raise DataError(f"line {line}: recording '{name}' is transformed when it is read", where=path, fix=fix)
    rate, duration = number_of(fields, "sampling_rate", path, line), number_of(fields, "duration", path, line)
    samples = number_of(fields, "num_samples", path, line)
    sources = fields.get("sources")
    if not rate or duration is None or not isinstance(sources, list) or not sources:
        fix = "Expected: `sources`, `sampling_rate`, `num_samples` and `duration`."
        raise DataError(f"line {line}: is no recording", where=path, fix=fix)
    files = [_source(source, path, line) for source in sources]
    if len(files) > 1:
        notes.append("recordings of several files are read as one recording a file, their channels behind the name")
    names = [name if len(files) == 1 else "-".join([name, *map(str, channels)]) for _, channels in files]
    whole = None if samples is None else int(samples)
    return [
        File(own, file, channels, int(rate), duration, whole)
        for own, (file, channels) in zip(names, files, strict=True)
    ]


def _source(source: Any, path: Path, line: int) -> tuple[str, tuple[int, ...]]:
    kind = source.get("type") if isinstance(source, dict) else source
    if kind != "file":
        fix = "Save the audio as files, and the manifest with `type: file`."
        raise DataError(f"line {line}: the audio is a source of type '{kind}', no file", where=path, fix=fix)
    channels = source.get("channels", [0])
    if not isinstance(channels, list) or not channels or not all(type(channel) is int for channel in channels):
        raise DataError(f"line {line}: `channels` is {as_text(channels)}", where=path, fix="Expected: [0], [0, 1], ...")
    return text_of(source, "source", path, line), tuple(channels)


def _joined(recordings: Iterable[Path], supervisions: Iterable[Path], notes: list[str]) -> list[dict[str, Any]]:
    """A row for each supervision, and for each recording without one, in the order of the recordings."""
    files: dict[str, list[File]] = {}
    for path in recordings:
        for number, fields in read_objects(path):
            name = text_of(fields, "id", path, number)
            if name in files:
                raise DataError(f"line {number}: recording '{name}' stands there twice", where=path)
            files[name] = _recording(fields, path, number, notes)
    rows: dict[str, list[dict[str, Any]]] = {}
    for path in supervisions:
        for number, fields in read_objects(path):
            name = text_of(fields, "recording_id", path, number)
            if name not in files:
                fix = "Recordings and supervisions must belong together."
                raise DataError(f"line {number}: there is no recording '{name}'", where=path, fix=fix)
            rows.setdefault(name, []).append(_supervision(fields, files[name], path, number))
    alone = {name: [{"id": file.recording, **file.row(None)} for file in own] for name, own in files.items()}
    return [row for name in files for row in rows.get(name, alone[name])]


def _supervision(fields: Fields, files: Sequence[File], path: Path, line: int) -> dict[str, Any]:
    start, duration = number_of(fields, "start", path, line), number_of(fields, "duration", path, line)
    if start is None or duration is None:
        raise DataError(f"line {line}: no start and duration", where=path, fix="Expected: times in seconds.")
    file, channel = _file_of(fields.get("channel", 0), files, path, line)
    row = {"id": text_of(fields, "id", path, line), **file.row(channel), **_further(fields, path, line)}
    return row if start == 0 and duration == file.duration else row | vars(stretch(start, end_of(start, duration)))


def _file_of(channel: Any, files: Sequence[File], path: Path, line: int) -> tuple[File, int | None]:
    """The file that has a channel, or all channels of a list; and the channel, None for all of a file."""
    wanted = channel if isinstance(channel, list) else [channel]
    for file in files:
        if len(wanted) == 1 and wanted[0] in file.channels:
            return file, wanted[0]
        if tuple(wanted) == file.channels:
            return file, None
    fix = "A row is one channel, or one file with all its channels."
    raise DataError(f"line {line}: channel {as_text(channel)}", where=path, fix=fix)


def _further(fields: Fields, path: Path, line: int) -> dict[str, Any]:
    """What a supervision says beside its place."""
    custom = fields.get("custom") or {}
    if not isinstance(custom, dict):
        raise DataError(f"line {line}: `custom` is {as_text(custom)}", where=path, fix="Expected: an object.")
    known = {COLUMN_OF[name]: fields.get(name) for name in COLUMN_OF if name in fields}
    others = {name: value for name, value in fields.items() if name not in KNOWN and name not in COLUMN_OF}
    both = {**others, **custom}
    return {**known, **{_own_name(name): value for name, value in both.items()}}


def _own_name(name: str) -> str:
    """The column of a further field; those that Lhotse says otherwise get a prefix."""
    if name in COLUMNS and name not in (
        "path",
        "id",
        "start",
        "end",
        "channel",
        "duration_s",
        "sample_rate",
        "speaker",
    ):
        return name if name not in ("transcript", "language", "sex") else f"{PREFIX}{name}"
    return extra_name(name, PREFIX)


def _cell(value: Any) -> Value:
    return value if isinstance(value, float) else as_text(value)


def _quoted(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The further columns whose texts would come back as numbers."""
    place = ("recording", "channel_ids", "num_samples", "cut", "cut_start", "cut_end", "supervision", "point_s")
    names = dict.fromkeys(name for row in rows for name in row if name not in COLUMNS and name not in place)
    return [name for name in names if quoted_numbers([row.get(name) for row in rows])]


def _renamed(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Columns whose values a manifest would not take under that name: `label` and `split` have fixed words."""
    wrong = [name for name in ("label", "split") if not fits(name, [row.get(name) for row in rows])]
    return {name: f"{PREFIX}{name}" for name in wrong}


# --- cuts


def _cut(fields: Fields, path: Path, line: int, notes: list[str]) -> list[dict[str, Any]]:
    """The rows of one cut."""
    kind = fields.get("type", "MonoCut")
    if kind not in ("MonoCut", "MultiCut"):
        fix = "Only MonoCut and MultiCut are a stretch of a file; save mixed and padded audio as files."
        raise DataError(f"line {line}: a cut of type '{kind}'", where=path, fix=fix)
    if not isinstance(fields.get("recording"), dict):
        raise DataError(f"line {line}: a cut without its recording", where=path, fix="Save the cuts with recordings.")
    if fields.get("features"):
        notes.append("features of cuts left out")
    if fields.get("custom"):
        notes.append("custom fields of cuts become columns; writing gives them to the supervisions")
    name = text_of(fields, "id", path, line)
    files = _recording(fields["recording"], path, line, notes)
    start, duration = number_of(fields, "start", path, line), number_of(fields, "duration", path, line)
    if start is None or duration is None:
        raise DataError(f"line {line}: a cut without start and duration", where=path)
    file, channel = _file_of(fields.get("channel", 0), files, path, line)
    base = {"id": name, **file.row(channel), **_further({"custom": fields.get("custom")}, path, line)}
    own = {} if (start, duration) == (0, file.duration) else vars(stretch(start, end_of(start, duration)))
    supervisions = fields.get("supervisions") or []
    if not isinstance(supervisions, list) or not all(isinstance(one, dict) for one in supervisions):
        raise DataError(f"line {line}: `supervisions` is no list of objects", where=path)
    if len(supervisions) == 1 and _fills(supervisions[0], duration):
        label = _label(supervisions[0], name, path, line)
        return [{**base, **own, **_further(supervisions[0], path, line), "supervision": label}]
    if not supervisions:
        return [{**base, **own}]
    span = {"cut_start": shown(start), "cut_end": shown(end_of(start, duration))}
    return [_part(base, start, span, supervision, path, line) for supervision in supervisions]


def _fills(supervision: Fields, duration: float) -> bool:
    return supervision.get("start") == 0 and supervision.get("duration") == duration


def _label(supervision: Fields, name: str, path: Path, line: int) -> str | None:
    label = text_of(supervision, "id", path, line)
    return None if label == name else label


def _part(
    base: Mapping[str, Any], cut_start: float, span: Mapping[str, str], supervision: Fields, path: Path, line: int
) -> dict[str, Any]:
    """A supervision within a cut, in the time of the recording (in the file it counts from the cut's start)."""
    offset, duration = supervision.get("start"), number_of(supervision, "duration", path, line)
    if isinstance(offset, bool) or not isinstance(offset, int | float) or duration is None or abs(offset) > MOST:
        raise DataError(f"line {line}: a supervision without start and duration", where=path)
    start = end_of(cut_start, float(offset))
    if start < 0:
        raise DataError(f"line {line}: a supervision begins before its recording", where=path)
    label = text_of(supervision, "id", path, line)
    where = {"id": f"{base['id']}/{label}", "cut": base["id"], "supervision": label, **span}
    return {**base, **_further(supervision, path, line), **where, **vars(stretch(start, end_of(start, duration)))}
