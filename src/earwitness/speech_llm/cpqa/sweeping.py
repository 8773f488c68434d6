"""Thresholds of the consistency filter against human labels: UWA, retention and evenness over a grid (x, y).

Retention is not monotone in the thresholds as a whole, for what one class wins another may lose; so it is told class
by class. Without labels there is no optimum, and none is claimed (section 6.5 of the sheet on CPQA).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from earwitness.core.errors import DataError
from earwitness.corpora.tables import read_table
from earwitness.metrics.classification import confusion
from earwitness.speech_llm.cpqa.classes import CLASSES, LABELLED, SENTIMENTS, Emotion, canonical
from earwitness.speech_llm.cpqa.filters import Thresholds, drop_of_window, normalised_entropy
from earwitness.speech_llm.cpqa.forms import WindowRow

UPPER = (0.3, 0.4, 0.5, 0.6, 0.7)
LOWER = (0.2, 0.3, 0.4, 0.5, 0.6)
KEYS = {"win_id": "win_id", "seg_id": "seg_id", "rec_id": "rec_id", "id": "rec_id", "path": "rec_id"}
Truth = Mapping[str, Emotion]
"""Human labels by `win_id`."""


@dataclass(frozen=True)
class Guess:
    """What a filter knows of a window."""

    emotion: Emotion
    valence: float | None
    truth: Emotion | None = None


@dataclass(frozen=True)
class Cell:
    """One pair of thresholds: UWA among the kept windows (None: no labels, or nothing kept), the share that is kept, of
    each class (as called) too, and the normalised entropy of the kept classes."""

    thresholds: Thresholds
    uwa: float | None
    retention: float
    of_class: Mapping[Emotion, float]
    entropy: float


@dataclass(frozen=True)
class Sweep:
    """A grid, and the UWA of all windows without a filter beside it (None: no labels)."""

    cells: tuple[Cell, ...]
    unfiltered: float | None
    windows: int


def sweep(guesses: Sequence[Guess], upper: Sequence[float] = UPPER, lower: Sequence[float] = LOWER) -> Sweep:
    """Every pair with y <= x. Where some windows have a label, those alone are looked at.

    Raises `DataError` where there are no windows.
    """
    judged = [one for one in guesses if one.truth is not None] or list(guesses)
    if not judged:
        raise DataError("holds no windows", fix="Condense longer recordings.")
    pairs = [(x, y) for x in upper for y in lower if y <= x]
    cells = tuple(_cell(judged, Thresholds(upper=x, lower=y)) for x, y in pairs)
    return Sweep(cells, _uwa(judged), len(judged))


def best(found: Sweep, least: float = 0.3) -> Cell:
    """The cell of the highest UWA among those that keep at least this share; of equals the one that keeps more.

    Raises `DataError` where there are no labels, or no cell keeps so much.
    """
    if found.unfiltered is None:
        fix = "Give labels of people: --labels TABLE."
        raise DataError("without human labels no thresholds are better than others", fix=fix)
    enough = [cell for cell in found.cells if cell.uwa is not None and cell.retention >= least]
    if not enough:
        most = max(cell.retention for cell in found.cells)
        raise DataError(f"no thresholds keep {least:.0%} of the windows; at most {most:.1%}", fix="Ask for less.")
    return max(enough, key=lambda cell: (cell.uwa or 0.0, cell.retention))


def read_truth(path: Path, windows: Sequence[WindowRow]) -> tuple[Truth, Counter[str]]:
    """Human labels of windows from a table with `emotion` and one of `win_id`, `seg_id`, `rec_id` (or `id`, `path`);
    and how many rows have a label that is none of the nine classes, by the label.

    Raises `DataError` for a table without these columns, and where it knows none of the windows.
    """
    table = read_table(path)
    key = next((name for name in KEYS if name in table.columns), None)
    if key is None or "emotion" not in table.columns:
        fix = f"Give `emotion` and one of {', '.join(KEYS)}."
        raise DataError("is no table of labels", where=path, fix=fix)
    labels: dict[str, Emotion] = {}
    unknown: Counter[str] = Counter()
    for name, raw in table.select(key, "emotion").iter_rows():
        emotion = None if raw is None else canonical(str(raw))
        if emotion is not None:
            labels[str(name)] = emotion
        elif raw is not None:
            unknown[str(raw)] += 1
    found = {one.win_id: labels[of] for one in windows if (of := str(getattr(one, KEYS[key]))) in labels}
    if not found:
        raise DataError("labels none of the windows", where=path, fix=f"Its `{key}` must be that of {KEYS[key]}.")
    return found, unknown


def guesses_of(windows: Sequence[WindowRow], truth: Truth | None = None) -> list[Guess]:
    """Of the rows of a condensed set."""
    return [Guess(one.emotion, one.valence, (truth or {}).get(one.win_id)) for one in windows]


def told(found: Sweep) -> Iterator[str]:
    """The grid as lines to print."""
    uwa = "not known: no labels" if found.unfiltered is None else f"{100 * found.unfiltered:.1f} %"
    yield f"{found.windows} windows; UWA of all: {uwa}"
    names = [name for name in LABELLED if any(not math.isnan(cell.of_class[name]) for cell in found.cells)]
    yield "    x     y   UWA %  kept %  entropy  kept of " + " ".join(f"{name:>9}" for name in names)
    for cell in found.cells:
        score = "     -" if cell.uwa is None else f"{100 * cell.uwa:>6.1f}"
        shares = " ".join(f"{100 * cell.of_class[name]:>9.1f}" for name in names)
        x, y = cell.thresholds.upper, cell.thresholds.lower
        yield f"{x:>5.2f} {y:>5.2f}  {score}  {100 * cell.retention:>6.1f}  {cell.entropy:>7.3f}          {shares}"


def _cell(guesses: Sequence[Guess], thresholds: Thresholds) -> Cell:
    kept = [one for one in guesses if drop_of_window(one.emotion, one.valence, thresholds) is None]
    called, left = Counter(one.emotion for one in guesses), Counter(one.emotion for one in kept)
    shares = {name: left[name] / called[name] if called[name] else math.nan for name in SENTIMENTS}
    return Cell(thresholds, _uwa(kept), len(kept) / len(guesses), shares, normalised_entropy(left))


def _uwa(guesses: Sequence[Guess]) -> float | None:
    """Unweighted accuracy, mean recall of the classes that occur; None without labels."""
    labelled = [(one.truth, one.emotion) for one in guesses if one.truth is not None]
    if not labelled:
        return None
    truth, called = zip(*labelled, strict=True)
    return confusion(truth, called, CLASSES).ua
