"""Corpora of sound classes: UrbanSound8K, ESC-50 and AudioMNIST. The class stands in the column `sound`, the fold that
the corpus gives in `fold`: folds are never drawn anew (slices of one recording lie in one fold).

    urbansound8k    metadata/UrbanSound8K.csv, audio/foldN/NAME     (Salamon et al., ACM MM 2014)
    esc50           meta/esc50.csv, audio/NAME                      (Piczak, ACM MM 2015)
    audiomnist      SPK/DIGIT_SPK_TAKE.wav, by speaker              (Becker et al., arXiv 1807.03418)
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl

from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers.base import Imported, Reader
from earwitness.corpora.readers.lists import read_text

SOUND, FOLD = "sound", "fold"  # extra columns of the manifests
URBANSOUND8K = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")
ESC50 = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
OLDEST = 120  # years; AudioMNIST gives one speaker 1234
SEXES: Mapping[str, str] = {"male": "m", "female": "f"}
DIGIT = re.compile(r"([0-9])_([0-9]+)_([0-9]+)\.wav")

Line = Mapping[str, str]


def read_urbansound8k(path: Path) -> Imported:
    """The CSV, or the corpus folder. `start` and `end` of the list are times in the source, not in the slice: they stay
    out. Raises `DataError` naming the line."""
    file = _find(path, ("metadata/UrbanSound8K.csv", "UrbanSound8K.csv"))
    audio = file.parent.parent / "audio" if file.parent.name == "metadata" else file.parent / "audio"

    def row(line: Line) -> dict[str, str]:
        name = line["slice_file_name"]
        return {
            "id": name,
            "path": str(audio / f"fold{line['fold']}" / name),
            SOUND: line["class"],
            FOLD: line["fold"],
            "source_recording": line["fsID"],
            "licence": "CC-BY-NC-3.0",
            "foreground": {"1": "yes", "2": "no"}.get(line["salience"], line["salience"]),
        }

    return _read(file, URBANSOUND8K, row, folds=10, number="classID", name="class")


def read_esc50(path: Path) -> Imported:
    """The CSV, or the corpus folder. Raises `DataError` naming the line."""
    file = _find(path, ("meta/esc50.csv", "esc50.csv"))
    audio = file.parent.parent / "audio" if file.parent.name == "meta" else file.parent / "audio"

    def row(line: Line) -> dict[str, str]:
        return {
            "id": line["filename"],
            "path": str(audio / line["filename"]),
            SOUND: line["category"],
            FOLD: line["fold"],
            "source_recording": line["src_file"],
            "esc10": line["esc10"],
            "licence": "CC-BY-3.0" if line["esc10"] == "True" else "CC-BY-NC-3.0",
        }

    return _read(file, ESC50, row, folds=5, number="target", name="category")


def read_audiomnist(path: Path) -> Imported:
    """The corpus folder, or its `data`: `SPK/DIGIT_SPK_TAKE.wav`; ages and sexes from `audioMNIST_meta.txt` where it
    lies there. Raises `DataError` for a file of another name, or one that lies in another speaker's folder."""
    root = path / "data" if (path / "data").is_dir() else path
    files = sorted(root.glob("*/*.wav"))
    if not files:
        raise DataError("holds no SPK/DIGIT_SPK_TAKE.wav", where=path, fix="Name the folder of AudioMNIST.")
    people, notes = _people(root / "audioMNIST_meta.txt")
    rows: list[dict[str, str | float | None]] = []
    for file in files:
        found = DIGIT.fullmatch(file.name)
        if found is None or found[2] != file.parent.name:
            raise DataError("is not named DIGIT_SPK_TAKE.wav after its folder", where=file, fix="Correct the name.")
        place = file.relative_to(root).as_posix()
        said = {SOUND: found[1], "speaker": found[2], "take": found[3], "licence": "MIT"}
        age, sex = people.get(found[2], (None, None))
        rows.append({"id": place, "path": place, **said, "age": age, "sex": sex})
    speakers = {str(row["speaker"]) for row in rows}
    if people and (unknown := sorted(speakers - people.keys())):
        notes.append(f"nothing is said of the speaker(s) {', '.join(unknown)}")
    table = pl.DataFrame(rows, infer_schema_length=None)
    return Imported(Manifest.from_table(table, root, path), (f"{len(rows)} digits, {len(speakers)} speakers", *notes))


def _people(file: Path) -> tuple[dict[str, tuple[float | None, str | None]], list[str]]:
    """Age in years and sex by speaker, and notes on ages that cannot be; nothing where there is no list."""
    if not file.is_file():
        return {}, []
    people: dict[str, tuple[float | None, str | None]] = {}
    notes: list[str] = []
    try:
        for speaker, said in json.loads(read_text(file)).items():
            age = float(said["age"])
            if not 0 < age <= OLDEST:
                notes.append(f"speaker {speaker}: no age can be {said['age']}, so it stays empty")
            people[str(speaker)] = (age if 0 < age <= OLDEST else None, SEXES[said["gender"]])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"is not the JSON of speakers with `age` and `gender` ({type(error).__name__}: {error})"
        raise DataError(what, where=file, fix="Take the file that came with AudioMNIST.") from None
    return people, notes


SOUND_READERS: Mapping[str, Reader] = {
    "urbansound8k": read_urbansound8k,
    "esc50": read_esc50,
    "audiomnist": read_audiomnist,
}


def _find(path: Path, places: Sequence[str]) -> Path:
    if path.is_file():
        return path
    for place in places:
        if (path / place).is_file():
            return path / place
    raise DataError(f"holds no {places[0]}", where=path, fix="Name the corpus folder, or the CSV itself.")


def _read(
    file: Path, header: Sequence[str], row: Callable[[Line], dict[str, str]], *, folds: int, number: str, name: str
) -> Imported:
    """Rows of a CSV with this header, each with a fold from 1 to `folds` and a class whose number is its own."""
    reader = csv.reader(io.StringIO(read_text(file)))
    rows: list[dict[str, str]] = []
    names: dict[str, str] = {}
    seen: dict[str, int] = {}
    try:
        found = tuple(column.strip() for column in next(reader, []))
        if found != tuple(header):
            raise _fail(file, 1, f"the header is {','.join(found)} instead of {','.join(header)}")
        for values in reader:
            if not values:
                continue
            if len(values) != len(header):
                raise _fail(file, reader.line_num, f"has {len(values)} fields instead of {len(header)}")
            line = dict(zip(header, (value.strip() for value in values), strict=True))
            if line["fold"] not in {str(fold) for fold in range(1, folds + 1)}:
                raise _fail(file, reader.line_num, f"the fold is '{line['fold']}', not 1 to {folds}")
            if names.setdefault(line[number], line[name]) != line[name]:
                raise _fail(file, reader.line_num, f"{number} {line[number]} is '{names[line[number]]}' elsewhere")
            if (first := seen.setdefault(line[header[0]], reader.line_num)) != reader.line_num:
                raise _fail(file, reader.line_num, f"'{line[header[0]]}' stands in line {first} too")
            rows.append(row(line))
    except csv.Error as error:
        raise _fail(file, reader.line_num, f"is not CSV ({error})") from None
    if not rows:
        raise DataError("names no recording", where=file)
    root = file.parent.parent if file.parent.name in ("metadata", "meta") else file.parent
    table = pl.DataFrame([{**one, "path": Path(one["path"]).relative_to(root).as_posix()} for one in rows])
    missing = sum(not (root / place).is_file() for place in table["path"])
    notes = [f"{len(rows)} clips, {len(names)} classes, {table[FOLD].n_unique()} folds"]
    notes += [f"{missing} of the recordings are not there"] if missing else []
    return Imported(Manifest.from_table(table, root, file), tuple(notes))


def _fail(file: Path, line: int, what: str) -> DataError:
    return DataError(f"line {line}: {what}", where=file, fix="Is it the list that the corpus came with?")
