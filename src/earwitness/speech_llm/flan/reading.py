"""Records from files, and where their audio lies: the released layout, and plain JSONL or Parquet.

    metadata/<domain>/<split>/<NN_Dataset>/jsonl/part-00000.jsonl     records
    scp_files/<domain>/<NN_Dataset>.scp                               "<Audio_ID> <path relative to the root>"
    scp_files/<domain>/<NN_Dataset>.segments                          "<Audio_ID> <start> <end>", where it is a stretch

The last is ours: a manifest's row may be a stretch of a file. There is no audio column; an id may have no path, since
not all audio is redistributed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from earwitness.core.errors import DataError
from earwitness.speech_llm.flan.records import Record, record_of
from earwitness.speech_llm.flan.spans import PLACEHOLDER
from earwitness.speech_llm.items import json_lines

SUFFIXES = (".jsonl", ".parquet")


@dataclass(frozen=True)
class AudioPlace:
    """A stretch of a file in seconds; `end` None: to its end."""

    path: Path
    start: float = 0.0
    end: float | None = None


def record_files(given: str | Path) -> list[Path]:
    """The files of a set of records: the given file, or those of a folder (of its `metadata/` where it has one).

    Raises `DataError` where there are none."""
    given = Path(given)
    if given.is_file():
        return [given]
    folder = given / "metadata" if (given / "metadata").is_dir() else given
    found = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file())
    if not found:
        raise DataError("holds no records", where=given, fix="Give a JSONL or Parquet file, or a folder of them.")
    return found


def read_records(given: str | Path) -> Iterator[Record]:
    """The records of a file or folder. Raises `DataError` at the first line that is none."""
    for path in record_files(given):
        if path.suffix == ".parquet":
            yield from _parquet(path)
        else:
            for number, data in json_lines(path):
                yield record_of(data, f"{path}, line {number}")


def _parquet(path: Path) -> Iterator[Record]:
    import polars as pl

    try:
        table = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        what = str(error).splitlines()[0][:200]
        raise DataError(f"cannot be read as Parquet ({what})", where=path, fix="Give JSONL or Parquet.") from None
    for number, data in enumerate(table.iter_rows(named=True), 1):
        yield record_of(data, f"{path}, row {number}")


@dataclass(frozen=True)
class AudioTable:
    """Audio ids and where they lie."""

    places: Mapping[str, AudioPlace]

    @classmethod
    def read(cls, root: str | Path) -> AudioTable:
        """The tables under `scp_files/` of a layout. Raises `DataError` for a line that is none, and for an id with two
        paths."""
        places: dict[str, AudioPlace] = {}
        for path in sorted(Path(root).glob("scp_files/**/*.scp")):
            for number, line in _lines(path):
                name, _, relative = line.partition(" ")
                place = AudioPlace(Path(root) / relative.strip())
                if not relative.strip() or places.setdefault(name, place) != place:
                    fix = "Each line is an audio id, a space, and one path."
                    raise DataError(f"'{name}' has no path, or two", where=f"{path}, line {number}", fix=fix)
        for path in sorted(Path(root).glob("scp_files/**/*.segments")):
            for number, line in _lines(path):
                name, place = _segment(line, places, f"{path}, line {number}")
                places[name] = place
        return cls(places)

    def of(self, record: Record) -> list[AudioPlace | None]:
        """Where each span of a record lies, in order; None where its audio is not here."""
        paths = iter(record.audio_path or ())
        found: list[AudioPlace | None] = []
        for name in record.audio_ids():
            if name == PLACEHOLDER:
                found.append(AudioPlace(Path(next(paths)), record.audio_start or 0.0, record.audio_end))
            else:
                found.append(self.places.get(name))
        return found

    def missing(self, records: Iterable[Record]) -> list[str]:
        """The ids without a path, each once, in the order in which they come."""
        names = (name for record in records for name in record.audio_ids())
        return list(dict.fromkeys(name for name in names if name != PLACEHOLDER and name not in self.places))


def _segment(line: str, places: Mapping[str, AudioPlace], where: str) -> tuple[str, AudioPlace]:
    parts = line.split()
    try:
        start, end = (float(part) for part in parts[1:])
    except ValueError:
        start = end = math.nan
    if not 0 <= start < end < math.inf or parts[0] not in places:
        fix = "Each line is an audio id that has a path, its start and its end in seconds."
        raise DataError("is no stretch of an audio id", where=where, fix=fix)
    return parts[0], AudioPlace(places[parts[0]].path, start, end)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise DataError("cannot be read as text", where=path, fix="Give UTF-8.") from None
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line
