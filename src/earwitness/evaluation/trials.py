"""Lists of speaker trials: which recording is compared with which, and whether one person is behind both.

    1 id10270/a.wav id10270/b.wav               VoxCeleb form: label, enrolment, test; 1 = same speaker
    id10270/a.wav id10270/b.wav target          Kaldi form: enrolment, test, target or nontarget

Fields are separated by blanks, or by tabs where names hold blanks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from earwitness.core.config import nearest
from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest, Row

TrialLabel = Literal["target", "nontarget"]
_VOXCELEB: dict[str, TrialLabel] = {"1": "target", "0": "nontarget"}
_KALDI: dict[str, TrialLabel] = {"target": "target", "nontarget": "nontarget"}
_LABELS = "Use 1 or 0 in front, or target or nontarget at the end."


@dataclass(frozen=True)
class Trials:
    """Trials in the order of their list.

    `rows` are the distinct recordings; trial i compares rows[enrol[i]] with rows[test[i]] (both int64 [n]). `names`
    holds the two names of each trial as the list gives them, `labels` what it says.
    """

    rows: tuple[Row, ...]
    enrol: NDArray[np.int64]
    test: NDArray[np.int64]
    names: tuple[tuple[str, str], ...]
    labels: tuple[TrialLabel, ...]

    def __len__(self) -> int:
        return len(self.labels)


def read_trials(path: str | Path, manifest: Manifest) -> Trials:
    """The trials of a list whose names are ids or paths of the manifest.

    Raises `DataError` naming the line: not three fields, an unknown label or form, a name that the manifest does not
    have or has several times, a recording compared with itself, and a pair that stands there twice with two labels.
    """
    path = Path(path)
    known = _Names(manifest)
    places: dict[str, int] = {}
    pairs: dict[tuple[str, str], TrialLabel] = {}
    enrol, test, names, labels = [], [], [], []
    for where, pair, label in _lines(path):
        sides = [known.find(name, where) for name in pair]
        if sides[0].id == sides[1].id:
            raise DataError("compares a recording with itself", where=where, fix="Remove the line.")
        if pairs.setdefault(pair, label) != label:
            raise DataError(f"'{pair[0]}' and '{pair[1]}' stand there with the other label too", where=where)
        enrol.append(places.setdefault(sides[0].id, len(places)))
        test.append(places.setdefault(sides[1].id, len(places)))
        names.append(pair)
        labels.append(label)
    if not labels:
        raise DataError("holds no trials", where=path, fix="A line is: 1 enrolment test")
    rows = tuple(known.by_id[name] for name in places)
    return Trials(rows, np.array(enrol, np.int64), np.array(test, np.int64), tuple(names), tuple(labels))


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


def _lines(path: Path) -> Iterator[tuple[str, tuple[str, str], TrialLabel]]:
    """Place, pair and label of every line that is not empty."""
    form: dict[str, TrialLabel] | None = None
    for number, line in enumerate(_read(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        fields = [field.strip() for field in (line.split("\t") if "\t" in line else line.split())]
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
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError("there is no such trial list", where=path, fix="Check the path.") from None
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=path) from None
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 text (byte {error.start})", where=path, fix="Save it as UTF-8.") from None
