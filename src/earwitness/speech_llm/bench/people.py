"""A judge against people: ratings by hand of answers of a run, and how far the judge agrees with them.

The file is a CSV with `rating` (0..5), `answer_key` or `item_id`, and `rater` where several have rated. `write_form`
makes one to fill in: drawn over types and scores, without the name of the model.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earwitness.core.errors import DataError, MetricError
from earwitness.core.writing import write_atomically
from earwitness.metrics.agreement import cohen_kappa, krippendorff_alpha, quadratic_weights
from earwitness.metrics.resampled import Resampling
from earwitness.metrics.scores import Floats
from earwitness.speech_llm.bench.alarms import correlations, ranks
from earwitness.speech_llm.bench.figures import Figure
from earwitness.speech_llm.bench.records import BEST
from earwitness.speech_llm.bench.scores import POINTS, Run

COLUMNS = ("answer_key", "item_id", "type", "question", "reference", "answer", "rater", "rating")


@dataclass(frozen=True)
class HumanRating:
    """One rating of one answer by one person."""

    place: int  # of the item in the run
    rater: str
    rating: float


@dataclass(frozen=True)
class HumanAgreement:
    """The judge's mean rating against the mean of people's, 0..5, over `items` answers; intervals over clips.

    `kappa` is quadratic weighted, of whole ratings. `bias` is judge minus people. `alpha` is Krippendorff's among the
    people, the ceiling for any judge (None for one rater). `sensitivity` and `specificity` are the judge's at 3 and
    more. `passed_over` rows of the file had no rating or were about no scored answer.
    """

    items: int
    raters: int
    passed_over: int
    pearson: Figure
    spearman: Figure
    kappa: Figure
    mae: Figure
    bias: Figure
    alpha: float | None
    sensitivity: float | None
    specificity: float | None


def read_ratings(path: str | Path, run: Run) -> tuple[list[HumanRating], int]:
    """The ratings of a CSV that are about answers of the run, and how many rows were passed over.

    Raises `DataError` naming the line for a rating that is none, and for columns that are missing.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError("there is no such file", where=path, fix="Check the path.") from None
    except (OSError, UnicodeDecodeError):
        raise DataError("cannot be read as UTF-8 text", where=path) from None
    rows = csv.DictReader(io.StringIO(text))
    names = set(rows.fieldnames or ())
    if "rating" not in names or not names & {"answer_key", "item_id"}:
        fix = "Columns: rating, and answer_key or item_id; rater where several have rated."
        raise DataError("has not the columns of ratings", where=path, fix=fix)
    places = {item.id: place for place, item in enumerate(run.items)}
    keys = {answer.key: places[answer.item_id] for answer in run.real.answers}
    found: dict[tuple[int, str], HumanRating] = {}
    passed = 0
    for row in rows:
        where = f"{path}, line {rows.line_num}"
        word = (row.get("rating") or "").strip()
        by_key = (row.get("answer_key") or "").strip()
        place = keys.get(by_key) if by_key else places.get((row.get("item_id") or "").strip())
        if not word or place is None or not np.isfinite(run.real.means[place]):
            passed += 1
            continue
        one = HumanRating(place, (row.get("rater") or "").strip() or "1", _rating(word, where))
        if (one.place, one.rater) in found:
            what = f"rater '{one.rater}' has rated this answer before"
            raise DataError(what, where=where, fix="Leave one of the rows out.")
        found[one.place, one.rater] = one
    if not found:
        raise DataError("rates no answer of the run that has a score", where=path, fix="Make a form with --form.")
    return list(found.values()), passed


def human_agreement(path: str | Path, run: Run, resampling: Resampling) -> HumanAgreement:
    """The judge of a run against the ratings of a file. Raises `DataError`."""
    ratings, passed = read_ratings(path, run)
    raters = sorted({one.rater for one in ratings})
    table = np.full((len(raters), len(run.items)), np.nan)
    for one in ratings:
        table[raters.index(one.rater), one.place] = one.rating
    there = np.isfinite(table).any(axis=0)
    people = np.full(len(run.items), np.nan)
    people[there] = np.nanmean(table[:, there], axis=0)
    judge = np.where(there, run.real.means / POINTS, np.nan)
    right, called = people[there] >= 3, judge[there] >= 3 - 1e-9
    return HumanAgreement(
        items=int(there.sum()),
        raters=len(raters),
        passed_over=passed,
        pearson=_correlation(judge, people, resampling),
        spearman=_correlation(ranks(judge), ranks(people), resampling),
        kappa=_kappa(judge, people, there, resampling),
        mae=_mean(np.abs(judge - people), resampling),
        bias=_mean(judge - people, resampling),
        alpha=_alpha(table),
        sensitivity=round(float(called[right].mean()), 6) if right.any() else None,
        specificity=round(float((~called[~right]).mean()), 6) if (~right).any() else None,
    )


def write_form(path: str | Path, run: Run, count: int = 100, seed: int = 1) -> int:
    """A CSV to fill in with ratings: about `count` answers, evenly from each type and each fifth of the scores.

    How many were written. Text that a spreadsheet would take for a formula gets a leading apostrophe.
    """
    rng = np.random.default_rng(seed)
    groups: dict[tuple[str, int], list[int]] = {}
    for place in rng.permutation(len(run.items)).tolist():
        score = run.real.means[place]
        if np.isfinite(score):
            groups.setdefault((run.items[place].type, min(4, int(score // 20))), []).append(place)
    chosen: list[int] = []
    while len(chosen) < count and any(groups.values()):
        for _, places in sorted(groups.items()):
            if places and len(chosen) < count:
                chosen.append(places.pop())
    answers = {one.item_id: one for one in reversed(run.real.answers) if one.status == "ok"}
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    written = 0
    for place in sorted(chosen):
        item = run.items[place]
        if item.id in answers:
            answer = answers[item.id]
            texts = {"question": item.question, "reference": item.answer, "answer": answer.text or ""}
            shown = {name: _no_formula(text) for name, text in texts.items()}
            writer.writerow({"answer_key": answer.key, "item_id": item.id, "type": item.type, **shown})
            written += 1
    write_atomically(path, file.getvalue())
    return written


def _rating(word: str, where: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    if not 0 <= value <= BEST:
        raise DataError(f"'{word}' is no rating", where=where, fix=f"Give 0 to {BEST}, or leave it empty.")
    return value


def _correlation(first: Floats, second: Floats, resampling: Resampling) -> Figure:
    value, drawn = correlations(first, second, resampling)
    units = resampling.carrying(np.isfinite(first) & np.isfinite(second))
    return Figure.of(value, resampling.interval(value, drawn, units))


def _mean(values: Floats, resampling: Resampling) -> Figure:
    value = float(np.nanmean(values))
    units = resampling.carrying(np.isfinite(values))
    return Figure.of(value, resampling.interval(value, resampling.means(values[:, None])[:, 0], units))


def _kappa(
    judge: Floats, people: Floats, there: np.ndarray[tuple[int], np.dtype[np.bool_]], resampling: Resampling
) -> Figure:
    """From the table of whole ratings, summed in each resample."""
    levels = BEST + 1
    whole = [np.floor(np.where(there, values, 0) + 0.5).astype(int) for values in (judge, people)]
    cells = np.zeros((len(judge), levels * levels))
    cells[np.arange(len(judge)), whole[0] * levels + whole[1]] = there
    weights = quadratic_weights(levels)
    value = float(cohen_kappa(cells.sum(axis=0).reshape(levels, levels), weights))
    drawn = np.asarray(cohen_kappa(resampling.sums(cells).reshape(-1, levels, levels), weights))
    return Figure.of(value, resampling.interval(value, drawn, resampling.carrying(there)))


def _alpha(table: Floats) -> float | None:
    try:
        value = krippendorff_alpha(table)
    except MetricError:
        return None
    return round(value, 6) if np.isfinite(value) else None


def _no_formula(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def suspects(runs: Sequence[Run]) -> tuple[str, ...]:
    """The ids of items of the first run that every run has answered and scored 0: their reference may be wrong.

    A refusal says nothing of a reference.
    """
    zero: list[set[str]] = []
    for run in runs:
        answered = {answer.item_id for answer in run.real.answers if answer.status == "ok"}
        scores = zip(run.items, run.real.means, strict=True)
        zero.append({item.id for item, value in scores if value == 0 and item.id in answered})
    everywhere = set.intersection(*zero)
    return tuple(item.id for item in runs[0].items if item.id in everywhere)
