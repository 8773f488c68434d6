"""One label scheme for all emotion corpora: seven categories, and the strength of the emotion as an interval.

    labels = read_labels(manifest, LabelsConfig())
    labels.manifest         the rows that have a category, named as in `CATEGORIES`, in the column `emotion`
    print(labels.told())    what was dropped, corpus by corpus

This is the unified scheme of SpeechEQ (arXiv 2206.13101) as a reconstruction: the paper's own categories and levels are
not known. Each corpus has one explicit map; a label that it does not name is refused. Words that two corpora share
(three letters or more) must mean the same in both; codes of one or two letters are a corpus's own. The classes that a
corpus never uses are masked where a model learns from it, so that "not annotated" is not learnt as "absent".

The strength of an emotion is an interval [lo, hi] of 0..1, since corpora cut the scale differently. A manifest gives it
in the extra columns `intensity_lo` and `intensity_hi`, or as one number in `intensity`, or as the corpus's own level
(RAVDESS `normal`, CREMA-D `HI`) in the extra column `intensity_level`; where several are given the first counts.
Activation (IEMOCAP) is another construct and is not taken for it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from earwitness.core.config import Config, nearest
from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest

Category = Literal["neutral", "happy", "sad", "angry", "fear", "disgust", "surprise"]
CATEGORIES: tuple[Category, ...] = ("neutral", "happy", "sad", "angry", "fear", "disgust", "surprise")
DROPPED = "dropped"
CALM = "calm"
CODE = 2  # letters: labels up to this length are codes of one corpus, longer ones are words
LEVEL, LOW, HIGH = "intensity_level", "intensity_lo", "intensity_hi"  # extra columns of a manifest
Floats = NDArray[np.float64]
Cells = dict[str, str | float | None]  # of a row, by column


class CorpusLabels(Config):
    """How a corpus names emotions: raw label to category, `dropped`, or `calm` (which the recipe decides on).

    `levels`: how it names strengths, each an interval of 0..1.
    """

    emotions: dict[str, Category | Literal["dropped", "calm"]]
    levels: dict[str, tuple[float, float]] = Field(default_factory=dict)

    def categories(self, calm_is_neutral: bool) -> tuple[Category, ...]:
        """Those that the corpus uses, in the order of `CATEGORIES`."""
        used = {_meant(value, calm_is_neutral) for value in self.emotions.values()}
        return tuple(name for name in CATEGORIES if name in used)


def _named(*, dropped: Sequence[str] = (), calm: Sequence[str] = (), **categories: Sequence[str]) -> dict[str, str]:
    """The categories' own names, and others for them."""
    given = {name: names for name, names in (*categories.items(), (DROPPED, dropped), (CALM, calm)) if names}
    return {name: category for category, names in given.items() for name in (category, *names) if name != DROPPED}


def _corpus(levels: Mapping[str, tuple[float, float]] | None = None, **names: Sequence[str]) -> CorpusLabels:
    return CorpusLabels.model_validate({"emotions": _named(**names), "levels": dict(levels or {})})


THIRD = 1 / 3
CORPORA: Mapping[str, CorpusLabels] = {
    # the four-class convention: excited counts as happy; all else was rarely agreed on
    "iemocap": _corpus(
        neutral=("neu",),
        happy=("hap", "exc", "excited", "happiness"),
        sad=("sadness",),
        angry=("ang", "anger"),
        dropped=(
            "fru",
            "frustrated",
            "fea",
            "fear",
            "sur",
            "surprise",
            "surprised",
            "dis",
            "disgust",
            "oth",
            "other",
            "xxx",
        ),
    ),
    "esd": _corpus(
        neutral=("Neutral", "中立"),
        happy=("Happy", "快乐", "happiness"),
        sad=("Sad", "伤心", "sadness"),
        angry=("Angry", "生气", "anger"),
        surprise=("Surprise", "惊喜", "surprised"),
    ),
    "casia": _corpus(
        neutral=("neutral",),
        happy=("happiness",),
        sad=("sadness",),
        angry=("anger",),
        fear=("fearful",),
        surprise=("surprised",),
    ),
    "emodb": _corpus(
        neutral=("N",),
        happy=("F", "happiness"),
        sad=("T", "sadness"),
        angry=("W", "anger"),
        fear=("A", "fearful"),
        disgust=("E",),
        dropped=("L", "boredom", "bored"),
    ),
    "ravdess": _corpus(
        neutral=("01",),
        happy=("03", "happiness"),
        sad=("04", "sadness"),
        angry=("05", "anger"),
        fear=("06", "fearful"),
        disgust=("07",),
        surprise=("08", "surprised"),
        calm=("02", "calm"),
        levels={"normal": (0.0, 0.5), "01": (0.0, 0.5), "strong": (0.5, 1.0), "02": (0.5, 1.0)},
    ),
    "crema-d": _corpus(
        neutral=("NEU",),
        happy=("HAP", "happiness"),
        sad=("SAD", "sadness"),
        angry=("ANG", "anger"),
        fear=("FEA", "fearful"),
        disgust=("DIS",),
        levels={"LO": (0.0, THIRD), "MD": (THIRD, 2 * THIRD), "HI": (2 * THIRD, 1.0)}
        | {"low": (0.0, THIRD), "medium": (THIRD, 2 * THIRD), "high": (2 * THIRD, 1.0)},
    ),
    "nemo": _corpus(
        neutral=("neutral",),
        happy=("happiness",),
        sad=("sadness",),
        angry=("anger",),
        fear=("fearful",),
        surprise=("surprised",),
    ),
    "savee": _corpus(
        neutral=("n",),
        happy=("h", "happiness"),
        sad=("sa", "sadness"),
        angry=("a", "anger"),
        fear=("f", "fearful"),
        disgust=("d",),
        surprise=("su", "surprised"),
    ),
    "tess": _corpus(
        neutral=("neutral",),
        happy=("happiness",),
        sad=("sadness",),
        angry=("anger",),
        fear=("fearful",),
        disgust=("disgust",),
        surprise=("ps", "surprised", "pleasant_surprise"),
    ),
}
"""The maps, by the corpus's name without what `named_corpus` takes away."""
UNSPECIFIED = ("xx", "unspecified")  # names of strengths that say nothing, in any corpus


class LabelsConfig(Config):
    """`calm`: dropped, or merged into neutral. `neutral_intensity`: none (a neutral item has no strength), or low
    ([0, 0.1]). `corpora`: maps of corpora that are not in the table `CORPORA`; those in it cannot be redefined.
    """

    calm: Literal["drop", "neutral"] = "drop"
    neutral_intensity: Literal["none", "low"] = "none"
    corpora: dict[str, CorpusLabels] = Field(default_factory=dict)

    def corpus(self, name: str) -> CorpusLabels:
        """The map of a corpus. Raises `DataError` for one that is not known, or that is defined twice."""
        own = {named_corpus(given): labels for given, labels in self.corpora.items()}
        if both := sorted(own.keys() & CORPORA.keys()):
            raise DataError(f"labels.corpora redefines '{both[0]}'", fix="Name your corpus otherwise.")
        known = {**CORPORA, **own}
        if (key := named_corpus(name)) not in known:
            guess = nearest(key, known)
            hint = f" Did you mean '{guess}'?" if guess else ""
            fix = f"Known: {', '.join(known)}; give others a map under labels.corpora.{hint}"
            raise DataError(f"no label map for the corpus '{name}'", fix=fix)
        return known[key]

    def mask(self, name: str) -> NDArray[np.bool_]:
        """Which of `CATEGORIES` a corpus uses, [7]."""
        used = self.corpus(name).categories(self.calm == "neutral")
        return np.array([category in used for category in CATEGORIES])


def named_corpus(name: str) -> str:
    """The key of a corpus in `CORPORA`.

    >>> [named_corpus(name) for name in ("CREMA_D", "cremad", "nemo_nc", "EmoDB")]
    ['crema-d', 'crema-d', 'nemo', 'emodb']
    """
    key = name.strip().lower().replace("_", "-").removesuffix("-nc")
    return {"cremad": "crema-d", "emo-db": "emodb"}.get(key, key)


@dataclass(frozen=True)
class Labels:
    """Rows that have a category; `intensity` [N, 2] their intervals, NaN where there is none; what was `dropped`: how
    many rows by (corpus, label)."""

    manifest: Manifest
    intensity: Floats
    config: LabelsConfig
    dropped: Mapping[tuple[str, str], int]

    @property
    def corpora(self) -> tuple[str, ...]:
        """Names of the corpora, as in the manifest, sorted."""
        return tuple(sorted(set(self.manifest.table["corpus"])))

    @property
    def category(self) -> NDArray[np.int64]:
        """Of each row, its place in `CATEGORIES`."""
        return np.array([CATEGORIES.index(name) for name in self.manifest.table["emotion"]], np.int64)

    def told(self) -> list[str]:
        """What was left out, in words; for the run record."""
        rows = [f"{count} row(s) of {corpus} dropped: '{label}'" for (corpus, label), count in self.dropped.items()]
        return [*rows, f"calm: {self.config.calm}; strength known of {self._known} of {len(self.manifest)} rows"]

    @property
    def _known(self) -> int:
        return int(np.isfinite(self.intensity[:, 0]).sum())


def read_labels(manifest: Manifest, config: LabelsConfig | None = None) -> Labels:
    """Every row's category and strength. Rows without an emotion are dropped and counted like unused labels.

    Raises `DataError` for a row without a corpus, a corpus without a map, a label that its map does not name, words
    that two corpora understand differently, and a strength that is no interval of 0..1.
    """
    config = config or LabelsConfig()
    table = manifest.table
    if "corpus" not in table.columns or table["corpus"].null_count():
        raise DataError("rows have no `corpus`, so their labels cannot be read", fix="Fill the column `corpus`.")
    names = sorted(set(table["corpus"]))
    maps = {name: config.corpus(name) for name in names}
    require_agreement(maps)
    found, intervals, dropped = [], [], Counter[tuple[str, str]]()
    for row in label_cells(manifest):
        labels = maps[str(row["corpus"])]
        category = read_category(row, labels, config)
        found.append(category)
        intervals.append(read_strength(row, labels, category, config))
        if category is None:
            dropped[str(row["corpus"]), str(row["emotion"] or "no label")] += 1
    kept = pl.Series(found, dtype=pl.String)
    intensity = np.array(intervals).reshape(-1, 2)[kept.is_not_null().to_numpy()]
    rows = table.with_columns(emotion=kept).filter(kept.is_not_null())
    return Labels(manifest.with_table(rows), intensity, config, dict(sorted(dropped.items())))


def require_agreement(maps: Mapping[str, CorpusLabels]) -> None:
    """Raise `DataError` where a word (three letters or more) means different categories in two corpora."""
    meaning: dict[str, tuple[str, str]] = {}
    for corpus, labels in maps.items():
        for word, category in labels.emotions.items():
            if len(word) <= CODE or not word.isascii():
                continue
            known, other = meaning.setdefault(word.lower(), (category, corpus))
            if known != category and DROPPED not in (known, category):
                what = f"the label '{word}' means {known} in '{other}' and {category} in '{corpus}'"
                raise DataError(what, fix="Train on one of them, or rename the label in one.")


def require_classes(labels: Labels, side: str) -> None:
    """Raise `DataError` where a side (or fold) of a split has fewer than two categories."""
    there = sorted(set(labels.manifest.table["emotion"]))
    if len(there) < 2:
        only = f"one category only ({there[0]})" if there else "no row with a category"
        raise DataError(f"the side '{side}' has {only}", fix="Split otherwise: speakers of each side need all classes.")


def label_table(config: LabelsConfig | None = None) -> list[tuple[str, str, str, str]]:
    """The scheme as rows (corpus, category, its labels, strengths): to print, or for a page."""
    config = config or LabelsConfig()
    rows = []
    for name in [*CORPORA, *config.corpora]:
        labels = config.corpus(name)
        strengths = ", ".join(f"{level} [{lo:.3g}, {hi:.3g}]" for level, (lo, hi) in labels.levels.items())
        for category in (*CATEGORIES, DROPPED):
            raw = [
                word for word, value in labels.emotions.items() if _meant(value, config.calm == "neutral") == category
            ]
            if raw:
                rows.append((name, category, ", ".join(raw), strengths or "none"))
    return rows


def read_category(row: Cells, labels: CorpusLabels, config: LabelsConfig) -> str | None:
    """The category of a row of `label_cells`, None where it is dropped. The label counts as written, or else without
    regard to case where that names one thing. Raises `DataError` for one that the corpus's map does not name."""
    if row["emotion"] is None:
        return None
    raw = str(row["emotion"])
    found = labels.emotions.get(raw)
    if found is None:
        found = next((value for word, value in labels.emotions.items() if word.lower() == raw.lower()), None)
    if found is None:
        guess = nearest(raw, labels.emotions)
        hint = f" Did you mean '{guess}'?" if guess else ""
        fix = f"It has: {', '.join(labels.emotions)}.{hint}"
        what = f"the label '{raw}' is not in the map of the corpus '{row['corpus']}'"
        raise DataError(what, where=f"row '{row['id']}', column `emotion`", fix=fix)
    meant = _meant(found, config.calm == "neutral")
    return None if meant == DROPPED else meant


def _meant(value: str, calm_is_neutral: bool) -> str:
    return value if value != CALM else "neutral" if calm_is_neutral else DROPPED


def label_cells(manifest: Manifest) -> list[Cells]:
    """What rows say of their emotion: `id`, `corpus`, `emotion`, and the columns of strength that there are."""
    wanted = ("id", "corpus", "emotion", "intensity", LOW, HIGH, LEVEL)
    return manifest.table.select(name for name in wanted if name in manifest.table.columns).to_dicts()


def read_strength(row: Cells, labels: CorpusLabels, category: str | None, config: LabelsConfig) -> tuple[float, float]:
    """[lo, hi] of a row of `label_cells`; NaN where nothing is said of it. Raises `DataError` for what is no interval
    of 0..1."""
    nothing = (math.nan, math.nan)
    if category is None:
        return nothing
    where = f"row '{row['id']}'"
    given = _given(row, labels, where)
    if given is not None:
        lo, hi = given
        if not 0 <= lo <= hi <= 1:
            what = f"{lo:g} is outside of 0..1" if lo == hi else f"{lo:g} to {hi:g} is no interval of 0..1"
            raise DataError(f"the intensity {what}", where=where, fix="Scale it to 0..1.")
    if category == "neutral":
        return (0.0, 0.1) if config.neutral_intensity == "low" else nothing
    return given or nothing


def _given(row: Cells, labels: CorpusLabels, where: str) -> tuple[float, float] | None:
    lo, hi = row.get(LOW), row.get(HIGH)
    if (lo is None) != (hi is None):
        raise DataError(f"has one of `{LOW}` and `{HIGH}` alone", where=where, fix="Give both ends, or neither.")
    if lo is not None and hi is not None:
        return _number(lo, where), _number(hi, where)
    if (one := row.get("intensity")) is not None:
        return float(one), float(one)
    level = row.get(LEVEL)
    if level is None or str(level).lower() in UNSPECIFIED:
        return None
    if str(level) not in labels.levels:
        known = ", ".join(labels.levels) or "none"
        raise DataError(f"unknown intensity level '{level}' of '{row['corpus']}'", where=where, fix=f"Known: {known}.")
    return labels.levels[str(level)]


def _number(value: str | float, where: str) -> float:
    try:
        found = float(value)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise DataError(f"the intensity '{value}' is no number", where=where, fix="Write 0 to 1, or leave it empty.")
    return found
