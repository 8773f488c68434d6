"""The test of an emotion model after its training, on the speakers that its recipe held out.

results/test.csv        every recording's answer
results/emotion.json    the figures over them
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from earwitness.corpora.tables import read_table
from earwitness.evaluation.assessing.outcome import (
    EVIDENCE,
    Outcome,
    figure,
    leaks_of,
    read_side,
    results_folder,
    write_result,
)
from earwitness.evaluation.emotions import (
    TABLE,
    Accuracies,
    EmotionFigures,
    answer,
    figures,
    left_out_answers,
    write_answers,
)
from earwitness.evaluation.judging.judge import JudgeOptions
from earwitness.metrics.bootstrap import Interval
from earwitness.paralinguistic.emotion import EmotionEstimator
from earwitness.paralinguistic.labels import read_labels
from earwitness.training.card import ResultRow
from earwitness.training.left_out import LEFT_OUT
from earwitness.training.model_folder import TestedRanges

RESULT = "emotion.json"
FEW_SPEAKERS = 5
LEFT_OUT_WORDS = {"clean": "each speaker left out once", "narrow_band": "the same in a telephone band (300-3400 Hz)"}


def assess_emotion(model: str | Path, run: str | Path, options: JudgeOptions | None = None) -> Outcome:
    """Judge an emotion model on the test side of its run. Writes into `run/results`. Raises `ModelError`."""
    run, options = Path(run), options or JudgeOptions()
    estimator = EmotionEstimator.load(model)
    leaks = leaks_of(estimator.info)
    if (run / LEFT_OUT).is_file():
        return _assess_left_out(run, estimator, options)
    rows = read_side(run, "test")
    if rows is None:
        reason = "It was not tested: its recipe held out no speakers."
        return Outcome(limits=(EVIDENCE,), inconclusive=(reason, *leaks))
    results = results_folder(run, estimator.info)
    table = answer(estimator, read_labels(rows, estimator.emotion.labels))
    write_answers(table, results / TABLE)
    found = figures(table, options.n_resamples, options.seed)
    source = results / RESULT
    told, failures = list(figure_rows(found, source)), _failures(found)
    failed = int(table["error"].is_not_null().sum())
    write_result(source, "earwitness model card .", told, failed=failed, confusion=confusion_table(found.whole))
    return Outcome(
        rows=tuple(told),
        limits=(EVIDENCE,),
        known_failures=tuple(failures),
        inconclusive=(*leaks, *(one for one in failures if one.startswith("not shown"))),
    )


def _assess_left_out(run: Path, estimator: EmotionEstimator, options: JudgeOptions) -> Outcome:
    """The figures of a head that was judged by leaving out every speaker once (`training.left_out`)."""
    results, written = results_folder(run, estimator.info), read_table(run / LEFT_OUT)
    source = results / RESULT
    told: list[ResultRow] = []
    failures: list[str] = []
    matrix: dict[str, object] = {}
    for name, words in LEFT_OUT_WORDS.items():
        part = written.filter(pl.col("condition") == name)
        if not part.height:
            continue
        table = left_out_answers(part)
        write_answers(table, results / f"left-out.{name}.csv")
        found = figures(table, options.n_resamples, options.seed)
        told += figure_rows(found, source, words)
        if name == "clean":
            failures, matrix = _failures(found), confusion_table(found.whole)
    write_result(source, "earwitness model card .", told, failed=0, confusion=matrix)
    clean = written.filter(pl.col("condition") == "clean")
    speakers, corpora = clean["speaker"].n_unique(), ", ".join(sorted(clean["corpus"].unique().to_list()))
    amount = f"judged on {clean.height} recordings of {speakers} speakers of {corpora}, each left out of training"
    return Outcome(
        rows=tuple(told),
        tested=TestedRanges(notes=(amount, "never tested on other corpora by this card")),
        limits=(EVIDENCE,),
        known_failures=tuple(failures),
        inconclusive=tuple(one for one in failures if one.startswith("not shown")),
    )


def figure_rows(found: EmotionFigures, source: Path, side: str = "test side") -> list[ResultRow]:
    """All figures as rows of a card or a result."""
    rows = []
    for one in (found.whole, *found.parts):
        data = side if one is found.whole else f"{side}, {one.name}"
        matrix, count = one.matrix, round(one.matrix.items)
        for metric, value, interval in (
            ("WA (accuracy), %", matrix.wa, one.wa),
            ("UA (mean recall), %", matrix.ua, one.ua),
            ("macro-F1, %", matrix.macro_f1, one.macro_f1),
        ):
            rows.append(_row(data, metric, value, interval, count, source))
        constant = f"{data}: always the most frequent class"
        rows.append(_row(constant, "WA (accuracy), %", matrix.majority_wa, one.majority, count, source))
        rows.append(_row(f"{data}: any constant call", "UA (mean recall), %", matrix.chance_ua, None, count, source))
    items = round(found.whole.matrix.items)
    rows.append(_row(side, "recordings answered, %", found.answered, found.answered_interval, items, source))
    if found.answered > 0:
        answered = round(found.answered * items)
        wa, interval = found.answered_wa, found.answered_wa_interval
        rows.append(_row(f"{side}, answered", "WA (accuracy), %", wa, interval, answered, source))
    if found.order is not None:
        what = f"{side}, pairs of one speaker, emotion and text"
        rows.append(_row(what, "stronger estimated higher, %", found.order.right, None, found.order.pairs, source))
    return rows


def _row(data: str, metric: str, value: float, interval: Interval | None, files: int, source: Path) -> ResultRow:
    return figure(data, metric, value if interval is None else interval, files, source)


def confusion_table(one: Accuracies) -> dict[str, object]:
    """The matrix as plain data."""
    return {"rows are truth, columns calls": list(one.matrix.classes), "counts": one.matrix.counts.tolist()}


def _failures(found: EmotionFigures) -> list[str]:
    whole = found.whole
    failures = []
    if whole.speakers < FEW_SPEAKERS:
        failures.append(f"tested on {whole.speakers} speaker(s) only")
    if whole.ua is not None and whole.ua.low <= whole.matrix.chance_ua:
        failures.append(f"not shown to be better than a constant call (UA {whole.matrix.chance_ua:.1%})")
    if not found.answered:
        failures.append("gives no answer: no threshold reached the wanted accuracy on dev")
    sexes = [one for one in found.parts if one.name.startswith("sex ")]
    if len(sexes) == 2 and abs(sexes[0].matrix.ua - sexes[1].matrix.ua) > 0.1:
        first, second = sorted(sexes, key=lambda one: one.matrix.ua)
        failures.append(
            f"worse for {first.name} (UA {first.matrix.ua:.1%}) than for {second.name} ({second.matrix.ua:.1%})"
        )
    return failures
