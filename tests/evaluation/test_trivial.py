"""The trivial control finds shortcuts, finds nothing where there are none, and is compared on the same rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
import typer
from typer.testing import CliRunner

from earwitness.cli.evaluate import evaluate
from earwitness.core.errors import DataError, LeakError
from earwitness.corpora.manifest import Manifest
from earwitness.evaluation.judging.judge import JudgeOptions
from earwitness.evaluation.judging.labelled import read_labelled
from earwitness.evaluation.judging.trivial import (
    FEATURES,
    control_report,
    cross_validated_scores,
    trivial_features,
    trivial_scores,
)
from earwitness.metrics import auc

QUICK = JudgeOptions(n_resamples=60)


def corpus(folder: Path, speechlike, *, spoof_level: float, seed: int, rows: int = 24) -> Path:
    """Recordings of one kind, except that the spoofs have their own level; a CSV manifest beside them."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    names = [f"{seed}-{i}.wav" for i in range(rows)]
    labels = ["bonafide", "spoof"] * (rows // 2)
    for i, (name, label) in enumerate(zip(names, labels, strict=True)):
        level = rng.uniform(0.8, 1) * (spoof_level if label == "spoof" else 1)
        samples = speechlike(float(rng.uniform(0.6, 1.2)), seed=1000 * seed + i)
        soundfile.write(folder / name, level * samples, 16_000)
    pl.DataFrame({"path": names, "label": labels}).write_csv(folder / "manifest.csv")
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def loud(tmp_path_factory, speechlike) -> tuple[Path, Path]:
    """Training and test manifests in which spoofs are half as loud."""
    root = tmp_path_factory.mktemp("loud")
    return (
        corpus(root / "train", speechlike, spoof_level=0.5, seed=1),
        corpus(root / "test", speechlike, spoof_level=0.5, seed=2),
    )


def control_auc(train: Path, test: Path) -> float:
    table = trivial_scores(Manifest.read(train), Manifest.read(test)).table
    pos, neg = (table.filter(pl.col("label") == name)["score"] for name in ("bonafide", "spoof"))
    return auc(pos, neg)


def test_finds_a_shortcut(loud) -> None:
    assert control_auc(*loud) > 0.95


def test_finds_none_where_there_is_none(tmp_path: Path, speechlike) -> None:
    train = corpus(tmp_path / "a", speechlike, spoof_level=1, seed=3, rows=40)
    assert 0.2 < control_auc(train, corpus(tmp_path / "b", speechlike, spoof_level=1, seed=4, rows=40)) < 0.8


def test_same_seed_same_scores(loud) -> None:
    train, test = map(Manifest.read, loud)
    assert trivial_scores(train, test, 3).table.equals(trivial_scores(train, test, 3).table)


def test_features_are_the_named_facts(loud) -> None:
    manifest = Manifest.read(loud[0])
    values, errors = trivial_features(manifest, list(manifest.rows())[:2])
    assert values.shape == (2, len(FEATURES))
    assert errors == ["", ""]
    samples, rate = soundfile.read(manifest.resolve(manifest.row(0)))
    level = 20 * np.log10(np.sqrt(np.mean(samples**2)))
    assert values[0, 0] == pytest.approx(len(samples) / rate, abs=1e-3)
    assert values[0, 1] == pytest.approx(level, abs=0.1)
    assert values[0, 1] - values[1, 1] == pytest.approx(6, abs=4)


def test_a_stretch_is_heard_alone(loud) -> None:
    manifest = Manifest.read(loud[0])
    cut = manifest.with_table(manifest.table.with_columns(start=pl.lit(0.1), end=pl.lit(0.5)))
    assert trivial_features(cut, [cut.row(0)])[0][0, 0] == pytest.approx(0.4, abs=1e-3)


def test_unreadable_rows_are_told(loud, tmp_path: Path) -> None:
    train, test = map(Manifest.read, loud)
    broken = pl.DataFrame({"path": ["gone.wav"], "label": ["spoof"]})
    with_gap = Manifest.concat([train, Manifest.from_table(broken, train.root)])
    found = trivial_scores(with_gap, Manifest.concat([test, Manifest.from_table(broken, tmp_path)]))
    assert found.trained_on == 24
    assert len(found.unread) == 1
    assert "gone.wav" in found.unread[0]
    last = found.table.row(-1, named=True)
    assert last["score"] is None
    assert "gone.wav" in last["error"]
    assert found.table["score"].null_count() == 1


def test_refuses_its_own_training_rows_and_one_class(loud) -> None:
    train, test = map(Manifest.read, loud)
    with pytest.raises(LeakError, match="training and in the test manifest"):
        trivial_scores(train, Manifest.concat([test, train]))
    with pytest.raises(DataError, match="bona fide and spoof"):
        trivial_scores(train.filter(pl.col("label") == "spoof"), test)


def scores_of_a_model(test: Path, path: Path, errors: float) -> Path:
    """A model that is right but for noise."""
    table = pl.read_csv(test)
    truth = (table["label"] == "bonafide").to_numpy() * 2.0 - 1
    scores = truth + errors * np.random.default_rng(0).standard_normal(len(truth))
    table.select(id="path", score=pl.Series(scores)).write_csv(path)
    return path


def test_report(loud, tmp_path: Path) -> None:
    train, test = loud
    scores = read_labelled("deepfake", scores_of_a_model(test, tmp_path / "s.csv", 3), test)
    control = trivial_scores(Manifest.read(train), Manifest.read(test))
    report = control_report(scores, control, "24 rows", QUICK)
    assert not report.beaten
    assert report.comparison.rows == 24
    assert report.comparison.eer.second.value < 0.1 < report.comparison.eer.first.value
    assert report.answer == "the model is worse than the trivial control"
    control.write(tmp_path / "control.parquet")
    again = read_labelled("deepfake", tmp_path / "control.parquet")
    assert again.positive.height == again.negative.height == 12


def test_report_on_recordings_without_shortcut(tmp_path: Path, speechlike) -> None:
    train = corpus(tmp_path / "a", speechlike, spoof_level=1, seed=5)
    test = corpus(tmp_path / "b", speechlike, spoof_level=1, seed=6)
    scores = read_labelled("deepfake", scores_of_a_model(test, tmp_path / "s.csv", 0.1), test)
    assert control_report(scores, trivial_scores(Manifest.read(train), Manifest.read(test)), "", QUICK).beaten


def test_command(loud, tmp_path: Path) -> None:
    train, test = loud
    app = typer.Typer()
    app.command()(evaluate)
    scores, out = scores_of_a_model(test, tmp_path / "s.csv", 3), tmp_path / "result.json"
    words = ["deepfake", scores, "--key", test, "--control", train, "--json", out, "--resamples", 50]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    assert "EER on 24 rows" in done.output
    assert "the control learnt from 24 rows of manifest.csv; 0 could not be read" in done.output
    found = json.loads(out.read_text())
    assert found["control"]["comparison"]["measures"][0]["paired"]["difference"]["value"] > 0
    assert set(found["record"]["inputs"]) == {"scores", "key", "control"}


class TestByFolds:
    """Without a training manifest the control learns from the other folds of the test."""

    def test_finds_a_shortcut(self, loud) -> None:
        found = cross_validated_scores(Manifest.read(loud[1])).table
        pos, neg = (found.filter(pl.col("label") == name)["score"] for name in ("bonafide", "spoof"))
        assert auc(pos, neg) > 0.9

    def test_no_row_is_judged_by_what_learnt_from_its_speaker(self, loud) -> None:
        manifest = Manifest.read(loud[1])
        alone = manifest.table.with_columns(
            speaker=pl.lit("one"), system=pl.when(pl.col("label") == "spoof").then(pl.lit("A"))
        )
        with pytest.raises(DataError, match="too few readable rows"):
            cross_validated_scores(manifest.with_table(alone))

    def test_unreadable_rows_have_an_error(self, loud) -> None:
        manifest = Manifest.read(loud[1])
        broken = Manifest.from_table(pl.DataFrame({"path": ["gone.wav"], "label": ["spoof"]}), manifest.root)
        found = cross_validated_scores(Manifest.concat([manifest, broken]))
        assert found.unread == ("gone.wav",)
        assert found.table.row(-1, named=True)["score"] is None

    def test_stands_beside_every_result(self, loud, tmp_path: Path) -> None:
        app = typer.Typer()
        app.command()(evaluate)
        scores = scores_of_a_model(loud[1], tmp_path / "s.csv", 3)
        words = ["deepfake", scores, "--key", loud[1], "--resamples", 50]
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert "24 rows of the test itself, by folds" in done.output
        done = CliRunner().invoke(app, [str(word) for word in [*words, "--control", "none"]])
        assert "no trivial control: not asked for" in done.output
