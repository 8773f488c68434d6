"""Lists of speaker trials: which recording is compared with which, and whether one person is behind both.

    1 id10270/a.wav id10270/b.wav               VoxCeleb form: label, enrolment, test; 1 = same speaker
    id10270/a.wav id10270/b.wav target          Kaldi form: enrolment, test, target or nontarget

Fields are separated by blanks, or by tabs where names hold blanks. Either form is written as it is read: there and back
nothing changes.

An enrolment of several recordings is a name of a list of Kaldi's kind (`spk2utt`), which trials then name instead of a
recording:

    anna a1.wav a2.wav a3.wav                   name, then its recordings
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from earwitness.core.config import nearest
from earwitness.core.errors import DataError
from earwitness.core.plain_files import read_plain
from earwitness.core.writing import write_atomically
from earwitness.corpora.manifest import Manifest, Row

TrialLabel = Literal["target", "nontarget"]
TrialForm = Literal["voxceleb", "kaldi"]
_VOXCELEB: dict[str, TrialLabel] = {"1": "target", "0": "nontarget"}
_KALDI: dict[str, TrialLabel] = {"target": "target", "nontarget": "nontarget"}
_LABELS = "Use 1 or 0 in front, or target or nontarget at the end."
_BLANK = re.compile(r"\s")
_UNREADABLE = re.compile(r"[\t\n\r]|^[\s\ufeff]|\s$|^$")  # in a name: what reading would take for something else
_VOXCELEB_SPEAKER = re.compile(r"(?:^|/)(id\d{5})/")


@dataclass(frozen=True)
class TrialList:
    """Trials in the order of their list: the two names of each, as the list gives them, and what it says of them."""

    names: tuple[tuple[str, str], ...]
    labels: tuple[TrialLabel, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def targets(self) -> int:
        """Trials of one speaker."""
        return self.labels.count("target")

    @property
    def speakers(self) -> frozenset[str] | None:
        """Who speaks, by names of VoxCeleb's kind (`id10270/...`); None where a name does not tell."""
        return _all_known(voxceleb_speaker(name) for name in {name for pair in self.names for name in pair})

    @property
    def summary(self) -> str:
        """In one line: `37,611 trials, 18,802 target, 40 speakers`."""
        speakers = self.speakers
        known = "speakers not known" if speakers is None else f"{len(speakers):,} speakers"
        return f"{len(self):,} trials, {self.targets:,} target, {known}"


@dataclass(frozen=True)
class Trials(TrialList):
    """A list over the recordings of a manifest.

    `rows` are the distinct recordings, `members` the places in it of each enrolment's recordings (one, where the list
    names a recording); trial i compares members[enrolment[i]] with rows[test[i]] (both int64 [n]).
    """

    rows: tuple[Row, ...]
    members: tuple[tuple[int, ...], ...]
    enrolment: NDArray[np.int64]
    test: NDArray[np.int64]

    @property
    def enrol(self) -> NDArray[np.int64]:
        """Where every enrolment is one recording: the place of each trial's in `rows`. Raises `DataError` where an
        enrolment is of several."""
        if any(len(places) > 1 for places in self.members):
            raise DataError("an enrolment is of several recordings", fix="Name one recording on each side.")
        return np.array([places[0] for places in self.members], np.int64)[self.enrolment]

    @property
    def speakers(self) -> frozenset[str] | None:
        """Who speaks, by the manifest, else by names of VoxCeleb's kind; None where that is not known of a row."""
        return _all_known(speaker_of(row) for row in self.rows)


def speaker_of(row: Row) -> str | None:
    """The speaker of a row: as the manifest says, else by a path of VoxCeleb's kind."""
    return row.speaker or voxceleb_speaker(row.path)


def voxceleb_speaker(name: str) -> str | None:
    """The speaker in a path of VoxCeleb's kind.

    >>> voxceleb_speaker("wav/id10270/x6uYqmx31kE/00001.wav")
    'id10270'
    """
    found = _VOXCELEB_SPEAKER.search(name)
    return found[1] if found else None


def read_trial_list(path: str | Path) -> TrialList:
    """A list by itself. Raises `DataError` naming the line, as `read_trials` does but for names."""
    names, labels = [], []
    for where, pair, label in _checked_lines(Path(path)):
        if pair[0] == pair[1]:
            raise _with_itself(where)
        names.append(pair)
        labels.append(label)
    return TrialList(tuple(names), tuple(labels))


Enrolments = Mapping[str, tuple[str, ...]]  # a name, and its recordings


def read_enrolments(path: str | Path) -> Enrolments:
    """A list of enrolments of several recordings. Raises `DataError` naming the line: a name without recordings or that
    stands there twice, or a recording that is named twice for one."""
    found: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(_read(Path(path)).split("\n"), start=1):
        where = f"{path}, line {number}"
        name, *recordings = _fields(line) or [""]
        if not name and not recordings:
            continue
        if not recordings or not name:
            raise DataError("names no recordings", where=where, fix="A line is: name recording recording ...")
        if name in found:
            raise DataError(f"'{name}' stands there twice", where=where, fix="Write all of its recordings in one line.")
        if len(set(recordings)) < len(recordings):
            raise DataError(f"'{name}' has a recording twice", where=where, fix="Name each once.")
        found[name] = tuple(recordings)
    if not found:
        raise DataError("holds no enrolments", where=path, fix="A line is: name recording recording ...")
    return found


def read_trials(path: str | Path, manifest: Manifest, enrolments: Enrolments | None = None) -> Trials:
    """The trials of a list whose names are ids or paths of the manifest, or on the first side names of `enrolments`.

    Raises `DataError` naming the line: not three fields, an unknown label or form, a name that the manifest does not
    have or has several times, a recording compared with itself, an enrolment of two speakers, and a pair that stands
    there twice with two labels.
    """
    known, places = _Names(manifest), _Places()
    enrol, test, names, labels = [], [], [], []
    for where, pair, label in _checked_lines(Path(path)):
        listed = enrolments is not None and pair[0] in enrolments
        of_model = enrolments[pair[0]] if enrolments is not None and listed else pair[:1]
        side = known.find(pair[1], where)
        model = [known.find(name, where) for name in of_model]
        if side.id in [row.id for row in model]:
            raise _with_itself(where)
        if len({speaker for row in model if (speaker := speaker_of(row))}) > 1:
            raise DataError(f"enrolment '{pair[0]}' holds two speakers", where=where, fix="Correct the list.")
        enrol.append(places.of_model(pair[0] if listed else None, model))
        test.append(places.of_row(side))
        names.append(pair)
        labels.append(label)
    return Trials(
        tuple(names),
        tuple(labels),
        tuple(known.by_id[name] for name in places.rows),
        tuple(places.members),
        np.array(enrol, np.int64),
        np.array(test, np.int64),
    )


class _Places:
    """Recordings and enrolments in the order in which trials name them first."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.members: list[tuple[int, ...]] = []
        self._models: dict[tuple[bool, str], int] = {}

    def of_row(self, row: Row) -> int:
        return self.rows.setdefault(row.id, len(self.rows))

    def of_model(self, name: str | None, rows: list[Row]) -> int:
        """`name` is that of a list; None for a recording by itself."""
        key = (name is None, rows[0].id if name is None else name)
        if key not in self._models:
            self._models[key] = len(self.members)
            self.members.append(tuple(self.of_row(row) for row in rows))
        return self._models[key]


def write_trials(path: str | Path, trials: TrialList, form: TrialForm) -> None:
    """Write a list in one of the forms, whole or not at all.

    Raises `DataError` naming the trial where a name could not be read back: it holds a tab or a line break, begins or
    ends with a blank, or stands where the other form has its label. Raises `UsageError` where it cannot be written.
    """
    write_atomically(path, trial_text(trials, form))


def trial_text(trials: TrialList, form: TrialForm) -> str:
    """The lines of a list. Raises `DataError` as `write_trials` does."""
    blanks = any(_BLANK.search(name) for pair in trials.names for name in pair)
    separator = "\t" if blanks else " "
    words = {label: word for word, label in (_VOXCELEB if form == "voxceleb" else _KALDI).items()}
    lines = []
    for number, (pair, label) in enumerate(zip(trials.names, trials.labels, strict=True), start=1):
        _check_names(pair, form, number)
        fields = (words[label], *pair) if form == "voxceleb" else (*pair, words[label])
        lines.append(separator.join(fields) + "\n")
    return "".join(lines)


def _check_names(pair: tuple[str, str], form: TrialForm, number: int) -> None:
    """Raises `DataError` for names that would not come back."""
    for name in pair:
        if _UNREADABLE.search(name):
            raise DataError(f"trial {number}: '{name}' cannot stand in a list", fix="Rename the recording.")
    taken = (pair[1] in _KALDI) if form == "voxceleb" else (pair[0] in _VOXCELEB)
    if taken:
        name = pair[1] if form == "voxceleb" else pair[0]
        raise DataError(f"trial {number}: '{name}' would be read as a label", fix="Rename it, or use the other form.")


def _all_known(speakers: Iterator[str | None]) -> frozenset[str] | None:
    found = set(speakers)
    return None if None in found else frozenset(name for name in found if name is not None)


class _Names:
    """The recordings of a manifest by id, and by path where that is clear."""

    def __init__(self, manifest: Manifest) -> None:
        self.by_id = {row.id: row for row in manifest.rows()}
        self.by_path: dict[str, Row | None] = {}  # None: several rows are of this file
        for row in self.by_id.values():
            self.by_path[row.path] = None if row.path in self.by_path else row

    def find(self, name: str, where: str) -> Row:
        row = self.by_id.get(name) or self.by_path.get(name)
        if row is not None:
            return row
        if name in self.by_path:
            raise DataError(f"'{name}' names several rows of INPUT", where=where, fix="Give their ids.")
        names = [*self.by_id, *self.by_path]
        guess = nearest(name, names) if len(names) <= 10_000 else None  # it compares with every name
        hint = f" Did you mean '{guess}'?" if guess else ""
        raise DataError(f"'{name}' is not in INPUT", where=where, fix=f"Names are ids or paths in INPUT.{hint}")


def _with_itself(where: str) -> DataError:
    return DataError("compares a recording with itself", where=where, fix="Remove the line.")


def _checked_lines(path: Path) -> Iterator[tuple[str, tuple[str, str], TrialLabel]]:
    """The lines, of which there must be some, and none that says of a pair what another does not."""
    pairs: dict[tuple[str, str], TrialLabel] = {}
    for where, pair, label in _lines(path):
        if pairs.setdefault(pair, label) != label:
            raise DataError(f"'{pair[0]}' and '{pair[1]}' stand there with the other label too", where=where)
        yield where, pair, label
    if not pairs:
        raise DataError("holds no trials", where=path, fix="A line is: 1 enrolment test")


def _lines(path: Path) -> Iterator[tuple[str, tuple[str, str], TrialLabel]]:
    """Place, pair and label of every line that is not empty."""
    form: dict[str, TrialLabel] | None = None
    for number, line in enumerate(_read(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        fields = _fields(line)
        if len(fields) != 3:
            fix = "A trial is `1 enrolment test` or `enrolment test target`; use tabs where names hold blanks."
            raise DataError(f"has {len(fields)} fields instead of 3", where=where, fix=fix)
        found = _form(fields, form, where)
        if form is not None and found is not form:
            raise DataError("is not of the form of the lines before", where=where, fix="Keep to one form in a list.")
        form = found
        first, second, third = fields
        if found is _VOXCELEB:
            yield where, (second, third), _label(found, first, where)
        else:
            yield where, (first, second), _label(found, third, where)


def _fields(line: str) -> list[str]:
    """By tabs where there are any, else by blanks."""
    return [field.strip() for field in (line.split("\t") if "\t" in line else line.split())]


def _form(fields: list[str], before: dict[str, TrialLabel] | None, where: str) -> dict[str, TrialLabel]:
    """Which form a line has: by its label, else that of the lines before (whose labels then refuse it)."""
    voxceleb, kaldi = fields[0] in _VOXCELEB, fields[2] in _KALDI
    if voxceleb == kaldi:
        if before is None:
            raise DataError("has no label", where=where, fix=_LABELS)
        return before
    return _VOXCELEB if voxceleb else _KALDI


def _label(form: dict[str, TrialLabel], label: str, where: str) -> TrialLabel:
    if label not in form:
        raise DataError(f"unknown label '{label}'", where=where, fix=_LABELS)
    return form[label]


def _read(path: Path) -> str:
    try:
        return read_plain(path).decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError("there is no such trial list", where=path, fix="Check the path.") from None
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=path) from None
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 text (byte {error.start})", where=path, fix="Save it as UTF-8.") from None
