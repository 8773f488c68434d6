"""Judging score files: figures, units, tables, and what must be refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from earwitness.cli.evaluate import evaluate
from earwitness.core.errors import DataError, EarwitnessError, MetricError, UsageError
from earwitness.core.hashing import sha256_file
from earwitness.evaluation.judging.judge import JudgeOptions, compare, judge
from earwitness.evaluation.judging.labelled import read_labelled
from earwitness.metrics import ASVSPOOF5, VOX01, act_dcf, auc, cllr, eer, min_cllr, min_dcf

QUICK = JudgeOptions(n_resamples=60)
SYSTEMS = [*["A01"] * 30, *["A02"] * 25, *["A03"] * 3, *["A04"] * 2]


def detection_table(seed: int = 0) -> pl.DataFrame:
    """40 bona fide rows of 8 speakers and 60 spoofs of 4 systems, two of them with few files."""
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.normal(1, 1, 40), rng.normal(-1, 1, 60)])
    return pl.DataFrame(
        {
            "id": [f"u{i:03}" for i in range(100)],
            "score": scores,
            "llr": 2 * scores,
            "label": ["bonafide"] * 40 + ["spoof"] * 60,
            "speaker": [f"s{i % 8}" for i in range(40)] + [None] * 60,
            "system": [None] * 40 + SYSTEMS,
            "family": [None] * 40 + ["vocoder" if name < "A03" else "unit selection" for name in SYSTEMS],
            "language": ["en", "de"] * 50,
        }
    )


def write(table: pl.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        table.write_parquet(path)
    elif path.suffix == ".csv":
        table.write_csv(path)
    else:
        table.write_ndjson(path)
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A score file without labels, and its key in another order."""
    table = detection_table()
    scores = write(table.select("id", "score", "llr", error=pl.lit(None, pl.String)), tmp_path / "scores.parquet")
    return scores, write(table.drop("score", "llr").sample(fraction=1, shuffle=True, seed=1), tmp_path / "key.csv")


class TestFigures:
    def test_equal_to_the_plain_metrics(self, files) -> None:
        found = judge(read_labelled("deepfake", *files), QUICK)
        table = detection_table()
        pos, neg = (table.filter(pl.col("label") == name)["score"].to_numpy() for name in ("bonafide", "spoof"))
        expected = {
            "EER": eer(pos, neg).value,
            "AUC": auc(pos, neg),
            "minDCF asvspoof5": min_dcf(pos, neg, ASVSPOOF5).value,
            "minCllr": min_cllr(pos, neg),
            "Cllr": cllr(2 * pos, 2 * neg),
            "actDCF asvspoof5": act_dcf(2 * pos, 2 * neg, ASVSPOOF5),
        }
        assert {m.name: m.interval.value for m in found.measures} == pytest.approx(expected, abs=1e-12)
        assert all(m.interval.low <= m.interval.value <= m.interval.high for m in found.measures[:3])
        assert found.measure("EER").interval.unit == "speaker x system"
        assert found.measure("EER").interval.n_units == 4
        assert any("fewer than 10 units" in note for note in found.notes)
        assert (found.positives, found.negatives, found.failed) == (40, 60, 0)

    @pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
    def test_formats_and_own_labels(self, tmp_path: Path, files, suffix: str) -> None:
        alone = write(detection_table(), tmp_path / f"all{suffix}")
        one = judge(read_labelled("deepfake", alone), QUICK)
        other = judge(read_labelled("deepfake", *files), QUICK)
        assert one.measures == other.measures
        assert one.groups == other.groups

    def test_named_method(self, files) -> None:
        found = judge(read_labelled("deepfake", *files), JudgeOptions(eer_method="rocch", n_resamples=20))
        assert found.measure("EER").definition.startswith("rocch")

    def test_without_llr(self, tmp_path: Path) -> None:
        found = judge(read_labelled("deepfake", write(detection_table().drop("llr"), tmp_path / "s.csv")), QUICK)
        assert [m.name for m in found.measures] == ["EER", "AUC", "minDCF asvspoof5", "minCllr"]
        assert any("llr" in note for note in found.notes)
        with pytest.raises(MetricError, match="no 'Cllr'"):
            found.measure("Cllr")

    def test_swapped_polarity_is_said(self, tmp_path: Path) -> None:
        table = detection_table().with_columns(score=-pl.col("score"))
        found = judge(read_labelled("deepfake", write(table, tmp_path / "s.csv")), QUICK)
        assert any("wrong class" in note for note in found.notes)

    def test_ties_are_said(self, tmp_path: Path) -> None:
        table = detection_table().with_columns(score=pl.col("score").round(0))
        found = judge(read_labelled("deepfake", write(table, tmp_path / "s.csv")), QUICK)
        assert found.tied_fraction > 0.5
        assert any("tied across classes" in note for note in found.notes)


class TestUnits:
    @pytest.mark.parametrize(
        ("unit", "name", "n"),
        [("auto", "speaker x system", 4), ("system", "utterance x system", 4), ("utterance", "utterance", 40)],
    )
    def test_chosen(self, files, unit: str, name: str, n: int) -> None:
        options = JudgeOptions(unit=unit, n_resamples=20)  # type: ignore[arg-type]
        interval = judge(read_labelled("deepfake", *files), options).measure("EER").interval
        assert (interval.unit, interval.n_units) == (name, n)

    def test_speakers_of_both_classes(self, tmp_path: Path) -> None:
        table = detection_table().with_columns(speaker=pl.Series([f"s{i % 10}" for i in range(100)])).drop("system")
        scores = read_labelled("deepfake", write(table, tmp_path / "s.csv"))
        for unit in ("auto", "speaker"):
            interval = judge(scores, JudgeOptions(unit=unit, n_resamples=20)).measure("EER").interval  # type: ignore[arg-type]
            assert (interval.unit, interval.n_units) == ("speaker", 10)

    def test_fallback_is_said(self, tmp_path: Path) -> None:
        table = detection_table().drop("speaker", "system")
        found = judge(read_labelled("deepfake", write(table, tmp_path / "s.csv")), QUICK)
        assert found.measure("EER").interval.unit == "utterance"
        assert any("over utterances" in note for note in found.notes)

    def test_unknown(self, tmp_path: Path) -> None:
        scores = read_labelled("deepfake", write(detection_table().drop("speaker"), tmp_path / "s.csv"))
        with pytest.raises(UsageError, match="no column 'speaker'"):
            judge(scores, JudgeOptions(unit="speaker"))
        with pytest.raises(UsageError, match="Use one of auto, speaker"):
            judge(scores, JudgeOptions(unit="clip"))  # type: ignore[arg-type]


class TestGroups:
    def test_systems_and_pooled_rest(self, files) -> None:
        groups = judge(read_labelled("deepfake", *files), QUICK).groups
        assert {g.value: (g.positives, g.negatives) for g in groups} == {
            "A01": (40, 30),
            "A02": (40, 25),
            "(small, unit selection)": (40, 5),
        }
        table = detection_table()
        expected = eer(table["score"][:40].to_numpy(), table["score"][40:70].to_numpy()).value
        assert next(g for g in groups if g.value == "A01").eer.value == pytest.approx(expected)
        assert sum(g.negatives for g in groups) == 60

    def test_any_column(self, files) -> None:
        found = judge(read_labelled("deepfake", *files), JudgeOptions(by=("language",), n_resamples=20))
        groups = {g.value: g for g in found.groups if g.column == "language"}
        assert (groups["en"].positives, groups["en"].negatives) == (20, 30)
        assert groups["en"].note == ""

    def test_one_class_only_has_no_rate(self, tmp_path: Path) -> None:
        table = detection_table().with_columns(codec=pl.Series(["opus"] * 40 + ["mp3"] * 60))
        scores = read_labelled("deepfake", write(table, tmp_path / "s.csv"))
        groups = [g for g in judge(scores, JudgeOptions(by=("codec",), n_resamples=20)).groups if g.column == "codec"]
        assert [(g.value, g.eer, g.note) for g in groups] == [
            ("mp3", None, "one class only"),
            ("opus", None, "one class only"),
        ]

    def test_a_column_of_spoofs_is_set_against_all_bona_fide(self, tmp_path: Path) -> None:
        table = detection_table().with_columns(vocoder=pl.Series(["bonafide"] * 40 + ["gan"] * 30 + ["flow"] * 30))
        scores = read_labelled("deepfake", write(table, tmp_path / "s.csv"))
        found = judge(scores, JudgeOptions(by=("vocoder",), n_resamples=20)).groups
        groups = [group for group in found if group.column == "vocoder"]
        assert [(g.value, g.positives, g.negatives) for g in groups] == [("flow", 40, 30), ("gan", 40, 30)]
        assert all(group.eer is not None for group in groups)

    def test_few_resamples_are_said(self, files) -> None:
        assert any("too few" in note for note in judge(read_labelled("deepfake", *files), QUICK).notes)

    def test_unknown_column(self, files) -> None:
        with pytest.raises(UsageError, match="There are: speaker, system"):
            judge(read_labelled("deepfake", *files), JudgeOptions(by=("langauge",)))


class TestReading:
    """Nothing is dropped, nothing is guessed."""

    def changed(self, tmp_path: Path, **columns: pl.Expr) -> Path:
        return write(detection_table().with_columns(**columns), tmp_path / "changed.csv")

    def test_failed_and_unlabelled_rows_are_counted(self, tmp_path: Path) -> None:
        first, last = pl.col("id") == "u000", pl.col("id") == "u099"
        path = self.changed(
            tmp_path,
            score=pl.when(~first).then("score"),
            error=pl.when(first).then(pl.lit("is empty")),
            label=pl.when(~last).then("label"),
        )
        scores = read_labelled("deepfake", path)
        assert scores.failed == ("u000",)
        assert scores.unlabelled == ("u099",)
        found = judge(scores, QUICK)
        assert (found.positives, found.negatives, found.failed, found.unlabelled) == (39, 59, 1, 1)
        assert any("'u000'" in note for note in found.notes)

    @pytest.mark.parametrize(
        ("columns", "said"),
        [
            ({"id": pl.col("id").replace("u007", "u003")}, "row 8, id 'u003': stands there twice"),
            ({"id": pl.col("id").replace("u007", "")}, "row 8, id 'None': has no id"),
            ({"label": pl.col("label").replace("spoof", "fake")}, "unknown label 'fake'"),
            ({"score": pl.when(pl.col("id") != "u007").then("score")}, "'u007': has neither a score nor an error"),
            ({"score": pl.lit("high")}, "is no finite number"),
            ({"llr": pl.lit("nan")}, "`llr` that is no finite number"),
        ],
    )
    def test_refused(self, tmp_path: Path, columns: dict[str, pl.Expr], said: str) -> None:
        with pytest.raises(DataError, match=said):
            read_labelled("deepfake", self.changed(tmp_path, **columns))

    @pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
    def test_nan_is_no_score(self, tmp_path: Path, suffix: str) -> None:
        table = detection_table().with_columns(
            score=pl.when(pl.col("id") == "u002").then(float("nan")).otherwise("score")
        )
        if suffix == ".jsonl":
            table = table.with_columns(score=pl.col("score").cast(pl.String))
        with pytest.raises(DataError, match="row 3, id 'u002'"):
            read_labelled("deepfake", write(table, tmp_path / f"s{suffix}"))

    def test_key_and_scores_must_match(self, tmp_path: Path, files) -> None:
        scores, key = files
        table = pl.read_csv(key).sort("id")
        with pytest.raises(DataError, match="row 100, id 'u099': is not in the key"):
            read_labelled("deepfake", scores, write(table.head(99), tmp_path / "short.csv"))
        longer = pl.concat([table, table.head(1).with_columns(id=pl.lit("new"))])
        with pytest.raises(DataError, match="id 'new': has no row in"):
            read_labelled("deepfake", scores, write(longer, tmp_path / "long.csv"))

    def test_labels_must_agree(self, tmp_path: Path) -> None:
        table = detection_table()
        scores = write(table, tmp_path / "s.csv")
        other = table.with_columns(label=pl.when(pl.col("id") == "u005").then(pl.lit("spoof")).otherwise("label"))
        with pytest.raises(DataError, match="'u005': has another label in the key"):
            read_labelled("deepfake", scores, write(other, tmp_path / "key.csv"))
        spelt = table.with_columns(label=pl.col("label").replace("bonafide", "bona-fide"))
        assert read_labelled("deepfake", scores, write(spelt, tmp_path / "key2.csv")).positive.height == 40

    def test_path_serves_as_id(self, tmp_path: Path) -> None:
        table = detection_table().rename({"id": "path"})
        scores = read_labelled(
            "deepfake",
            write(table.select("path", "score"), tmp_path / "s.csv"),
            write(table.drop("score"), tmp_path / "key.csv"),
        )
        assert scores.table.height == 100

    def test_missing_files_columns_and_classes(self, tmp_path: Path, files) -> None:
        with pytest.raises(DataError, match="no such file"):
            read_labelled("deepfake", tmp_path / "none.csv")
        with pytest.raises(DataError, match="--key"):
            read_labelled("deepfake", files[0])
        with pytest.raises(DataError, match="no column `score`"):
            read_labelled("deepfake", files[1])
        with pytest.raises(UsageError, match="unknown task 'age'"):
            read_labelled("age", files[0])  # type: ignore[arg-type]
        bona_fide = write(detection_table().head(40), tmp_path / "one.csv")
        with pytest.raises(MetricError, match="negative scores: there are none"):
            judge(read_labelled("deepfake", bona_fide), QUICK)


class TestSpeaker:
    def trials(self) -> pl.DataFrame:
        """All pairs of 24 recordings of 8 speakers."""
        rng = np.random.default_rng(0)
        voices = rng.normal(0, 1, (8, 6)).repeat(3, axis=0) + rng.normal(0, 0.9, (24, 6))
        voices /= np.linalg.norm(voices, axis=1, keepdims=True)
        pairs = [(i, j) for i in range(24) for j in range(i)]
        return pl.DataFrame(
            {
                "enrol": [f"r{i}" for i, _ in pairs],
                "test": [f"r{j}" for _, j in pairs],
                "score": [float(voices[i] @ voices[j]) for i, j in pairs],
                "label": ["target" if i // 3 == j // 3 else "nontarget" for i, j in pairs],
                "enrol_speaker": [f"s{i // 3}" for i, _ in pairs],
                "test_speaker": [f"s{j // 3}" for _, j in pairs],
            }
        )

    def test_speakers_of_both_sides(self, tmp_path: Path) -> None:
        found = judge(read_labelled("speaker", write(self.trials(), tmp_path / "t.csv")), QUICK)
        interval = found.measure("EER").interval
        assert (interval.unit, interval.n_units) == ("speaker", 8)
        assert interval.low < interval.value < interval.high
        table = self.trials()
        pos, neg = (table.filter(pl.col("label") == name)["score"].to_numpy() for name in ("target", "nontarget"))
        assert found.measure("minDCF vox01").interval.value == pytest.approx(min_dcf(pos, neg, VOX01).value)
        assert found.groups == ()

    def test_numbers_as_labels_and_recordings_as_units(self, tmp_path: Path) -> None:
        table = self.trials().with_columns(label=(pl.col("label") == "target").cast(pl.Int64))
        path = write(table.drop("enrol_speaker", "test_speaker"), tmp_path / "t.parquet")
        found = judge(read_labelled("speaker", path), QUICK)
        assert (found.positives, found.negatives) == (24, 252)
        assert found.measure("EER").interval.unit == "recording"
        assert any("recordings of both sides" in note for note in found.notes)

    def test_key(self, tmp_path: Path) -> None:
        table = self.trials()
        scores = write(table.select("enrol", "test", "score"), tmp_path / "t.csv")
        key = write(table.drop("score").reverse(), tmp_path / "key.csv")
        assert read_labelled("speaker", scores, key).positive.height == 24
        with pytest.raises(UsageError, match="no systems"):
            judge(read_labelled("speaker", scores, key), JudgeOptions(unit="system"))


class TestCompare:
    def test_paired(self, tmp_path: Path) -> None:
        table = detection_table()
        rng = np.random.default_rng(2)
        worse = table.with_columns(score=pl.col("score") + pl.Series(rng.normal(0, 3, 100)))
        one = read_labelled("deepfake", write(table, tmp_path / "a.csv"))
        two = read_labelled("deepfake", write(worse.sample(fraction=1, shuffle=True, seed=3), tmp_path / "b.csv"))
        found = compare(one, two, ("ours", "theirs"), JudgeOptions(n_resamples=200))
        assert found.eer.difference.value == pytest.approx(found.eer.first.value - found.eer.second.value)
        assert found.eer.difference.high < 0
        assert found.answer == "ours is better than theirs"
        back = compare(two, one, ("theirs", "ours"), JudgeOptions(n_resamples=200))
        assert back.answer == "theirs is worse than ours"
        same = compare(one, one, ("ours", "ours"), JudgeOptions(n_resamples=20))
        assert same.answer.startswith("no difference")

    def test_rows_of_one_side_are_counted(self, tmp_path: Path) -> None:
        table = detection_table()
        one = read_labelled("deepfake", write(table, tmp_path / "a.csv"))
        two = read_labelled("deepfake", write(table.tail(95), tmp_path / "b.csv"))
        found = compare(one, two, ("a", "b"), QUICK)
        assert (found.rows, found.left_out) == (95, 5)

    def test_other_labels(self, tmp_path: Path) -> None:
        table = detection_table()
        swapped = table.with_columns(label=pl.col("label").reverse())
        one = read_labelled("deepfake", write(table, tmp_path / "a.csv"))
        two = read_labelled("deepfake", write(swapped, tmp_path / "b.csv"))
        with pytest.raises(DataError, match="one label in a and another in b"):
            compare(one, two, ("a", "b"), QUICK)


class TestCommand:
    def run(self, *words: object):
        app = typer.Typer()
        app.command()(evaluate)
        return CliRunner().invoke(app, [str(word) for word in words])

    def test_prints_and_writes(self, tmp_path: Path, files) -> None:
        scores, key = files
        out = tmp_path / "result.json"
        done = self.run("deepfake", scores, "--key", key, "--by", "language", "--json", out, "--resamples", 50)
        assert done.exit_code == 0, done.output
        assert "40 bona fide, 60 spoof; higher = bona fide" in done.output
        assert "interpolated" in done.output
        assert "by language" in done.output
        assert "50 resamples over speaker x system" in done.output
        data = json.loads(out.read_text())
        assert data["record"]["inputs"]["key"] == sha256_file(key)
        assert data["judgement"]["measures"][0]["interval"]["unit"] == "speaker x system"

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--eer", "best"], "unknown EER method"),
            (["--unit", "clip"], "unknown unit"),
            (["--control", "train.csv"], "train.csv: there is no such manifest"),
            (["--subset", "eval"], "--protocol"),
            (["--protocol", "asvspoof2019"], "Did you mean 'asvspoof2019-"),
            (["--asv", "asv.txt"], "is that of a protocol"),
            (["--cost", "sre24"], "no cost model"),
            (["--perturb", "all"], "--model"),
            (["--perturb", "gsn"], "gsm"),
        ],
    )
    def test_wrong_use(self, tmp_path: Path, words: list[str], said: str) -> None:
        done = self.run("deepfake", write(detection_table(), tmp_path / "s.csv"), *words)
        assert isinstance(done.exception, EarwitnessError)
        assert said in str(done.exception)

    def test_plots(self, tmp_path: Path, files) -> None:
        pytest.importorskip("matplotlib")
        done = self.run("deepfake", *files[:1], "--key", files[1], "--plots", tmp_path / "plots", "--resamples", 5)
        assert done.exit_code == 0, done.output
        for name in ("det.svg", "reliability.svg"):
            assert (tmp_path / "plots" / name).read_text().lstrip().startswith("<?xml")
