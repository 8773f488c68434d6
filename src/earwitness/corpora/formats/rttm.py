"""RTTM, NIST's rich transcription time marks: who speaks when; PartialSpoof says with it what is bona fide when.

A line has ten fields (older files leave the last out): `type file channel start duration ortho stype name conf slat`,
with `<NA>` for what is not said. Times are seconds, channels count from 1.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from earwitness.core.writing import write_atomically
from earwitness.corpora.formats.base import (
    Value,
    files_of,
    ids_left_behind,
    left_behind,
    lines_of,
    malformed,
    numbered,
    recording_names,
    refuse_blanks,
    values_of,
    without_outer_blanks,
)
from earwitness.corpora.formats.marks import channel_note, channel_of, placed, times_of
from earwitness.corpora.formats.times import exact_duration, shown, spans
from earwitness.corpora.imported import Imported
from earwitness.corpora.manifest import Manifest

NONE = "<NA>"
FORM = "SPEAKER <file> <channel> <start> <duration> <NA> <NA> <name> <NA> <NA>"
LABELS = ("bonafide", "spoof")
OTHER_TYPES = frozenset(
    [
        "SEGMENT",
        "NOSCORE",
        "NO_RT_METADATA",
        "LEXEME",
        "NON-LEX",
        "NON-SPEECH",
        "FILLER",
        "EDIT",
        "IP",
        "SU",
        "CB",
        "A/P",
        "SPKR-INFO",
    ]
)
EXTRAS = ("subtype", "confidence", "lookahead")


def read_rttm(path: Path) -> Imported:
    """RTTM files: a row for each SPEAKER line, its name as speaker, or as label where all are `bonafide` or `spoof`.

    Audio files of the same name are looked for beside the list. Raises `DataError` naming the line.
    """
    rows: list[dict[str, Value]] = []
    others: Counter[str] = Counter()
    for file in files_of(path, ".rttm"):
        for number, line in lines_of(file):
            fields = re.split(r"[ \t]+", line)
            if line.startswith(";;"):
                others["comments"] += 1
            elif fields[0] == "SPEAKER":
                rows.append(_row(fields, file, number))
            elif fields[0] in OTHER_TYPES:
                others[fields[0]] += 1
            else:
                raise malformed(file, number, f"unknown type '{fields[0]}'", FORM)
    notes = [f"{count} line(s) passed over: {name}" for name, count in others.items()]
    return placed(_named(rows), path, notes)


def write_rttm(manifest: Manifest, out: Path) -> tuple[str, ...]:
    """One RTTM file with a SPEAKER line a row; the name is the speaker, or the label where no row has a speaker."""
    table, notes = without_outer_blanks(manifest.table)
    names = recording_names(table)
    by_label = table["speaker"].null_count() == table.height and table["label"].null_count() == 0
    said = table["label" if by_label else "speaker"].to_list()
    texts = [values_of(table, name) for name in ("transcript", "subtype", "confidence", "lookahead")]
    words = not pl.Series(texts[0], dtype=pl.String).str.contains(r"\s").any()
    for column, values in [("recording", names), ("speaker", said), *zip(EXTRAS, texts[1:], strict=True)]:
        refuse_blanks(values, column, "RTTM")
    orthography = texts[0] if words else [None] * table.height
    lines = []
    for row, (start, end) in enumerate(spans(table)):
        channel = (table["channel"][row] or 0) + 1
        times = f"{shown(start)} {exact_duration(start, end)}"
        rest = [orthography[row], texts[1][row], said[row], texts[2][row], texts[3][row]]
        lines.append(" ".join(["SPEAKER", names[row], str(channel), times, *(text or NONE for text in rest)]))
    write_atomically(out, "".join(f"{line}\n" for line in lines))
    held = ["id", "start", "end", "channel", "label" if by_label else "speaker", "recording", "point_s", *EXTRAS]
    held += ["transcript"] if words else []
    notes = (
        *notes,
        *left_behind(table, held, "RTTM"),
        *ids_left_behind(table["id"].to_list(), numbered(names), "RTTM"),
    )
    return (*notes, *channel_note(table["channel"]))


def _row(fields: Sequence[str], file: Path, number: int) -> dict[str, Value]:
    if len(fields) not in (9, 10):
        raise malformed(file, number, f"{len(fields)} fields", FORM)
    _, recording, channel, start, duration, ortho, subtype, name, confidence, *lookahead = fields
    times = times_of(start, duration)
    if times is None:
        raise malformed(file, number, f"'{start} {duration}' are not a start and a duration in seconds", FORM)
    if channel != NONE and channel_of(channel) is None:
        raise malformed(file, number, f"channel '{channel}' (they count from 1)", FORM)
    texts = {"transcript": ortho, "subtype": subtype, "speaker": name, "confidence": confidence}
    texts |= {"lookahead": lookahead[0]} if lookahead else {}
    known = {column: None if text == NONE else text for column, text in texts.items()}
    return {"recording": recording, **times, "channel": channel_of(channel), **known}


def _named(rows: list[dict[str, Value]]) -> list[dict[str, Value]]:
    """Names that are all labels become the column `label`."""
    if not rows or not all(row["speaker"] in LABELS for row in rows):
        return rows
    return [
        {**{name: value for name, value in row.items() if name != "speaker"}, "label": row["speaker"]} for row in rows
    ]
