"""CTM, time marks of words: `file channel start duration word [confidence]`, times in seconds, channels from 1 or A."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from earwitness.core.errors import DataError
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
from earwitness.corpora.schema import fail

FORM = "<file> <channel> <start> <duration> <word> [confidence]"


def read_ctm(path: Path) -> Imported:
    """CTM files: a row a word, the word as transcript, `confidence` where it is said.

    Audio files of the same name are looked for beside the list. Raises `DataError` naming the line.
    """
    rows: list[dict[str, Value]] = []
    comments = 0
    for file in files_of(path, ".ctm"):
        for number, line in lines_of(file):
            if line.startswith(";;"):
                comments += 1
            else:
                rows.append(_row(re.split(r"[ \t]+", line), file, number))
    return placed(rows, path, [f"{comments} comment(s) passed over"] if comments else [])


def write_ctm(manifest: Manifest, out: Path) -> tuple[str, ...]:
    """One CTM file, a line a row. Raises `DataError` for a row that is not one word."""
    table, notes = without_outer_blanks(manifest.table)
    names, words = recording_names(table), table["transcript"].to_list()
    refuse_blanks(names, "recording", "CTM")
    refuse_blanks(words, "transcript", "CTM")
    refuse_blanks(confidences := values_of(table, "confidence"), "confidence", "CTM")
    lines = []
    for row, (start, end) in enumerate(spans(table)):
        if words[row] is None:
            raise fail(row, "transcript", "is empty; a CTM has a word a row", None, "Leave rows without words out.")
        channel = str((table["channel"][row] or 0) + 1)
        fields = [names[row], channel, shown(start), exact_duration(start, end), words[row]]
        lines.append(" ".join([*fields, *filter(None, [confidences[row]])]))
    write_atomically(out, "".join(f"{line}\n" for line in lines))
    held = ("id", "start", "end", "channel", "transcript", "recording", "point_s", "confidence")
    ids = ids_left_behind(table["id"].to_list(), numbered(names), "CTM")
    return (*notes, *left_behind(table, held, "CTM"), *ids, *channel_note(table["channel"]))


def _row(fields: Sequence[str], file: Path, number: int) -> dict[str, Value]:
    if len(fields) not in (5, 6):
        raise malformed(file, number, f"{len(fields)} fields", FORM)
    recording, channel, start, duration, word, *confidence = fields
    if word.startswith("<ALT"):
        fix = "Choose one of the alternatives."
        raise DataError(f"line {number}: alternative words cannot be rows", where=file, fix=fix)
    times = times_of(start, duration)
    if times is None:
        raise malformed(file, number, f"'{start} {duration}' are not a start and a duration in seconds", FORM)
    if channel_of(channel) is None:
        raise malformed(file, number, f"channel '{channel}' (they count from 1 or A)", FORM)
    said = {"transcript": word, "confidence": confidence[0] if confidence else None}
    return {"recording": recording, **times, "channel": channel_of(channel), **said}
