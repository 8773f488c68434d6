"""Spoofing-aware speaker verification: targets, nontargets and spoofs under one score, and under two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from earwitness.cli.main import exit_code
from earwitness.core.errors import DataError, UsageError
from earwitness.evaluation.judging.judge import JudgeOptions, judge
from earwitness.evaluation.judging.labelled import read_labelled
from earwitness.evaluation.results.calibrating import calibrate
from earwitness.evaluation.results.comparing import compare_files
from earwitness.evaluation.results.evaluating import Evaluation, evaluate
from earwitness.evaluation.results.files import read_result
from earwitness.evaluation.results.reproducing import reproduce
from earwitness.evaluation.results.requests import CalibrateRequest, CompareRequest, EvaluateRequest
from earwitness.metrics import ASVSPOOF_TANDEM, SasvScores, asv_rates, eer, min_tdcf

QUICK = JudgeOptions(n_resamples=20)
SIZES = (150, 300, 400)
CLASSES = ("target", "nontarget", "spoof")
HEADER = "spk\tfilename\tcm-score\tasv-score\tsasv-score\n"


def seq(n: int, a: int, b: int, mean: float) -> np.ndarray:
    """The score generator of the golden examples."""
    j, m = np.arange(1, n + 1), 65521
    u, v, w = (a * j + b * j * j) % m / m, (b * j + a * j * j) % m / m, ((a + b) * j + 7 * j * j) % m / m
    return mean + 2 * (u + v + w - 1.5)


def golden_table() -> pl.DataFrame:
    """850 trials of 10 target speakers and 4 attacks, whose figures the evaluation package has computed."""
    n = sum(SIZES)
    asv = [seq(150, 7919, 31, 1.5), seq(300, 10473, 17, -1.5), seq(400, 6553, 23, -0.2)]
    cm = [seq(150, 4050, 11, 1), seq(300, 5002, 13, 1), seq(400, 6001, 7, -1)]
    return pl.DataFrame(
        {
            "enrol": [f"E_{i % 10:04}" for i in range(n)],
            "test": [f"E_{i:010}" for i in range(n)],
            "score": np.concatenate(asv),
            "cm_score": np.concatenate(cm),
            "asv_score": np.concatenate(asv),
            "label": np.repeat(CLASSES, SIZES),
            "system": [None] * 450 + [f"A{i % 4}" for i in range(400)],
        }
    )


@pytest.fixture
def table(tmp_path: Path) -> Path:
    golden_table().write_csv(tmp_path / "s.csv")
    return tmp_path / "s.csv"


def track2(folder: Path) -> tuple[Path, Path]:
    """The same trials as ASVspoof 5 has them: scores between tabs, and a list of five fields."""
    rows = golden_table()
    lines = rows.select("enrol", "test", "cm_score", "asv_score", "score").iter_rows()
    scores, key = folder / "scores.tsv", folder / "trials.tsv"
    scores.write_text(HEADER + "".join("\t".join(map(str, line)) + "\n" for line in lines))
    trials = rows.select("enrol", "test", pl.col("system").fill_null("bonafide"), "label").iter_rows()
    key.write_text("".join(f"{spk} {file} F {attack} {label}\n" for spk, file, attack, label in trials))
    return scores, key


def ask(scores: Path, key: Path | None = None, protocol: str | None = None, **changed: object) -> Evaluation:
    options = JudgeOptions(**{"n_resamples": 20, **changed})  # type: ignore[arg-type]
    return evaluate(EvaluateRequest(task="sasv", scores=scores, key=key, protocol=protocol, options=options))


class TestFigures:
    def test_golden(self, table: Path) -> None:
        found = ask(table, also=("asvspoof",)).judgement
        values = {measure.name: measure.interval.value for measure in found.measures}
        assert values["min a-DCF"] == pytest.approx(0.4040056022)
        assert values["min a-DCF package"] == pytest.approx(0.3937037037)
        assert values["t-EER"] == pytest.approx(0.15684375)
        assert values["SV-EER"] == pytest.approx(0.08, abs=0.001)
        target, nontarget, spoof = (golden_table().filter(label=name)["score"] for name in CLASSES)
        assert values["SPF-EER"] == eer(target, spoof).value
        assert values["SASV-EER"] == eer(target, pl.concat([nontarget, spoof])).value
        assert values["SASV-EER asvspoof"] == pytest.approx(values["SASV-EER"], abs=0.01)
        assert next(iter(values)) == "min a-DCF"
        assert all(measure.interval.unit == "target speaker" for measure in found.measures)
        assert all(measure.interval.low < measure.interval.high for measure in found.measures)
        assert "P_spoof 0.05, C_miss 1, C_fa 10, C_fa_spoof 10" in found.measure("min a-DCF").definition
        assert "C_fa_spoof 20" in found.measure("min a-DCF package").definition
        assert "of the negatives 300 are nontargets, 400 spoofs" in found.notes

    def test_own_verifier_of_the_tdcf(self, table: Path) -> None:
        rows = golden_table()
        asv = asv_rates(SasvScores(*(rows.filter(label=name)["asv_score"] for name in CLASSES)))
        assert (asv.p_miss, asv.p_fa_spoof) == (0.08, 0.3275)
        bona, spoof = rows["cm_score"][:450], rows["cm_score"][450:]
        found = ask(table).judgement
        wanted = min_tdcf(bona, spoof, ASVSPOOF_TANDEM.tandem(asv, "revised")).value
        assert found.measure("min t-DCF revised").interval.value == pytest.approx(wanted)
        assert any("spoofs accepted 32.75%" in note for note in found.notes)

    def test_by_hand(self, tmp_path: Path) -> None:
        """One of four targets lies below one of two spoofs: at 3 a miss of 1/4, at 1 half of the spoofs pass."""
        rows = [("a", 5, "target"), ("a", 4, "target"), ("b", 3, "target"), ("b", 1, "target")]
        rows += [("a", 0, "nontarget"), ("b", -1, "nontarget"), ("a", 2, "spoof"), ("b", -2, "spoof")]
        lines = [f"{spk} u{number} {score} {label}" for number, (spk, score, label) in enumerate(rows)]
        (tmp_path / "s.txt").write_text("\n".join(lines))
        found = judge(read_labelled("sasv", tmp_path / "s.txt"), QUICK)
        values = {measure.name: measure.interval.value for measure in found.measures}
        assert values["min a-DCF"] == pytest.approx(min(0.9405 / 4, 0.5 / 2) / 0.595)
        assert values["min a-DCF package"] == pytest.approx(min(0.9 / 4, 1 / 2) / 0.9)
        assert values["SV-EER"] == 0
        assert values["SPF-EER"] == pytest.approx(0.25)
        assert (found.positives, found.negatives) == (4, 4)
        assert "no t-EER: not every trial has cm_score and asv_score" in found.notes

    def test_a_verifier_that_leaves_nothing_to_win(self, table: Path) -> None:
        golden_table().with_columns(
            asv_score=pl.when(pl.col("label") == "spoof").then(-9.0).otherwise("asv_score")
        ).write_csv(table)
        found = ask(table).judgement
        assert "min a-DCF" in {measure.name for measure in found.measures}
        assert any(note.startswith("no min t-DCF revised: no t-DCF with") for note in found.notes)

    def test_attacks(self, table: Path) -> None:
        found = ask(table, by=("system",)).judgement
        groups = {group.value: group for group in found.groups}
        assert list(groups) == ["A0", "A1", "A2", "A3"]
        one = groups["A1"]
        assert one.eer is not None
        target, spoof = golden_table().filter(label="target"), golden_table().filter(system="A1")
        assert one.eer.value == eer(target["score"], spoof["score"]).value
        assert (one.positives, one.negatives, one.note) == (150, 100, "against all targets")


class TestForms:
    def test_track_2(self, tmp_path: Path, table: Path) -> None:
        scores, key = track2(tmp_path)
        found, ours = ask(scores, key, "asvspoof5-track2").judgement, ask(table, also=("asvspoof",)).judgement
        assert found.measures == ours.measures
        assert [(group.value, group.eer) for group in found.groups] == [(g.value, g.eer) for g in ours.groups]

    def test_key_of_the_evaluation_package(self, tmp_path: Path) -> None:
        scores, _ = track2(tmp_path)
        rows = golden_table().select("enrol", "test", "label").iter_rows()
        key = tmp_path / "key.tsv"
        key.write_text(
            "spk\tfilename\tcm-label\tasv-label\n"
            + "".join(f"{spk}\t{file}\t-\t{label}\n" for spk, file, label in rows)
        )
        assert ask(scores, key).judgement.measure("min a-DCF").interval.value == pytest.approx(0.4040056022)
        key.write_text("spk\tfilename\tcm-label\nE\tT\tspoof\n")
        with pytest.raises(DataError, match="names no `asv-label`"):
            ask(scores, key)

    def test_scores_that_are_absent(self, tmp_path: Path) -> None:
        scores, key = track2(tmp_path)
        lines = golden_table().select("enrol", "test", "score").iter_rows()
        scores.write_text(HEADER + "".join(f"{spk}\t{file}\t-\t-\t{score}\n" for spk, file, score in lines))
        found = ask(scores, key).judgement
        assert "t-EER" not in {measure.name for measure in found.measures}
        assert "no t-EER: not every trial has cm_score and asv_score" in found.notes
        assert found.measure("min a-DCF").interval.value == pytest.approx(0.4040056022)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (
                lambda lines: [*lines[:1], lines[1].rsplit("\t", 1)[0] + "\tnan", *lines[2:]],
                "line 2 .*no finite number",
            ),
            (lambda lines: [*lines[:1], lines[1].rsplit("\t", 1)[0] + "\t-", *lines[2:]], "no finite number"),
            (lambda lines: [*lines[:1], lines[1].replace("\t", "\tx", 1), *lines[2:]], "is not in the key"),
            (lambda lines: lines[:-1], "has no row in"),
            (lambda lines: [*lines, lines[-1]], "of a line before"),
            (lambda lines: [lines[0].replace("sasv-score", "x"), *lines[1:]], "header names"),
        ],
    )
    def test_bad_scores(self, tmp_path: Path, change, said: str) -> None:
        scores, key = track2(tmp_path)
        scores.write_text("\n".join(change(scores.read_text().splitlines())))
        with pytest.raises(DataError, match=said):
            ask(scores, key)

    def test_bad_keys(self, tmp_path: Path) -> None:
        scores, key = track2(tmp_path)
        text = key.read_text()
        key.write_text(text.replace("nontarget", "bonafide", 1))
        with pytest.raises(DataError, match="bonafide"):
            ask(scores, key)
        key.write_text("one two\n")
        with pytest.raises(DataError, match="2 field"):
            ask(scores, key)
        with pytest.raises(DataError, match="no such file"):
            ask(scores, tmp_path / "gone.tsv")


class TestCommands:
    def test_command_and_reproduce(self, tmp_path: Path, capsys) -> None:
        scores, key = track2(tmp_path)
        out = tmp_path / "r.json"
        told = ["--key", str(key), "--protocol", "asvspoof5-track2", "--resamples", "20", "--json", str(out)]
        assert exit_code(["evaluate", "sasv", str(scores), *told]) == 0
        printed = capsys.readouterr().out
        for words in (
            "150 target, 700 other",
            "min a-DCF  ",
            "SPF-EER",
            "by system",
            "against all targets",
            "verifier at",
        ):
            assert words in printed
        assert read_result(out).record.inputs.keys() == {"scores", "key"}
        assert reproduce(out).same

    def test_compare(self, tmp_path: Path, table: Path) -> None:
        worse = tmp_path / "worse.csv"
        noise = np.random.default_rng(0).normal(0, 3, sum(SIZES))
        golden_table().with_columns(score=pl.col("score") + noise).write_csv(worse)
        found = compare_files(CompareRequest(task="sasv", first=table, second=worse, options=QUICK))
        assert found.answer == "the first is better than the second"
        assert found.comparison.measures[0].name == "min a-DCF"
        assert exit_code(["compare", str(table), str(worse), "--task", "sasv", "--resamples", "20"]) == 0

    def test_compare_tells_nontargets_from_spoofs(self, tmp_path: Path, table: Path) -> None:
        other = tmp_path / "other.csv"
        swapped = pl.when(pl.col("test") == "E_0000000200").then(pl.lit("spoof")).otherwise("label")
        golden_table().with_columns(label=swapped).write_csv(other)
        with pytest.raises(DataError, match="E_0000000200' has one label"):
            compare_files(CompareRequest(task="sasv", first=table, second=other, options=QUICK))

    def test_units(self, table: Path) -> None:
        assert ask(table, unit="utterance").judgement.measures[0].interval.unit == "trial"
        with pytest.raises(UsageError, match="no units"):
            ask(table, unit="system")
        golden_table().with_columns(enrol=pl.lit("one")).write_csv(table)
        found = ask(table).judgement
        assert found.measures[0].interval.unit == "trial"
        assert any("only one target speaker" in note for note in found.notes)

    def test_refused(self, tmp_path: Path, table: Path, capsys) -> None:
        with pytest.raises(UsageError, match="three classes"):
            calibrate(CalibrateRequest(task="sasv", scores=table))
        with pytest.raises(UsageError, match="is none of sasv"):
            ask(table, None, "asvspoof5")
        with pytest.raises(UsageError, match="is none of speaker"):
            evaluate(EvaluateRequest(task="speaker", scores=table, protocol="asvspoof5-track2"))
        assert exit_code(["evaluate", "sasv", str(table), "--cost", "vox01"]) == 2
        assert "sasv has three" in capsys.readouterr().err
        assert exit_code(["calibrate", "sasv", str(table), "-o", str(tmp_path / "c.json")]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
