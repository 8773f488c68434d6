"""The pictures of score files: each says what was measured, and names in them are plain text."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from earwitness.core.errors import MetricError, MissingPartError
from earwitness.evaluation.judging import plots
from earwitness.evaluation.judging.labelled import LabelledScores
from earwitness.evaluation.judging.plots import write_comparison_plot, write_plots
from earwitness.evaluation.judging.tasks import Task
from earwitness.metrics.calibration import cllr, elub_bounds, min_cllr
from earwitness.metrics.detection import eer, error_rates

pytest.importorskip("matplotlib")


def made_up(task: Task = "deepfake", n: int = 60, gap: float = 2.0, seed: int = 0, llr: bool = True) -> LabelledScores:
    rng = np.random.default_rng(seed)
    score = np.concatenate([rng.normal(gap, 1, n), rng.normal(0, 1, n)])
    table = pl.DataFrame(
        {
            "id": [str(number) for number in range(2 * n)],
            "score": score,
            "llr": pl.Series(2 * score - gap if llr else [None] * (2 * n), dtype=pl.Float64),
            "positive": [True] * n + [False] * n,
        }
    )
    return LabelledScores(task, table, (), (), {})


def words(path: Path) -> list[str]:
    """All text in a picture, which must be well-formed."""
    tree = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    return ["".join(node.itertext()).strip() for node in tree.iter("{http://www.w3.org/2000/svg}text")]


def has(path: Path, text: str) -> bool:
    return any(text in found for found in words(path))


def test_all_four_say_what_was_measured(tmp_path: Path) -> None:
    scores = made_up()
    written = write_plots(scores, tmp_path / "plots")
    assert [path.name for path in written] == ["det.svg", "scores.svg", "tippett.svg", "reliability.svg"]
    det, histogram, tippett, reliability = written
    sides = scores.positive["score"], scores.negative["score"]
    llrs = scores.positive["llr"], scores.negative["llr"]
    assert has(det, f"EER {eer(*sides).value:.2%} (interpolated)")
    assert has(histogram, "bona fide (60)")
    assert has(histogram, f"{eer(*sides).threshold:.3g}")
    assert has(tippett, f"Cllr {cllr(*llrs):.3f} bits, minCllr {min_cllr(*llrs):.3f} bits")
    low, high = (bound / np.log(10) for bound in elub_bounds(*llrs))
    assert has(tippett, f"ELUB bounds: {low:.2f} to {high:.2f}")
    assert has(tippett, f"spoof: {(llrs[1] >= 0).mean():.1%} at or above 0")
    assert has(tippett, f"bona fide: {(llrs[0] < 0).mean():.1%} below 0")
    counts = [re.fullmatch(r"(\d+) \+ (\d+)", text) for text in words(reliability)]
    assert np.sum([[int(n) for n in found.groups()] for found in counts if found], axis=0).tolist() == [60, 60]


def test_without_llr_there_is_no_picture_of_it(tmp_path: Path) -> None:
    written = write_plots(made_up("speaker", llr=False), tmp_path)
    assert [path.name for path in written] == ["det.svg", "scores.svg"]
    assert has(tmp_path / "scores.svg", "same speaker (60)")


def test_classes_that_do_not_overlap(tmp_path: Path) -> None:
    write_plots(made_up(gap=100), tmp_path)
    assert has(tmp_path / "det.svg", "the classes do not overlap")


def test_the_same_scores_give_the_same_bytes(tmp_path: Path) -> None:
    pairs = zip(write_plots(made_up(), tmp_path / "a"), write_plots(made_up(), tmp_path / "b"), strict=True)
    assert all(one.read_bytes() == two.read_bytes() for one, two in pairs)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (r"$\frac{1}$", r"$\frac{1}$"),  # would be a formula, and a wrong one
        ("_hidden", "_hidden"),  # matplotlib leaves such labels out of a legend
        ("</text><script>alert(1)</script>&", "</text><script>alert(1)</script>&"),
        ("a\nb\x1b[31m", r"a\nb\x1b[31m"),
        ("声/ثبت.csv", "声/ثبت.csv"),
        ("x" * 50 + "/scores.csv", "…" + "x" * 28 + "/scores.csv"),
    ],
)
def test_two_systems_with_names_of_any_kind(tmp_path: Path, name: str, shown: str) -> None:
    first, second = made_up(), made_up(gap=1, seed=1)
    path = write_comparison_plot(first, second, (name, "other"), tmp_path)
    assert path == tmp_path / "det.svg"
    for scores, label in ((first, shown), (second, "other")):
        value = eer(scores.positive["score"], scores.negative["score"]).value
        assert has(path, f"{value:.2%}   {label}")
    assert b"<script" not in path.read_bytes()


def test_the_turns_are_the_staircase() -> None:
    """Leaving out what lies between turns moves no point of the curve by anything."""
    rng = np.random.default_rng(0)
    rates = error_rates(
        rng.normal(1, 1, 500).round(1), np.append(rng.normal(0, 1, 500).round(2), rng.normal(0, 1, 500))
    )
    turns = plots._turns(rates)
    assert turns[0] == 0
    assert turns[-1] == len(rates.miss) - 1
    assert len(turns) < 0.8 * len(rates.miss)
    along = np.arange(len(rates.miss))
    # arc length is the sum of both steps on a staircase; interpolation along it must give back every point
    length = rates.miss - rates.false_alarm
    for side in (rates.miss, rates.false_alarm):
        np.testing.assert_allclose(np.interp(length[along], length[turns], side[turns]), side, atol=1e-12)


def test_bins_against_hand_counts() -> None:
    bins = plots._in_bins(np.array([0.0, 11.0, 12.0, 12.0]), np.array([0.0, 0.0, 6.0, 12.0]))
    assert bins.positives.tolist() == [1, 0, 3]
    assert bins.negatives.tolist() == [2, 1, 1]
    np.testing.assert_allclose(bins.middles * np.log(10), [0.5, 6.5, 11.5])
    np.testing.assert_allclose(bins.ratios, [np.log10(1 / 2), np.nan, np.log10(3)])
    margin = 1.96 * np.sqrt(1 / 3 - 1 / 4 + 1 - 1 / 4)
    np.testing.assert_allclose(bins.margins[-1] * np.log(10), margin)


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = made_up()
    one_class = LabelledScores("deepfake", scores.positive, (), (), {})
    with pytest.raises(MetricError):
        write_plots(one_class, tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingPartError, match="plots need matplotlib"):
        write_plots(scores, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_published_score_file(shared_data: Path, tmp_path: Path) -> None:
    """71,237 trials: the known EER stands in the title, and the picture stays small."""
    path = shared_data / "score_files" / "asvspoof2019_la_eval_air_ocsoftmax.txt.gz"
    with gzip.open(path, "rt") as file:
        fields = [line.split() for line in file]
    table = pl.DataFrame(
        {
            "id": [found[0] for found in fields],
            "score": [-float(found[3]) for found in fields],
            "llr": pl.Series([None] * len(fields), dtype=pl.Float64),
            "positive": [found[2] == "bonafide" for found in fields],
        }
    )
    det, _ = write_plots(LabelledScores("deepfake", table, (), (), {}), tmp_path)
    assert has(det, "EER 2.18% (interpolated)")
    assert det.stat().st_size < 200_000
