"""A manifest as a Kaldi data directory."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from earwitness.core.errors import UsageError
from earwitness.core.writing import write_atomically
from earwitness.corpora.formats.base import (
    BLANKS,
    left_behind,
    recording_names,
    refuse_blanks,
    refuse_line_breaks,
    values_of,
    without_outer_blanks,
)
from earwitness.corpora.formats.kaldi_files import COLUMN_OF, NO_FILE, Entries, c_locale, prefix_note
from earwitness.corpora.formats.times import points, shown
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.schema import fail

FILE_OF: Mapping[str, str] = {column: name for name, column in COLUMN_OF.items()}


def write_kaldi(manifest: Manifest, out: Path) -> tuple[str, ...]:
    """A Kaldi data directory, every file sorted by its first column in the C locale.

    Columns that Kaldi has no file for are written as `utt2NAME`. Raises `DataError` for names with blanks, and
    `UsageError` where files of another data directory lie.
    """
    table, notes = without_outer_blanks(manifest.rebased(out).table)
    _check_paths(table)
    ids = table["id"].to_list()
    refuse_blanks(ids, "id", "Kaldi")
    files, told = _location_files(table, ids)
    speakers = [speaker or id_ for speaker, id_ in zip(table["speaker"], ids, strict=True)]
    refuse_blanks(speakers, "speaker", "Kaldi")
    files["utt2spk"] = dict(zip(ids, speakers, strict=True))
    files["spk2utt"] = _grouped(files["utt2spk"])
    files |= _gender_file(table, ids, speakers)
    held = list(NO_FILE)
    for name in table.columns:
        file = None if name in NO_FILE else _file_name(name)
        if file and file not in files:
            refuse_line_breaks(_texts(table, name), name, "Kaldi")
            files[file] = _known(ids, _texts(table, name))
            held.append(name)
    _refuse_foreign_files(out, files)
    for file, entries in files.items():
        if entries:
            lines = "".join(f"{key} {entries[key]}\n" for key in sorted(entries, key=c_locale))
            write_atomically(out / file, lines)
    if alone := table["speaker"].null_count():
        notes = (*notes, f"{alone} row(s) without a speaker have their id as one, which is Kaldi's way to say so")
    prefix = prefix_note(zip(ids, speakers, strict=True))
    return (*notes, *told, *prefix, *left_behind(table, held, "Kaldi"))


def _file_name(column: str) -> str | None:
    """The file of a column; None for a name that cannot be part of a file name."""
    if column == "dur":
        return "utt2dur"
    name = FILE_OF.get(column) or (column if column.startswith("utt2") else f"utt2{column}")
    return name if re.fullmatch(r"[\w.-]+", name) else None


def _texts(table: pl.DataFrame, name: str) -> list[str | None]:
    column = table[name]
    if column.dtype == pl.String:
        return column.to_list()
    return [None if value is None else shown(float(value)) for value in column]


def _known(keys: Sequence[str], values: Sequence[str | None]) -> Entries:
    return {key: value for key, value in zip(keys, values, strict=True) if value is not None}


def _check_paths(table: pl.DataFrame) -> None:
    for row, path in enumerate(table["path"]):
        if path != path.strip(BLANKS) or "\n" in path or path.endswith("|"):
            raise fail(row, "path", f"'{path}' cannot stand in wav.scp", None, "Rename the file.")


def _location_files(table: pl.DataFrame, ids: list[str]) -> tuple[dict[str, Entries], tuple[str, ...]]:
    """wav.scp and durations; segments too where rows are parts of recordings or named otherwise than those."""
    parts = table.select(
        pl.any_horizontal(pl.col("start", "end", "channel").is_not_null())
        | pl.Series(values_of(table, "point_s"), dtype=pl.String).is_not_null()
    ).to_series()
    given = pl.Series(values_of(table, "recording"), dtype=pl.String)
    if not parts.any() and not (given != table["id"]).fill_null(False).any():
        files = {"wav.scp": dict(zip(ids, table["path"], strict=True))}
        return files | {"utt2dur": _known(ids, _texts(table, "duration_s"))}, ()
    names = recording_names(table)
    refuse_blanks(names, "recording", "Kaldi")
    lengths = _known(names, _texts(table, "duration_s"))
    disagree = any(
        lengths.get(name) not in (None, text)
        for name, text in zip(names, _texts(table, "duration_s"), strict=True)
        if text
    )
    told = ("left behind: `duration_s` differs between rows of one recording; the last one stands",) if disagree else ()
    return {
        "wav.scp": dict(zip(names, table["path"], strict=True)),
        "segments": dict(zip(ids, _segment_lines(table, names), strict=True)),
        "reco2dur": lengths,
    }, told


def _segment_lines(table: pl.DataFrame, names: Sequence[str]) -> list[str]:
    columns = table.select("start", "end", "channel", points(table))
    lines = []
    for name, (start, end, channel, point) in zip(names, columns.iter_rows(), strict=True):
        first, last = (point, point) if point is not None else (start or 0.0, -1.0 if end is None else end)
        fields = [name, shown(first), shown(last), *([] if channel is None else [str(channel)])]
        lines.append(" ".join(fields))
    return lines


def _grouped(utt2spk: Entries) -> Entries:
    groups: dict[str, list[str]] = {}
    for utterance in sorted(utt2spk, key=c_locale):
        groups.setdefault(utt2spk[utterance], []).append(utterance)
    return {speaker: " ".join(utterances) for speaker, utterances in groups.items()}


def _gender_file(table: pl.DataFrame, ids: list[str], speakers: list[str]) -> dict[str, Entries]:
    """spk2gender, or utt2gender where a speaker's rows do not agree."""
    sexes = table["sex"].to_list()
    refuse_line_breaks(sexes, "sex", "Kaldi")
    by_speaker: dict[str, str | None] = {}
    agree = all(by_speaker.setdefault(speaker, sex) == sex for speaker, sex in zip(speakers, sexes, strict=True))
    if agree:
        return {"spk2gender": _known(list(by_speaker), list(by_speaker.values()))}
    return {"utt2gender": _known(ids, sexes)}


def _refuse_foreign_files(out: Path, files: Mapping[str, Entries]) -> None:
    """Files of an earlier directory would be read together with the new ones."""
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError("is not a folder", where=out, fix="A Kaldi data directory is a folder.")
    written = {name for name, entries in files.items() if entries}
    kinds = ("utt2*", "spk2*", "reco2*", "segments", "text", "*.scp")
    foreign = sorted({file.name for kind in kinds for file in out.glob(kind)} - written)
    if foreign:
        fix = "Choose another folder, or remove them."
        raise UsageError(f"holds files that would not fit the new ones: {', '.join(foreign)}", where=out, fix=fix)
