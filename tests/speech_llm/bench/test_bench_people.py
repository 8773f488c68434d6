"""The judge against ratings by people, and the form for them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from bench_runs import Row, item, write_run
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import cohen_kappa_score

from earwitness.core.errors import DataError
from earwitness.speech_llm.bench.people import write_form
from earwitness.speech_llm.bench.report import Asked, make_report
from earwitness.speech_llm.bench.scores import read_run
from earwitness.speech_llm.bench.statements import statements


def write_ratings(path: Path, rows: list[tuple[str, str, str]]) -> Path:
    path.write_text("item_id,rater,rating\n" + "".join(f"{','.join(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_figures_are_those_of_scipy_and_scikit_learn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    judge = rng.integers(0, 6, 40)
    people = np.clip(judge + rng.integers(-1, 3, 40), 0, 5)
    folder = write_run(tmp_path / "run", [Row("C", (int(rating),)) for rating in judge])
    ratings = write_ratings(tmp_path / "human.csv", [(f"i{n}", "", str(rating)) for n, rating in enumerate(people)])
    report = make_report(folder, Asked(human=ratings, resamples=300))
    found = report.human
    assert found is not None
    assert (found.items, found.raters, found.alpha) == (40, 1, None)
    assert found.pearson.value == pytest.approx(pearsonr(judge, people).statistic)
    assert found.spearman.value == pytest.approx(spearmanr(judge, people).statistic)
    assert found.kappa.value == pytest.approx(cohen_kappa_score(judge, people, weights="quadratic", labels=range(6)))
    assert found.mae.value == pytest.approx(np.abs(judge - people).mean())
    assert found.bias.value == pytest.approx((judge - people).mean())
    for figure in (found.pearson, found.kappa, found.bias):
        assert figure.value is not None
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low < figure.value < figure.high
    assert any("Only 40 answers were rated" in one.text for one in statements(report))


def test_several_raters_have_an_agreement_of_their_own(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [Row("C", (n % 6,)) for n in range(12)])
    rows = [(f"i{n}", rater, str(n % 6)) for n in range(12) for rater in ("ann", "bob")]
    found = make_report(folder, Asked(human=write_ratings(tmp_path / "h.csv", rows), resamples=100)).human
    assert found is not None
    assert (found.raters, found.alpha, found.mae.value) == (2, 1.0, 0.0)
    assert (found.sensitivity, found.specificity) == (1.0, 1.0)


def test_rows_that_say_nothing_are_counted_and_wrong_ones_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [Row("C", (3,)), Row("C", (4,)), Row("C", status="error")])
    rows = [("i0", "", "3"), ("i1", "", ""), ("i2", "", "2"), ("elsewhere", "", "1")]
    found = make_report(folder, Asked(human=write_ratings(tmp_path / "h.csv", rows), resamples=100)).human
    assert found is not None
    assert (found.items, found.passed_over) == (1, 3)
    for wrong, what in (([("i0", "", "6")], "line 2: '6' is no rating"), ([("i0", "", "3")] * 2, "has rated this")):
        with pytest.raises(DataError, match=what):
            make_report(folder, Asked(human=write_ratings(tmp_path / "w.csv", wrong), resamples=100))


def test_the_form_is_blind_spread_over_scores_and_safe_in_a_spreadsheet(tmp_path: Path) -> None:
    rows = [Row("C", (0,)) for _ in range(50)] + [Row("DE", (5,)) for _ in range(5)]
    rows.append(Row("DG", (1,), item=item(900, "DG", ""), text="=HYPERLINK(1)"))
    run = read_run(write_run(tmp_path / "run", rows))
    assert write_form(tmp_path / "form.csv", run, 12) == 12
    text = (tmp_path / "form.csv").read_text(encoding="utf-8")
    written = list(csv.DictReader(text.splitlines()))
    assert {kind: sum(row["type"] == kind for row in written) for kind in ("C", "DE", "DG")} == {
        "C": 6,
        "DE": 5,
        "DG": 1,
    }
    assert "qwen" not in text
    assert "'=HYPERLINK(1)" in text
    filled = text.replace(",\n", ",3\n")
    (tmp_path / "filled.csv").write_text(filled, encoding="utf-8")
    found = make_report(tmp_path / "run", Asked(human=tmp_path / "filled.csv", resamples=100)).human
    assert found is not None
    assert found.items == 12
