"""Score files of the field's challenges and toolkits, read as tables and written as submissions.

    LA_E_1000147 A10 spoof -1.25              ASVspoof 2019: utterance, attack, key, score
    LA_E_1000147 -1.25                        ASVspoof 2021, CtrSVDD, the Speech Anti-Spoofing Arena
    filename<tab>cm-score                     ASVspoof 5, with this header
    spk<tab>filename<tab>cm-score<tab>asv-score<tab>sasv-score      ASVspoof 5, track 2
    filename,score                            CtrSVDD, comma separated with this header
    enrol test 0.71 target                    Kaldi, with or without the label; ASVspoof 2021 ASV alike; sasv: or spoof

Any of them may be gzipped. The form is told by header, number of fields and task; each is higher = bona fide or same
speaker unless its publisher says otherwise, which no file states (`LabelledScores.negated`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import polars.selectors as cs
from numpy.typing import NDArray

from earwitness.core.errors import DataError, UsageError
from earwitness.core.hashing import sha256_file
from earwitness.core.plain_files import read_plain, unzipped
from earwitness.core.writing import TABLE_FORMATS, write_atomically
from earwitness.corpora.tables import read_table
from earwitness.evaluation.judging.tasks import Task


@dataclass(frozen=True)
class _Shape:
    """How a submission looks."""

    task: Task
    separator: str = " "
    header: str = ""


_SHAPES: Mapping[str, _Shape] = {
    "asvspoof5": _Shape("deepfake", "\t", "filename\tcm-score\n"),
    "asvspoof2021": _Shape("deepfake"),
    "arena": _Shape("deepfake"),
    "ctrsvdd": _Shape("deepfake", ",", "filename,score\n"),
    "kaldi": _Shape("speaker"),
}

# what the fields of a line without header mean, by their number
_FIELDS: Mapping[Task, Mapping[int, tuple[str, ...]]] = {
    "deepfake": {2: ("id", "score"), 4: ("id", "system", "label", "score")},
    "speaker": {
        3: ("enrol", "test", "score"),
        4: ("enrol", "test", "score", "label"),
        8: (
            *("enrol", "test", "score", "label"),
            *("magnitude_enrol", "magnitude_test", "cohort_mean_enrol", "cohort_mean_test"),
        ),
    },
    "sasv": {3: ("enrol", "test", "score"), 4: ("enrol", "test", "score", "label")},
}
_IDS: Mapping[Task, tuple[str, ...]] = {"deepfake": ("id",), "speaker": ("enrol", "test"), "sasv": ("enrol", "test")}
#: Scores of the countermeasure and of the verifier alone, beside those of both together (sasv).
SYSTEM_SCORES = ("cm_score", "asv_score")
# names in the headers of others, and ours
_NAMES: Mapping[Task, Mapping[str, str]] = {
    "deepfake": {"filename": "id", "file_name": "id", "cm-score": "score"},
    "speaker": {"spk": "enrol", "filename": "test", "asv-score": "score"},
    "sasv": {
        **{"spk": "enrol", "filename": "test", "sasv-score": "score"},
        **{"cm-score": "cm_score", "asv-score": "asv_score"},
    },
}
_BONAFIDE = ("bonafide", "bona-fide")
_NO_SYSTEM = ("-", *_BONAFIDE)
_LABELS: Mapping[Task, tuple[str, ...]] = {
    "deepfake": (*_BONAFIDE, "spoof", "deepfake"),
    "speaker": ("target", "nontarget"),
    "sasv": ("target", "nontarget", "spoof"),
}
_EXPECTED: Mapping[Task, str] = {
    "deepfake": "A line is `utt score` or `utt attack key score`, or the header names `filename` and `cm-score` or "
    "`score`.",
    "speaker": "A line is `enrol test score` with or without target or nontarget, or the header names `spk`, "
    "`filename` and `asv-score`.",
    "sasv": "A line is `enrol test score` with or without target, nontarget or spoof, or the header names `spk`, "
    "`filename` and `sasv-score`.",
}
_SCORE_NAMES = ("score", "cm-score", "asv-score", "sasv-score")  # one of them makes a line a header
_CLASSES = ("target", "nontarget", "spoof")
_NO_CLASS = f"has a key other than {', '.join(_CLASSES)}"
# ASVspoof 2021's keys of speaker trials, by the number of fields (LA, PA): where label and subset stand
_ASV_KEYS: Mapping[int, tuple[int, int]] = {8: (5, 7), 12: (9, 11)}


@dataclass(frozen=True)
class AsvScores:
    """Scores of a speaker verification system by class, each float64 [n]; higher = same speaker."""

    target: NDArray[np.float64]
    nontarget: NDArray[np.float64]
    spoof: NDArray[np.float64]


def task_of(path: str | Path) -> Task:
    """What a score table is about, by its columns: trials have two sides. A file of lines is taken for a detector's."""
    path = Path(path)
    if path.suffix in TABLE_FORMATS and path.is_file() and {"enrol", "test"} <= set(read_table(path).columns):
        return "speaker"
    return "deepfake"


def read_score_file(task: Task, path: str | Path) -> pl.DataFrame:
    """A score file of any form that the module lists, in our columns; our own tables come back as they are.

    `id` (trials: `enrol`, `test`) and `score`, with `system` and `label` where the file states attack and key. In a
    file of ASVspoof 5's track 2 a recording stands in several trials with one `cm-score`, which counts once.
    Raises `DataError` with what was seen and what is expected for another form, and naming the line for a score that
    is no finite number, an unknown key, a line of another form, and an id that stands there twice.
    """
    path = Path(path)
    if path.suffix not in TABLE_FORMATS:
        return _from_lines(task, _Lines.read(path))
    table = read_table(path)
    if "filename" not in table.columns or {"id", "path", "enrol"} & set(table.columns):
        return table
    return _checked(task, _renamed(task, table, path), _Places.of(path, 2, table.height))


def read_asv_scores(path: str | Path, key: str | Path | None = None, subset: str = "eval") -> AsvScores:
    """The scores of a speaker verification system that the tandem metrics need.

    Lines are `source key score` or `key score` with key target, nontarget or spoof (ASVspoof 2019), or `speaker trial
    score` (ASVspoof 2021) with its `trial_metadata.txt` as the `key`, of which the trials of `subset` count.
    Raises `DataError` for another form, a score that is no finite number, an unknown key, and trials that stand in one
    of the two files only.
    """
    lines = _Lines.read(Path(path))
    columns = _asv_columns(lines, key)
    table = lines.table(columns)
    table = table.with_columns(score=lines.places.finite(table["score"]))
    if key is None:
        lines.places.refuse(~table["label"].is_in(_CLASSES), _NO_CLASS)
    else:
        table = _with_asv_key(table, lines.places, _Lines.read(Path(key)), subset)
    target, nontarget, spoof = (table.filter(pl.col("label") == name)["score"].to_numpy() for name in _CLASSES)
    return AsvScores(target, nontarget, spoof)


def write_submission(form: str, table: pl.DataFrame, path: str | Path) -> str:
    """Write scores in the form of a challenge or toolkit, whole or not at all; gives the file's sha256, which pins it.

    `table` has `score` and `id` (Kaldi: `enrol`, `test` and, where known, `label`); higher = bona fide or same speaker.
    Ids go out as they are, scores as the shortest decimals that read back as the same number.
    Raises `UsageError` for an unknown form, and `DataError` where there are no rows, a row has an error or no finite
    score, or an id is missing, stands there twice, or holds a blank or separator: each trial stands there exactly once.
    """
    task, shape = submission_task(form), _SHAPES[form]
    _refuse_missing(task, table)
    ids = [table[name].cast(pl.String).alias(name) for name in _IDS[task]]
    rows = _Places.of("the submission", 1, table.height, "row")
    if "error" in table.columns:
        rows.refuse(table["error"].is_not_null(), "has an error", "A submission leaves no trial out.")
    scores = rows.finite(table["score"])
    for column in ids:
        unfit = column.str.contains(rf"^$|[\s{shape.separator}]").fill_null(True)
        rows.refuse(unfit, f"has a `{column.name}` that is empty or holds a blank or separator", "Rename it.")
    rows.refuse(_again(pl.DataFrame(ids)), "is the trial of a row before")
    exact = pl.Series("score", [repr(score) for score in scores], dtype=pl.String)
    columns = [*ids, exact, *_kaldi_label(task, table, rows)]
    lines = pl.select(pl.concat_str(columns, separator=shape.separator)).to_series()
    write_atomically(path, shape.header + "\n".join(lines) + "\n")
    return sha256_file(path)


def submission_task(form: str) -> Task:
    """What the submissions of this form are about. Raises `UsageError` for an unknown form."""
    if form not in _SHAPES:
        raise UsageError(f"there is no submission form '{form}'", fix=f"Forms: {', '.join(_SHAPES)}.")
    return _SHAPES[form].task


def _refuse_missing(task: Task, table: pl.DataFrame) -> None:
    missing = [name for name in (*_IDS[task], "score") if name not in table.columns]
    if missing:
        raise DataError(f"the scores have no column {_and(missing)}", fix=f"They have: {', '.join(table.columns)}.")
    if table.is_empty():
        raise DataError("there are no scores to submit", fix="Score at least one trial.")


def _kaldi_label(task: Task, table: pl.DataFrame, rows: _Places) -> list[pl.Series]:
    """The labels as a last column, where trials have them."""
    if task != "speaker" or "label" not in table.columns or table["label"].null_count() == table.height:
        return []
    label = table["label"].cast(pl.String)
    rows.refuse(~label.is_in(_LABELS[task]).fill_null(False), "is labelled neither target nor nontarget")
    return [label]


@dataclass(frozen=True)
class _Places:
    """Where the rows of a table stand, so that errors can say so."""

    where: object
    numbers: pl.Series
    word: str = "line"

    @classmethod
    def of(cls, where: object, first: int, count: int, word: str = "line") -> _Places:
        return cls(where, pl.int_range(first, first + count, eager=True), word)

    def filter(self, kept: pl.Series) -> _Places:
        return _Places(self.where, self.numbers.filter(kept), self.word)

    def refuse(self, wrong: pl.Series, what: str, fix: str | None = None) -> None:
        """Raise `DataError` naming the first place where `wrong` holds, and how many there are."""
        if wrong.any():
            count, first = int(wrong.sum()), int(wrong.arg_max() or 0)
            more = f" (and {count - 1} more)" if count > 1 else ""
            raise DataError(f"{self.word} {self.numbers[first]} {what}{more}", where=self.where, fix=fix)

    def finite(self, scores: pl.Series) -> pl.Series:
        """As float64. Raises `DataError` naming the first that is no finite number."""
        values = scores.cast(pl.Float64, strict=False)
        bad = ~values.is_finite().fill_null(False)
        shown = scores[int(bad.arg_max() or 0)] if bad.any() else None
        self.refuse(bad, f"has a score that is no finite number ({shown!r})")
        return values


@dataclass(frozen=True)
class _Lines:
    """The lines of a text file that are not empty: where they stand, and equally many fields in each."""

    path: Path
    places: _Places
    fields: pl.Series  # lists of text

    @classmethod
    def read(cls, path: Path) -> _Lines:
        """Fields stand between tabs where the first line has one, between commas in a header, else between blanks.

        Raises `DataError`.
        """
        lines = pl.Series("line", _text_of(path).split("\n"), dtype=pl.String)
        filled = lines.str.contains(r"\S")
        places, lines = _Places.of(path, 1, len(lines)).filter(filled), lines.filter(filled)
        if lines.is_empty():
            raise DataError("is empty", where=path, fix="A score file has one line a trial.")
        first = lines[0]
        if "\t" in first:
            fields = lines.str.split("\t").list.eval(pl.element().str.strip_chars())
        elif "score" in first.strip().split(","):
            fields = lines.str.strip_chars().str.split(",")
        else:
            fields = lines.str.extract_all(r"\S+")
        counts = fields.list.len()
        places.refuse(counts != counts[0], f"has another number of fields than the first ({counts[0]})")
        return cls(path, places, fields)

    @property
    def first(self) -> list[str]:
        return list(self.fields[0])

    def table(self, names: Sequence[str]) -> pl.DataFrame:
        """The fields, named from the first on."""
        return pl.DataFrame({name: self.fields.list.get(place) for place, name in enumerate(names)})


def _from_lines(task: Task, lines: _Lines) -> pl.DataFrame:
    """The table of a text file, by its header or else by the number of fields."""
    header = lines.first
    if not any(name in _SCORE_NAMES for name in header):
        return _checked(task, lines.table(_columns(task, lines)), lines.places)
    if len(set(header)) < len(header):
        raise DataError(f"names a column twice in its header: {_shown(header)}", where=lines.path)
    places = _Places(lines.path, lines.places.numbers[1:])
    return _checked(task, _renamed(task, lines.table(header)[1:], lines.path), places)


def _columns(task: Task, lines: _Lines) -> tuple[str, ...]:
    """What the fields mean; the first line must be of the form."""
    first, columns = lines.first, _FIELDS[task].get(len(lines.first), ())
    by_class = first[:1] if task == "deepfake" else first[1:2] if len(first) == 3 else []
    if by_class and by_class[0] in _CLASSES:
        fix = f"They serve the tandem metrics. {_EXPECTED[task]}"
        raise DataError(f"holds scores by class ({_shown(first)}), not by trial", where=lines.path, fix=fix)
    if not columns or pl.Series([first[columns.index("score")]]).cast(pl.Float64, strict=False)[0] is None:
        raise DataError(f"starts with {_shown(first)}: no score file known", where=lines.path, fix=_EXPECTED[task])
    return columns


def _renamed(task: Task, table: pl.DataFrame, path: Path) -> pl.DataFrame:
    """A table with a header of others in our columns."""
    names = {name: ours for name, ours in _NAMES[task].items() if name in table.columns and ours not in table.columns}
    renamed = table.rename(names)
    if not {*_IDS[task], "score"} <= set(renamed.columns):
        what = f"has the header {_shown(table.columns)}: no score file known"
        raise DataError(what, where=path, fix=_EXPECTED[task])
    return renamed


def _checked(task: Task, table: pl.DataFrame, places: _Places) -> pl.DataFrame:
    """The table with finite scores, known labels and each trial once."""
    if table.is_empty():
        raise DataError("holds no scores", where=places.where, fix="A score file has one line a trial.")
    table = table.with_columns(score=places.finite(table["score"]))
    absent = cs.string() & cs.by_name(*SYSTEM_SCORES, require_all=False)
    table = table.with_columns(absent.replace("-", None))
    for name in _IDS[task]:
        places.refuse(table[name].fill_null("") == "", f"has no `{name}`")
    if "label" in table.columns:
        known = table["label"].str.to_lowercase().is_in(_LABELS[task])
        places.refuse(~known.fill_null(False), "has an unknown label", f"Allowed: {', '.join(_LABELS[task])}.")
    if task == "deepfake" and "spk" in table.columns:
        once = ~_again(table.select("id", "score"))
        table, places = table.filter(once).select("id", "score"), places.filter(once)
    again = _again(table.select(_IDS[task]))
    places.refuse(again, f"has {_and(_IDS[task])} of a line before", "Give each trial one score.")
    if "system" in table.columns:
        none = pl.col("system").is_in(_NO_SYSTEM)
        if "label" in table.columns:  # some files give bona fide rows a code too (`A00`)
            none |= pl.col("label").str.to_lowercase().is_in(_BONAFIDE)
        table = table.with_columns(system=pl.when(~none).then("system"))
    return table


def _again(table: pl.DataFrame) -> pl.Series:
    """Which rows have stood there before."""
    return ~table.select(pl.struct(pl.all()).is_first_distinct()).to_series()


def _asv_columns(lines: _Lines, key: str | Path | None) -> list[str]:
    """What the fields of an ASV score file mean."""
    count = len(lines.first)
    if key is not None and count == 3:
        return ["speaker", "trial", "score"]
    if key is None and count in (2, 3) and lines.first[-2] in _CLASSES:
        return ["source", "label", "score"][-count:]
    needed = "With a key, lines are `speaker trial score`" if key else "Lines are `source key score` or `key score`"
    fix = f"{needed}; `speaker trial score` comes with the challenge's trial_metadata.txt as the key."
    raise DataError(f"starts with {_shown(lines.first)}: no ASV scores known", where=lines.path, fix=fix)


def _with_asv_key(table: pl.DataFrame, places: _Places, key: _Lines, subset: str) -> pl.DataFrame:
    """The trials of one subset with their label; the two files must hold the same trials."""
    count = len(key.first)
    if count not in _ASV_KEYS:
        fix = "Give keys/LA/ASV/trial_metadata.txt (8 fields) or keys/PA/ASV/trial_metadata.txt (12 fields)."
        raise DataError(f"starts with {_shown(key.first)}: no key of ASV trials known", where=key.path, fix=fix)
    label, part = _ASV_KEYS[count]
    fields = key.table([f"field {place}" for place in range(count)])
    known = fields.select(
        speaker="field 0", trial="field 1", label=f"field {label}", subset=f"field {part}", known=pl.lit(True)
    )
    key.places.refuse(~known["label"].is_in(_CLASSES), _NO_CLASS)
    parts = known["subset"].unique().sort()
    if subset not in parts:
        raise DataError(f"has no subset '{subset}'", where=key.path, fix=f"It has: {', '.join(parts)}.")
    pair = ["speaker", "trial"]
    for trials, its in ((table, places), (known, key.places)):
        its.refuse(_again(trials.select(pair)), "has the trial of a line before")
    joined = table.join(known, on=pair, how="left", maintain_order="left")
    places.refuse(joined["known"].is_null(), f"has a trial that is not in the key {key.path}")
    scored = known.join(table, on=pair, how="left", maintain_order="left")["score"]
    key.places.refuse(scored.is_null(), f"has a trial without a score in {places.where}")
    return joined.filter(pl.col("subset") == subset)


def _text_of(path: Path) -> str:
    try:
        data = read_plain(path)
        if data.startswith(b"\x1f\x8b"):
            data = unzipped(data, path)
    except FileNotFoundError:
        raise DataError("there is no such file", where=path, fix="Check the path.") from None
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", where=path) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 text (byte {error.start})", where=path, fix="Save it as UTF-8.") from None


def _shown(fields: list[str]) -> str:
    """Some fields for an error, not a whole file on one line."""
    shown = ", ".join(f"'{field[:40]}'" for field in fields[:13])
    return f"{len(fields)} field{'s' if len(fields) > 1 else ''} ({shown})"


def _and(names: Iterable[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)
