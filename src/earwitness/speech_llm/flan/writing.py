"""Records as files: one JSONL file, or a folder in the released layout, in shards that other loaders read as they are.

In shards `other` is JSON text, since a column has one type; a single file keeps it as it is. Files are whole or absent
and follow from their records alone, so that a run that was killed is started again.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from earwitness.core.writing import atomic_file, write_atomically
from earwitness.speech_llm.flan.fields import SPLITS
from earwitness.speech_llm.flan.reading import AudioPlace
from earwitness.speech_llm.flan.records import Record, line_of, plain

if TYPE_CHECKING:
    import polars as pl

Format = Literal["jsonl", "parquet"]
SHARD = 10_000  # records
_SPLIT_NAMES = {"train": "train", "dev": "validation", "test": "test"}


def write_records(path: str | Path, records: Iterable[Record]) -> None:
    """One JSONL file, whole or not at all."""
    with atomic_file(path) as file:
        for record in records:
            file.write(line_of(record).encode("utf-8"))


def dataset_of(record: Record) -> str:
    """`NN_Name` of the first audio id of a record; `00_none` where it has none of that form."""
    number, _, rest = next(iter(record.audio_ids()), "").partition("_")
    name, joined, _ = rest.partition("_")
    return f"{number}_{name}" if number.isdigit() and name and joined else "00_none"


@dataclass
class LayoutWriter:
    """Writes records into `root` by domain, split and data set, `size` a shard; `close` writes what is left, removes
    shards of an earlier run that are not of this one, and describes the set for the library `datasets`."""

    root: Path
    format: Format = "jsonl"
    size: int = SHARD
    files: list[Path] = field(default_factory=list)
    _waiting: dict[Path, list[Record]] = field(default_factory=dict)
    _parts: dict[Path, int] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        """Keep one record; a full shard is written."""
        folder = self.root / "metadata" / record.domain / record.split[0] / dataset_of(record) / self.format
        waiting = self._waiting.setdefault(folder, [])
        waiting.append(record)
        if len(waiting) >= self.size:
            self._flush(folder)

    def close(self) -> list[Path]:
        """The files, sorted."""
        for folder in [folder for folder, waiting in self._waiting.items() if waiting]:
            self._flush(folder)
        for path in (self.root / "metadata").glob("*/*/*/*/part-*"):
            if path not in self.files:
                path.unlink()
        write_atomically(self.root / "README.md", _card(self.files, self.format))
        return sorted(self.files)

    def _flush(self, folder: Path) -> None:
        number = self._parts.get(folder, 0)
        path = folder / f"part-{number:05d}.{self.format}"
        records = [_with_text(record) for record in self._waiting[folder]]
        if self.format == "jsonl":
            write_records(path, records)
        else:
            content = io.BytesIO()  # polars up to 1.35 loses what a full disk refuses
            table(records).write_parquet(content)
            write_atomically(path, content.getvalue())
        self.files.append(path)
        self._parts[folder], self._waiting[folder] = number + 1, []


def table(records: Sequence[Record]) -> pl.DataFrame:
    """Records as columns of the published names; `other` as JSON text."""
    import polars as pl

    texts = pl.List(pl.String)
    kind = pl.Struct({"major": texts, "minor": texts, "U/G": texts, "unseen": pl.Boolean})
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        **dict.fromkeys(("instruction", "input", "output", "uuid"), pl.String),
        "split": texts,
        "task_type": kind,
        "domain": pl.String,
        "source": texts,
        "other": pl.String,
    }
    rows = [plain(_with_text(record)) for record in records]
    return pl.DataFrame(
        [row | {"source": [row["source"]] if isinstance(row["source"], str) else row["source"]} for row in rows],
        schema=schema,
    )


def _with_text(record: Record) -> Record:
    if record.other is None or isinstance(record.other, str):
        return record
    return replace(record, other=json.dumps(record.other, ensure_ascii=False))


def write_audio_table(root: Path, domain: str, places: Mapping[str, AudioPlace]) -> None:
    """The scp files of a layout, and beside them the stretches; paths relative to the root where that can be."""
    import os

    groups: dict[str, list[str]] = {}
    for name in places:
        groups.setdefault("_".join(name.split("_")[:2]), []).append(name)
    for group, names in groups.items():
        lines = [f"{name} {Path(os.path.relpath(places[name].path, root)).as_posix()}\n" for name in names]
        stretches = [
            f"{name} {places[name].start:.6f} {places[name].end:.6f}\n"
            for name in names
            if places[name].end is not None
        ]
        write_atomically(root / "scp_files" / domain / f"{group}.scp", "".join(lines))
        if stretches:
            write_atomically(root / "scp_files" / domain / f"{group}.segments", "".join(stretches))


def _card(files: Sequence[Path], kind: Format) -> str:
    """What `datasets.load_dataset(FOLDER)` reads to find the shards of each split."""
    there = [split for split in SPLITS if any(path.parts[-4] == split for path in files)]
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    for split in there:
        lines += [f"  - split: {_SPLIT_NAMES[split]}", f"    path: metadata/*/{split}/*/{kind}/*.{kind}"]
    return "\n".join([*lines, "---", "", "Instruction records in the schema of Audio-FLAN, made by Earwitness.", ""])
