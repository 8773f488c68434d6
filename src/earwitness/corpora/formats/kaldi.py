"""Kaldi data directories: wav.scp, segments, utt2spk, spk2utt, text, spk2gender and any utt2NAME.

A file `utt2NAME` is the column NAME, in both directions, so that a directory can hold every column of a manifest.
Commands in wav.scp are never run: where one does nothing but open a file, the file itself is taken.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from earwitness.core.errors import DataError
from earwitness.corpora.formats.base import (
    BLANKS,
    Value,
    extra_name,
    imported,
    lines_of,
    malformed,
    root_above,
    seconds,
)
from earwitness.corpora.formats.kaldi_files import COLUMN_OF, NO_FILE, Entries, c_locale, prefix_note
from earwitness.corpora.formats.kaldi_writing import write_kaldi
from earwitness.corpora.formats.times import Stretch, stretch
from earwitness.corpora.imported import Imported
from earwitness.corpora.schema import COLUMNS

__all__ = ["read_kaldi", "write_kaldi"]

SEGMENT = "<utterance> <recording> <start> <end, or -1> [channel]"
# Programs that, called so, give a file's own samples: the words allowed beside the file name.
_OPENERS: Mapping[str, frozenset[str]] = {
    "cat": frozenset(),
    "flac": frozenset({"-c", "-d", "-s", "-cd", "-dc", "-cds", "-dcs", "-sdc", "--silent", "--decode", "--stdout"}),
    "sph2pipe": frozenset({"-f", "wav", "-p"}),
    "sox": frozenset({"-t", "wav", "-"}),
    "ffmpeg": frozenset({"-i", "-f", "wav", "-", "pipe:1", "-nostdin", "-hide_banner"}),
}


def read_kaldi(path: Path) -> Imported:
    """A Kaldi data directory (wav.scp, segments, utt2spk, text and any utt2NAME), checked for what Kaldi asks of one.

    `utt2NAME` becomes the column NAME. Raises `DataError` naming file and line: keys that stand there twice, files
    that do not cover each other, commands in wav.scp.
    """
    folder = path.parent if path.name == "wav.scp" else path
    if not (folder / "wav.scp").is_file():
        raise DataError("holds no wav.scp", where=folder, fix="Name a Kaldi data directory.")
    audio, notes = _audio(folder / "wav.scp")
    segments = _segments(folder / "segments", audio) if (folder / "segments").is_file() else {}
    rows: dict[str, dict[str, Value]] = {}
    for utterance in segments or audio:
        rows[utterance] = _row(utterance, audio, segments)
    if segments and (unused := sorted(set(audio) - {name for name, *_ in segments.values()})):
        notes.append(f"{len(unused)} recording(s) without a segment left out (first: {unused[0]})")
    used = _add_files(folder, rows, bool(segments))
    notes += _order_notes(folder, used) + prefix_note((id_, row.get("speaker")) for id_, row in rows.items())
    notes += _overshoot_note(rows.values())
    others = sorted(file.name for file in folder.iterdir() if file.is_file() and file.name not in used)
    if others:
        notes.append(f"file(s) passed over: {', '.join(others)}")
    root, told = root_above(folder, audio.values())
    return imported(list(rows.values()), root, folder, (*notes, *told))


# --- reading


def _entries(path: Path, form: str, empty: bool = False) -> Entries:
    """Key and rest of every line. Raises `DataError` for a key that stands there twice, or one with nothing after."""
    entries: Entries = {}
    for number, line in lines_of(path):
        key, value = _split_key(line)
        if key in entries:
            raise malformed(path, number, f"'{key}' stands there twice", "each key once")
        if not value and not empty:
            raise malformed(path, number, f"nothing after '{key}'", form)
        entries[key] = value
    return entries


def _split_key(line: str) -> tuple[str, str]:
    key, value = (*re.split(r"[ \t]", line, maxsplit=1), "")[:2]
    return key, value.strip(BLANKS)


def _audio(path: Path) -> tuple[Entries, list[str]]:
    """The file behind every recording, and a note on commands that only open one."""
    entries = _entries(path, "<recording> <path>")
    if not entries:
        raise DataError("is empty", where=path, fix="Expected: <recording> <path>.")
    opened = [key for key, value in entries.items() if value.endswith("|")]
    for number, line in lines_of(path):
        key, value = _split_key(line)
        if value.endswith("|"):
            entries[key] = _opened_file(value, path, number)
        elif re.search(r"\.ark:\d+$|\[[\d:,]*\]$", value):
            raise malformed(path, number, f"'{value}' is a place in an archive", "the path of an audio file")
    if not opened:
        return entries, []
    return entries, [f"{len(opened)} command(s) that only open a file stand as that file (first: {opened[0]})"]


def _opened_file(value: str, path: Path, number: int) -> str:
    """The file that a command only opens. Raises `DataError` for any other command; none is ever run."""
    command = value[:-1].strip()
    try:
        program, *words = shlex.split(command) or [""]
    except ValueError:
        program, words = "", []
    allowed = _OPENERS.get(Path(program).name)
    files = [word for word in words if allowed is not None and word not in allowed]
    if len(files) != 1 or files[0].startswith("-") or re.search(r"[|;&<>$`*?\n]", command):
        fix = "Commands are not run: write its output to a file, and that file's path here."
        raise DataError(f"line {number}: '{command} |' is a command", where=path, fix=fix)
    return files[0]


Segment = tuple[str, Stretch, str | None]


def _segments(path: Path, audio: Entries) -> dict[str, Segment]:
    segments: dict[str, Segment] = {}
    for number, line in lines_of(path):
        fields = re.split(r"[ \t]+", line)
        if len(fields) not in (4, 5):
            raise malformed(path, number, f"{len(fields)} fields", SEGMENT)
        utterance, recording, first, last, *channel = fields
        if utterance in segments:
            raise malformed(path, number, f"'{utterance}' stands there twice", "each utterance once")
        if recording not in audio:
            raise malformed(path, number, f"recording '{recording}' is not in wav.scp", "a recording of wav.scp")
        start, end = seconds(first), seconds(last)
        if start is None or end is None or start < 0 or (end < start and end != -1):
            raise malformed(path, number, f"'{first} {last}' is no stretch of time", SEGMENT)
        if channel and not (channel[0].isdecimal() and len(channel[0]) < 6):
            raise malformed(path, number, f"channel '{channel[0]}'", "a channel, 0 for the first")
        whole = start == 0 and end == -1
        place = Stretch() if whole else stretch(start, None if end == -1 else end)
        segments[utterance] = (recording, place, channel[0] if channel else None)
    if not segments:
        raise DataError("is empty", where=path, fix=f"Expected: {SEGMENT}.")
    return segments


def _row(utterance: str, audio: Entries, segments: Mapping[str, Segment]) -> dict[str, Value]:
    if utterance not in segments:
        return {"id": utterance, "path": audio[utterance]}
    recording, place, channel = segments[utterance]
    number = None if channel is None else float(channel)
    return {"id": utterance, "path": audio[recording], "recording": recording, "channel": number, **vars(place)}


def _add_files(folder: Path, rows: dict[str, dict[str, Value]], segmented: bool) -> set[str]:
    """Put what the other files say into the rows; the names of all files that were used."""
    used = {"wav.scp", "segments"} & {file.name for file in folder.iterdir()}
    known = {file.name for file in folder.glob("utt2*")} | {name for name in COLUMN_OF if (folder / name).is_file()}
    for name in sorted(known):
        column = _column_name(name, segmented)
        if column is None:
            continue
        entries = _entries(folder / name, "<utterance> <value>", empty=name == "text")
        _check_cover(folder, name, entries, rows)
        for key, value in entries.items():
            if column == "duration_s":
                _number(value, folder / name, key)
            rows[key][column] = value or None
        used.add(name)
    return used | _add_speakers(folder, rows) | _add_durations(folder, rows, segmented)


def _column_name(file: str, segmented: bool) -> str | None:
    """The column of a file; None for one that a manifest says otherwise, such as `utt2path`."""
    if file == "utt2dur":
        return "dur" if segmented else "duration_s"
    name = COLUMN_OF.get(file) or file.removeprefix("utt2")
    if name in NO_FILE and file not in COLUMN_OF:
        return None
    return name if name in COLUMNS else extra_name(name, "utt2")


def _number(text: str, path: Path, key: str) -> float:
    value = seconds(text)
    if value is None:
        raise DataError(f"'{key}': '{text}' is not a number", where=path)
    return value


def _check_cover(folder: Path, name: str, entries: Entries, rows: Mapping[str, object]) -> None:
    """No file may speak of utterances that are not there; utt2spk must speak of all."""
    unknown = next((key for key in entries if key not in rows), None)
    if unknown is not None:
        lists = "segments" if (folder / "segments").is_file() else "wav.scp"
        raise DataError(f"'{unknown}' is not in {lists}", where=folder / name, fix="Make the files cover each other.")
    missing = next((key for key in rows if key not in entries), None)
    if missing is not None and name == "utt2spk":
        raise DataError(f"says nothing of '{missing}'", where=folder / name, fix="Make the files cover each other.")


def _add_speakers(folder: Path, rows: dict[str, dict[str, Value]]) -> set[str]:
    """spk2utt must say what utt2spk says, or stands in for it; spk2gender is by speaker."""
    used = set()
    spk2utt, gender = folder / "spk2utt", folder / "spk2gender"
    if spk2utt.is_file():
        used.add("spk2utt")
        said = {
            utterance: speaker
            for speaker, utterances in _entries(spk2utt, "<speaker> <utterance> ...").items()
            for utterance in re.split(r"[ \t]+", utterances)
        }
        if not (folder / "utt2spk").is_file():
            _check_cover(folder, "spk2utt", said, rows)
            for utterance, speaker in said.items():
                rows[utterance]["speaker"] = speaker
        for utterance in {**said, **rows}:
            other = rows.get(utterance, {}).get("speaker")
            if said.get(utterance) != other:
                what = f"gives '{utterance}' to {said.get(utterance)}, utt2spk to {other}"
                raise DataError(what, where=spk2utt, fix="Make spk2utt anew from utt2spk.")
    if gender.is_file() and not (folder / "utt2gender").is_file():
        used.add("spk2gender")
        sexes = _entries(gender, "<speaker> m|f")
        if unknown := set(sexes) - {row.get("speaker") for row in rows.values()}:
            raise DataError(f"'{min(unknown)}' is no speaker of utt2spk", where=gender)
        for row in rows.values():
            row["sex"] = sexes.get(str(row.get("speaker")))
    return used


def _add_durations(folder: Path, rows: dict[str, dict[str, Value]], segmented: bool) -> set[str]:
    """The length of whole recordings: reco2dur where there are segments, or no utt2dur."""
    file = folder / "reco2dur"
    if not file.is_file() or not (segmented or not (folder / "utt2dur").is_file()):
        return set()
    lengths = _entries(file, "<recording> <seconds>")
    for row in rows.values():
        name = str(row.get("recording") or row["id"])
        row["duration_s"] = _number(lengths[name], file, name) if name in lengths else None
    return {"reco2dur"}


def _order_notes(folder: Path, used: set[str]) -> list[str]:
    unsorted = []
    for name in sorted(used):
        keys = [_split_key(line)[0] for _, line in lines_of(folder / name)]
        if keys != sorted(keys, key=c_locale):
            unsorted.append(name)
    return [f"not sorted as Kaldi asks (LC_ALL=C): {', '.join(unsorted)}; rows keep their order"] if unsorted else []


def _overshoot_note(rows: Iterable[Mapping[str, Value]]) -> list[str]:
    late = [
        row["id"]
        for row in rows
        if (end := row.get("end")) is not None and (length := row.get("duration_s")) is not None and end > length  # type: ignore[operator]
    ]
    return [f"{len(late)} segment(s) end after their recording (first: {late[0]})"] if late else []
