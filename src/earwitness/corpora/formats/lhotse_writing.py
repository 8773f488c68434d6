"""A manifest as Lhotse's recordings and supervisions, or as its cuts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from earwitness.core.errors import UsageError
from earwitness.corpora.formats.base import recording_names, values_of
from earwitness.corpora.formats.json_lines import Fields, as_values, write_objects
from earwitness.corpora.formats.marks import channel_note
from earwitness.corpora.formats.times import duration_of, rounded_note, spans
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.schema import COLUMNS, fail

NATIVE: Mapping[str, str] = {"transcript": "text", "language": "language", "speaker": "speaker", "sex": "gender"}
PLACE = ("id", "path", "start", "end", "channel", "duration_s", "sample_rate", "point_s")
FILE = ("recording", "channel_ids", "num_samples")
CUT = ("cut", "cut_start", "cut_end", "supervision")
PREFIX = "lhotse_"
FILES = {"recordings": "recordings.jsonl.gz", "supervisions": "supervisions.jsonl.gz"}


@dataclass(frozen=True)
class _Item:
    """One row as Lhotse states it; times in seconds of the recording."""

    id: str
    recording: str
    start: float
    end: float
    channel: int | list[int]
    said: Fields  # text, speaker, ...; custom
    bare: bool  # nothing but the recording itself


def write_lhotse(manifest: Manifest, out: Path) -> tuple[str, ...]:
    """Recordings and supervisions in a folder; cuts where the output is a `.jsonl` or `.jsonl.gz` file.

    Raises `DataError` for a row without `duration_s` and `sample_rate`, which Lhotse states of every recording.
    """
    as_cuts = out.name.endswith((".jsonl", ".jsonl.gz"))
    if not as_cuts and out.is_file():
        raise UsageError("is a file", where=out, fix="Name a folder, or a .jsonl file for cuts.")
    table = manifest.rebased(out.parent if as_cuts else out).table
    names = recording_names(table)
    recordings = _recordings(table, names)
    items = _items(table, names, recordings)
    rounded = rounded_note((item.start, item.end) for item in items)
    if as_cuts:
        write_objects(out, _cuts(table, items, recordings))
        return (*rounded, *channel_note(table["channel"], [isinstance(item.channel, int) for item in items]))
    write_objects(out / FILES["recordings"], recordings.values())
    listed = [item for item in items if not item.bare]
    write_objects(out / FILES["supervisions"], [_supervision(item, item.start) for item in listed])
    spoken = [item for item in items if item.bare and sum(other.recording == item.recording for other in listed)]
    told = (f"{len(spoken)} recording(s) as a whole are no row beside their supervisions",) if spoken else ()
    cuts = [name for name in CUT if any(values_of(table, name))]
    lost = (f"left behind, for supervisions have no place for them: {', '.join(f'`{name}`' for name in cuts)}",)
    stated = [isinstance(item.channel, int) and not item.bare for item in items]
    return (*rounded, *channel_note(table["channel"], stated), *told, *(lost if cuts else ()))


def _recordings(table: pl.DataFrame, names: Sequence[str]) -> dict[str, Fields]:
    """Every file once, by name."""
    ids, samples = values_of(table, "channel_ids"), values_of(table, "num_samples")
    most: dict[str, int] = {}
    for name, channel in zip(names, table["channel"], strict=True):
        most[name] = max(most.get(name, 0), channel or 0)
    found: dict[str, Fields] = {}
    for row, (name, path, duration, rate) in enumerate(
        zip(names, table["path"], table["duration_s"], table["sample_rate"], strict=True)
    ):
        if duration is None or rate is None:
            fix = "`earwitness corpus import manifest` fills durations and rates in from the files."
            raise fail(row, "sample_rate" if rate is None else "duration_s", "is empty; Lhotse asks for it", None, fix)
        channels = json.loads(ids[row] or "null") or list(range(most[name] + 1))
        fields = {
            "id": name,
            "sources": [{"type": "file", "channels": channels, "source": path}],
            "sampling_rate": rate,
            "num_samples": int(samples[row] or round(duration * rate)),
            "duration": duration,
            "channel_ids": channels,
        }
        if found.setdefault(name, fields) != fields:
            fix = "Rows of one file must agree on duration_s and sample_rate."
            raise fail(row, "path", f"recording '{name}' is described in two ways", None, fix)
    return found


def _items(table: pl.DataFrame, names: Sequence[str], recordings: Mapping[str, Fields]) -> list[_Item]:
    said = _said(table)
    whole = table.select(pl.all_horizontal(pl.col("start", "end").is_null())).to_series()
    point = pl.Series(values_of(table, "point_s"), dtype=pl.String)
    items = []
    for row, (id_, name, (start, end)) in enumerate(zip(table["id"], names, spans(table), strict=True)):
        channel = table["channel"][row]
        channels = recordings[name]["channel_ids"]
        bare = whole[row] and point[row] is None and id_ == name and channel is None and not said[row]
        number = channels[channel] if channel is not None else channels[0] if len(channels) == 1 else channels
        items.append(_Item(id_, name, start, end, number, said[row], bare))
    return items


def _said(table: pl.DataFrame) -> list[Fields]:
    """What each row says beside its place: Lhotse's own fields, and all others in `custom`."""
    other = [name for name in table.columns if name not in (*PLACE, *FILE, *CUT, *NATIVE)]
    custom = {name.removeprefix(PREFIX): _values(table[name]) for name in other}
    rows = []
    for row in range(table.height):
        fields = {NATIVE[name]: table[name][row] for name in NATIVE}
        fields = {"text": fields.pop("text"), **fields}
        fields["custom"] = {name: values[row] for name, values in custom.items() if values[row] is not None}
        rows.append({name: value for name, value in fields.items() if value not in (None, {})})
    return rows


def _values(column: pl.Series) -> list[Any]:
    if column.dtype == pl.Float64:
        return [int(value) if value is not None and value == int(value) else value for value in column]
    return column.to_list() if column.name in COLUMNS else as_values(column.to_list())


def _supervision(item: _Item, start: float, id_: str | None = None) -> Fields:
    return {
        "id": id_ or item.id,
        "recording_id": item.recording,
        "start": start,
        "duration": duration_of(item.start, item.end),
        "channel": item.channel,
        **item.said,
    }


def _cuts(table: pl.DataFrame, items: Sequence[_Item], recordings: Mapping[str, Fields]) -> list[Fields]:
    """Rows of one `cut` come together again; every other row is a cut of its own."""
    cut_names, labels = values_of(table, "cut"), values_of(table, "supervision")
    starts, ends = values_of(table, "cut_start"), values_of(table, "cut_end")
    cuts: dict[str, Fields] = {}
    for row, item in enumerate(items):
        name = cut_names[row] or item.id
        start, end = float(starts[row] or item.start), float(ends[row] or item.end)
        fresh = {"id": name, "start": start, "duration": duration_of(start, end), "channel": item.channel}
        cut = cuts.setdefault(name, {**fresh, "supervisions": [], "recording": recordings[item.recording]})
        if cut["recording"]["id"] != item.recording:
            raise fail(row, "cut", f"cut '{name}' would hold two recordings", None, "Give each cut its own name.")
        if item.said or labels[row]:
            offset = duration_of(start, item.start)
            cut["supervisions"].append(_supervision(item, offset, labels[row]))
    return [{**cut, "type": "MonoCut" if isinstance(cut["channel"], int) else "MultiCut"} for cut in cuts.values()]
