"""TIMIT: `TRAIN/DR1/FCJF0/SA1.WAV` (NIST SPHERE), the speakers in `DOC/SPKRINFO.TXT` (LDC93S1).

Ages are exact, from the dates of recording and birth. Whole years would be half a year too low on average.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from earwitness.core.errors import DataError
from earwitness.corpora.readers.base import Imported
from earwitness.corpora.readers.lists import read_text
from earwitness.corpora.readers.named_files import SENTENCE, Values, imported

SIDES: Mapping[str, str] = {"TRAIN": "train", "TEST": "test", "TRN": "train", "TST": "test"}
PLACE = re.compile(r"(TRAIN|TEST)/DR([1-8])/([FM])(\w{3}\d)/(S[AIX]\d+)\.WAV(\.WAV)?", re.IGNORECASE)
DATE = re.compile(r"(\d\d)/(\d\d)/(\d\d)")
HEIGHT = re.compile(r"(\d)'(\d{1,2})\"?")
DAYS, CM = 365.25, 2.54


@dataclass(frozen=True)
class Person:
    """One line of SPKRINFO: id without the letter of the sex, sex, region, side; age in years at the recording and
    height in cm, None where not known."""

    id: str
    sex: str
    dialect: str
    side: str
    age: float | None
    height_cm: float | None


def read_timit(path: Path) -> Imported:
    """The corpus folder. `split` is the corpus's own, whose speakers differ; `sentence` tells SA1 and SA2, which all
    speak, from the others.

    Raises `DataError` naming file or line: a speaker that SPKRINFO lacks, or who is of another sex or side there.
    """
    files = sorted(file for file in path.rglob("*") if PLACE.search(file.relative_to(path).as_posix()))
    if not files:
        raise DataError("holds no TRAIN/DR1/FCJF0/SA1.WAV", where=path, fix="Name the folder of TRAIN and TEST.")
    info = next((file for file in sorted(path.rglob("*")) if file.name.lower() == "spkrinfo.txt"), None)
    people = {person.id: person for person in read_speakers(info)} if info else {}
    rows = [_row(path, file, people, info) for file in files]
    notes = [] if info else ["no DOC/SPKRINFO.TXT: ages and heights stay empty"]
    voices = {row["speaker"]: row for row in rows}.values()
    if info and (unknown := sum(row["age"] is None for row in voices)):
        notes.append(f"{unknown} speaker(s) without a date of birth have no age")
    return imported(rows, path, notes)


def read_speakers(file: Path) -> tuple[Person, ...]:
    """`SPKRINFO.TXT`: ID, sex, region, side, dates of recording and birth, height; what follows is not read.

    Raises `DataError` naming the line.
    """
    people: dict[str, Person] = {}
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith(";"):
            continue
        fields = line.split(maxsplit=7)
        if len(fields) < 7 or fields[1] not in ("M", "F") or fields[3] not in ("TRN", "TST"):
            what = f"line {number}: is not ID, sex, region, TRN or TST, two dates, height"
            raise DataError(what, where=file, fix="Is it SPKRINFO.TXT?")
        name, sex, dialect, side, recorded, born, height = fields[:7]
        if name in people:
            raise DataError(f"line {number}: the speaker {name} stands there twice", where=file)
        age = age_at(recorded, born, f"{file}, line {number}")
        people[name] = Person(name, sex.lower(), dialect, SIDES[side], age, height_in_cm(height))
    return tuple(people.values())


def age_at(recorded: str, born: str, where: object = None) -> float | None:
    """Years from MM/DD/YY to MM/DD/YY, both 19YY; None where one is not known (`??/??/??`). `DataError` for days that
    are none, and births after the recording."""
    days = [DATE.fullmatch(text) for text in (recorded, born)]
    if not all(days):
        return None
    try:
        first, second = (date(1900 + int(day[3]), int(day[1]), int(day[2])) for day in days if day)
    except ValueError:
        raise DataError(f"'{recorded}' or '{born}' is no day", where=where) from None
    if second >= first:
        raise DataError(f"was born on {born} and recorded on {recorded}", where=where)
    return (first - second).days / DAYS


def height_in_cm(text: str) -> float | None:
    """Of feet and inches, with or without the mark of the inches; None for another form.

    >>> [round(height_in_cm(text) or 0, 2) for text in ("5'11\\"", "5'11", "6'0\\"")]
    [180.34, 180.34, 182.88]
    """
    found = HEIGHT.fullmatch(text)
    if found is None or int(found[2]) > 11:
        return None
    return (12 * int(found[1]) + int(found[2])) * CM


def _row(root: Path, file: Path, people: Mapping[str, Person], info: Path | None) -> Values:
    place = file.relative_to(root).as_posix()
    found = PLACE.search(place)
    assert found is not None  # it was found by this very pattern
    side, dialect, sex, name, sentence = (part.upper() for part in found.groups()[:5])
    person = people.get(name)
    if info and person is None:
        raise DataError(f"has no speaker {name}", where=info, fix=f"{place} is theirs.")
    if person and (person.sex, person.side) != (sex.lower(), SIDES[side]):
        raise DataError(f"says otherwise of the speaker {name} than {place}", where=info)
    return {
        "id": f"{side}/DR{dialect}/{sex}{name}/{sentence}",
        "path": place,
        "corpus": "timit",
        "label": "bonafide",
        "language": "en",
        "licence": "LDC User Agreement",
        "speaker": f"timit:{sex}{name}",
        "sex": sex.lower(),
        "age": person.age if person else None,
        "height_cm": f"{person.height_cm:.2f}" if person and person.height_cm else None,
        "dialect": f"DR{dialect}",
        SENTENCE: sentence,
        "transcript": _transcript(file),
        "split": SIDES[side],
    }


def _transcript(file: Path) -> str | None:
    """The list beside a recording: first and last sample, then the words."""
    stem = file.name.split(".")[0]
    for suffix in (".TXT", ".txt"):
        if (beside := file.parent / f"{stem}{suffix}").is_file():
            fields = read_text(beside).split(maxsplit=2)
            return fields[2].strip() if len(fields) == 3 else None
    return None
