"""compare, calibrate, reproduce and protocols: results that can be run again, and what must be refused."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pydantic import TypeAdapter

from earwitness.cli.main import exit_code
from earwitness.core.errors import DataError, MetricError, ModelError, UsageError
from earwitness.evaluation.judging.judge import JudgeOptions
from earwitness.evaluation.judging.labelled import read_labelled
from earwitness.evaluation.results.calibrated import read_calibration
from earwitness.evaluation.results.calibrating import CalibrationResult, calibrate, cross_validated_cllr
from earwitness.evaluation.results.comparing import compare_files
from earwitness.evaluation.results.evaluating import evaluate
from earwitness.evaluation.results.files import json_schema, read_result, write_result_file
from earwitness.evaluation.results.reproducing import reproduce
from earwitness.evaluation.results.requests import CalibrateRequest, CompareRequest, EvaluateRequest, moved
from earwitness.metrics import Units, cllr
from earwitness.training.model_folder import read_model_info, revise_model
from earwitness.training.polarity import PolarityProbe, refuse_reversed
from tiny_models import make_detector

QUICK = JudgeOptions(n_resamples=40)
DOCS = Path(__file__).parents[2] / "docs"


def scores(path: Path, *, apart: float = 2.0, seed: int = 0, truth_seed: int = 0, n: int = 60) -> Path:
    """Scores of 2n rows of 12 speakers and 6 systems, `apart` standard deviations between the classes."""
    rows, draws = np.random.default_rng([truth_seed, 1]), np.random.default_rng([seed, 2])
    noise = rows.standard_normal(2 * n) + draws.standard_normal(2 * n)
    is_real = np.arange(2 * n) < n
    table = pl.DataFrame(
        {
            "id": [f"u{i:03}" for i in range(2 * n)],
            "score": noise / np.sqrt(2) + apart * is_real,
            "label": ["bonafide"] * n + ["spoof"] * n,
            "speaker": [f"s{i % 12}" for i in range(n)] + [None] * n,
            "system": [None] * n + [f"A{i % 6}" for i in range(n)],
            "model": ["tiny 1 (sha256 0123456789ab)"] * (2 * n),
            "seconds_used": [1.5] * (2 * n),
            "licence": ["CC-BY-4.0"] * (2 * n),
        }
    )
    table.write_csv(path)
    return path


class TestReproduce:
    def test_difference_0(self, tmp_path: Path, capsys) -> None:
        table, out = scores(tmp_path / "s.csv"), tmp_path / "results" / "r.json"
        out.parent.mkdir()
        assert exit_code(["evaluate", "deepfake", str(table), "--json", str(out), "--resamples", "40"]) == 0
        assert exit_code(["reproduce", str(out)]) == 0
        assert "difference 0: all" in capsys.readouterr().out

    def test_says_what_differs(self, tmp_path: Path, capsys) -> None:
        table, out = scores(tmp_path / "s.csv"), tmp_path / "r.json"
        write_result_file(out, evaluate(EvaluateRequest(task="deepfake", scores=table, options=QUICK)))
        scores(table, apart=1.0)
        found = reproduce(out)
        assert not found.same
        assert found.largest is not None
        assert found.largest > 0
        assert [change.place for change in found.inputs] == ["scores"]
        assert any(change.place.startswith("judgement.measures[EER]") for change in found.differences)
        assert exit_code(["reproduce", str(out), "--json"]) == 1
        assert json.loads(capsys.readouterr().out)["same"] is False

    def test_a_folder_may_be_moved(self, tmp_path: Path) -> None:
        folder = tmp_path / "a"
        folder.mkdir()
        table = scores(folder / "s.csv")
        write_result_file(folder / "r.json", evaluate(EvaluateRequest(task="deepfake", scores=table, options=QUICK)))
        shutil.move(folder, tmp_path / "b")
        assert reproduce(tmp_path / "b" / "r.json").same
        shutil.move(tmp_path / "b" / "s.csv", tmp_path / "s.csv")
        with pytest.raises(DataError, match="no such file"):
            reproduce(tmp_path / "b" / "r.json")
        assert reproduce(tmp_path / "b" / "r.json", data_root=tmp_path).same

    def test_every_kind(self, tmp_path: Path) -> None:
        one, two = scores(tmp_path / "a.csv"), scores(tmp_path / "b.csv", seed=1)
        write_result_file(
            tmp_path / "c.json", compare_files(CompareRequest(task="deepfake", first=one, second=two, options=QUICK))
        )
        write_result_file(tmp_path / "d.json", calibrate(CalibrateRequest(task="deepfake", scores=one, options=QUICK)))
        assert reproduce(tmp_path / "c.json").same
        assert reproduce(tmp_path / "d.json").same

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("{", "cannot be read as JSON"),
            ("[]", "is no result"),
            ('{"schema": "9.0"}', "is no result"),
            ('{"schema": "1.0", "kind": "evaluate"}', "does not fit its schema"),
        ],
    )
    def test_no_result(self, tmp_path: Path, content: str, said: str) -> None:
        (tmp_path / "r.json").write_text(content)
        with pytest.raises(DataError, match=said):
            read_result(tmp_path / "r.json")
        with pytest.raises(DataError, match="no such result"):
            read_result(tmp_path / "gone.json")

    def test_a_record_that_cannot_be_asked_again(self, tmp_path: Path) -> None:
        out = tmp_path / "r.json"
        write_result_file(
            out, evaluate(EvaluateRequest(task="deepfake", scores=scores(tmp_path / "s.csv"), options=QUICK))
        )
        data = json.loads(out.read_text())
        data["record"]["settings"]["scorez"] = "x"
        out.write_text(json.dumps(data))
        with pytest.raises(DataError, match="cannot be run"):
            reproduce(out)


class TestRecord:
    def test_holds_what_the_result_was_made_from(self, tmp_path: Path) -> None:
        found = evaluate(EvaluateRequest(task="deepfake", scores=scores(tmp_path / "s.csv"), options=QUICK)).record
        assert found.weights == ["tiny 1 (sha256 0123456789ab)"]
        assert found.licences == ["CC-BY-4.0"]
        assert found.seconds_heard == 180
        assert found.seed == 0
        assert set(found.inputs) == {"scores"}
        assert found.definitions["EER"].startswith("interpolated")
        assert found.versions["earwitness"]

    def test_of_trials_each_recording_is_heard_once(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        pairs = [(f"r{a}", f"r{b}") for a in range(8) for b in range(a)]
        table = pl.DataFrame(
            {
                "enrol": [a for a, _ in pairs],
                "test": [b for _, b in pairs],
                "score": rng.standard_normal(len(pairs)),
                "label": ["target", "nontarget"] * (len(pairs) // 2),
                "seconds_used_enrol": [2.0] * len(pairs),
                "seconds_used_test": [2.0] * len(pairs),
            }
        )
        table.write_csv(tmp_path / "t.csv")
        found = evaluate(EvaluateRequest(task="speaker", scores=tmp_path / "t.csv", options=QUICK))
        assert found.record.seconds_heard == 16

    def test_schema_is_published(self) -> None:
        published = json.loads((DOCS / "schema" / "result-1.0.json").read_text(encoding="utf-8"))
        assert published == json_schema()

    def test_results_fit_the_schema(self, tmp_path: Path) -> None:
        out = tmp_path / "r.json"
        write_result_file(
            out, evaluate(EvaluateRequest(task="deepfake", scores=scores(tmp_path / "s.csv"), options=QUICK))
        )
        data = json.loads(out.read_text())
        names = set(json_schema()["$defs"]["Evaluation"]["properties"])
        assert set(data) - {"schema"} == names

    def test_paths_are_kept_against_the_result(self) -> None:
        request = EvaluateRequest(task="deepfake", scores=Path("a/s.csv"), key=Path("/k.csv"), control="train.csv")
        there = moved(request, Path("/x"), Path("/x/results"))
        assert (str(there.scores), str(there.key), there.control) == ("../a/s.csv", "../../k.csv", "../train.csv")
        assert moved(there, Path("/x/results"), Path("/x")).scores == request.scores
        automatic = moved(request.model_copy(update={"control": "auto"}), "a", "b")
        assert automatic.control == "auto"


class TestCompare:
    def test_pairing_shows_what_single_intervals_hide(self, tmp_path: Path) -> None:
        """Both systems find the same rows hard; the second is a little worse on each."""
        one = scores(tmp_path / "a.csv", apart=1.5)
        table = pl.read_csv(one)
        worse = table.with_columns(score=pl.col("score") - 0.3 * (pl.col("label") == "bonafide"))
        worse.write_csv(tmp_path / "b.csv")
        request = CompareRequest(task="deepfake", first=one, second=tmp_path / "b.csv", options=QUICK)
        found = compare_files(request).comparison
        by_name = {measure.name: measure.paired for measure in found.measures}
        assert by_name["AUC"].difference.low > 0
        assert by_name["AUC"].first.low < by_name["AUC"].second.value

    def test_command(self, tmp_path: Path, capsys) -> None:
        one, two = scores(tmp_path / "a.csv"), scores(tmp_path / "b.csv", apart=-2)
        words = ["compare", str(one), str(two), "--resamples", "40", "--json", str(tmp_path / "c.json")]
        assert exit_code(words) == 0
        said = capsys.readouterr().out
        assert "by the EER: the first is better than the second" in said
        assert "120 rows in both" in said
        assert read_result(tmp_path / "c.json").kind == "compare"

    def test_each_file_has_its_polarity(self, tmp_path: Path, capsys) -> None:
        one, two = scores(tmp_path / "a.csv"), scores(tmp_path / "b.csv")
        table = pl.read_csv(two)
        table.with_columns(score=-pl.col("score")).write_csv(two)
        assert exit_code(["compare", str(one), str(two), "--negate-second", "--resamples", "40"]) == 0
        said = capsys.readouterr().out
        assert "the second: the scores were multiplied by -1" in said
        assert "no difference between the first and the second" in said

    def test_trials_are_told_by_their_columns(self, tmp_path: Path, capsys) -> None:
        rng = np.random.default_rng(0)
        labels = ["target", "nontarget"] * 20
        table = pl.DataFrame(
            {"enrol": [f"e{i}" for i in range(40)], "test": [f"t{i}" for i in range(40)], "label": labels}
        )
        for name in ("a.csv", "b.csv"):
            table.with_columns(score=pl.Series(rng.standard_normal(40))).write_csv(tmp_path / name)
        assert exit_code(["compare", str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), "--resamples", "40"]) == 0
        assert "minDCF vox01" in capsys.readouterr().out


class TestCalibrate:
    def request(self, path: Path) -> CalibrateRequest:
        return CalibrateRequest(task="deepfake", scores=path, options=QUICK)

    def test_ratios_fit_trials_like_those(self, tmp_path: Path) -> None:
        found = calibrate(self.request(scores(tmp_path / "s.csv", n=400)))
        other = pl.read_csv(scores(tmp_path / "o.csv", n=400, seed=5, truth_seed=6))
        pos, neg = (other.filter(pl.col("label") == name)["score"].to_numpy() for name in ("bonafide", "spoof"))
        on_others = cllr(found.llr(pos), found.llr(neg))
        assert on_others < 0.7  # two classes two deviations apart have about 0.55 bits at best
        assert found.cllr == pytest.approx(on_others, abs=0.1)
        assert found.min_cllr <= found.cllr + 0.02
        assert found.model == "tiny 1 (sha256 0123456789ab)"
        assert [threshold.name for threshold in found.thresholds] == ["EER", "asvspoof5"]
        bayes = found.thresholds[1]
        assert found.llr(np.array([bayes.score]))[0] == pytest.approx(bayes.llr)

    def test_refuses_what_cannot_be_decided(self, tmp_path: Path) -> None:
        with pytest.raises(MetricError, match="overlap too much to decide: AUC"):
            calibrate(self.request(scores(tmp_path / "s.csv", apart=0.0)))
        with pytest.raises(MetricError, match="overlap too much"):
            calibrate(self.request(scores(tmp_path / "r.csv", apart=-2.0)))
        with pytest.raises(MetricError, match="too few"):
            calibrate(self.request(scores(tmp_path / "t.csv", n=6)))

    def test_refuses_in_one_line(self, tmp_path: Path, capsys) -> None:
        path = scores(tmp_path / "s.csv", apart=0.0)
        assert exit_code(["calibrate", "deepfake", str(path), "-o", str(tmp_path / "c.json"), "--resamples", "40"]) == 2
        assert "overlap too much" in capsys.readouterr().err
        assert not (tmp_path / "c.json").exists()

    def test_operating_points_that_the_trials_do_not_support(self, tmp_path: Path) -> None:
        table = pl.read_csv(scores(tmp_path / "s.csv", n=30))
        ids = [f"e{i}" for i in range(table.height)]
        trials = table.select(
            enrol=pl.Series(ids),
            test=pl.Series([f"t{i}" for i in ids]),
            score="score",
            label=pl.when(pl.col("label") == "bonafide").then(pl.lit("target")).otherwise(pl.lit("nontarget")),
        )
        trials.write_csv(tmp_path / "t.csv")
        options = JudgeOptions(n_resamples=40, unit="utterance")
        found = calibrate(CalibrateRequest(task="speaker", scores=tmp_path / "t.csv", options=options))
        assert [words.split()[0] for words in found.unsupported] == ["vox01", "vox05"]  # ln 19 is beyond 30 trials

    def test_is_used_for_that_model_only(self, tmp_path: Path, capsys) -> None:
        path, out = scores(tmp_path / "s.csv"), tmp_path / "c.json"
        assert exit_code(["calibrate", "deepfake", str(path), "-o", str(out), "--resamples", "40"]) == 0
        assert isinstance(read_calibration(out), CalibrationResult)
        other = scores(tmp_path / "o.csv", seed=3, truth_seed=4)
        request = EvaluateRequest(task="deepfake", scores=other, calibration=out, options=QUICK)
        judged = evaluate(request)
        assert judged.judgement.measure("Cllr").interval.value < 0.8
        assert "calibration" in judged.record.inputs
        pl.read_csv(other).with_columns(model=pl.lit("another")).write_csv(other)
        with pytest.raises(DataError, match="was made for scores of tiny 1"):
            evaluate(request)
        (tmp_path / "x.json").write_text("{}")
        with pytest.raises(DataError, match="is no result"):
            read_calibration(tmp_path / "x.json")

    def test_polarity_is_part_of_it(self, tmp_path: Path) -> None:
        path, out = scores(tmp_path / "s.csv", apart=-2), tmp_path / "c.json"
        request = CalibrateRequest(task="deepfake", scores=path, negate=True, options=QUICK)
        write_result_file(out, calibrate(request))
        judged = EvaluateRequest(task="deepfake", scores=path, negate=True, calibration=out, options=QUICK)
        assert evaluate(judged).judgement.measure("Cllr").interval.value < 0.8
        with pytest.raises(DataError, match="with --negate"):
            evaluate(judged.model_copy(update={"negate": False}))

    def test_folds_hold_out_whole_units(self) -> None:
        """A calibration that only knows the units themselves is worthless on others."""
        rng = np.random.default_rng(0)
        of_unit = rng.standard_normal(20)
        ids = np.repeat(np.arange(20), 20)
        pos, neg = of_unit[ids] * 3 + 0.1, of_unit[ids] * 3
        by_unit = cross_validated_cllr(pos, neg, Units.stacked(Units.of(ids, "speaker"), Units.of(ids, "system")))
        assert by_unit > 0.95


class TestProtocol:
    LINES = "LA_E_1 - bonafide 2.0\nLA_E_2 - bonafide 1.0\nLA_E_3 A07 spoof -1.0\nLA_E_4 A08 spoof 0.5\n"

    def test_figures_of_the_benchmark(self, tmp_path: Path) -> None:
        with gzip.open(tmp_path / "s.txt.gz", "wt") as file:
            file.write(self.LINES * 1)
        asv = "".join(f"target {v}\n" for v in (2, 3, 4)) + "nontarget -2\nnontarget 2.5\nspoof 3\nspoof -1\n"
        (tmp_path / "asv.txt").write_text(asv)
        request = EvaluateRequest(
            task="deepfake",
            scores=tmp_path / "s.txt.gz",
            protocol="asvspoof2019-la",
            asv=tmp_path / "asv.txt",
            options=JudgeOptions(n_resamples=20, unit="utterance"),
        )
        found = evaluate(request)
        names = [measure.name for measure in found.judgement.measures]
        assert {"EER", "EER asvspoof", "min t-DCF legacy"} <= set(names)
        assert any("verifier at its EER threshold" in note for note in found.notes)
        assert "asv" in found.record.inputs
        without = evaluate(request.model_copy(update={"asv": None}))
        assert any("--asv" in note for note in without.notes)

    def test_a_subset_counts(self, tmp_path: Path) -> None:
        """ASVspoof 2021: all trials are scored, `eval` is reported."""
        rows = []
        for number in range(40):
            label, attack = ("bonafide", "bonafide") if number < 16 else ("spoof", "A07")
            subset = "hidden" if number % 8 == 0 else "eval"
            rows.append(f"LA_00{number % 5} LA_E_{number} none loc_tx {attack} {label} notrim {subset}")
        (tmp_path / "trial_metadata.txt").write_text("\n".join(rows) + "\n")
        (tmp_path / "s.txt").write_text("".join(f"LA_E_{n} {1.0 * (n < 16) + n % 3}\n" for n in range(40)))
        base = EvaluateRequest(
            task="deepfake",
            scores=tmp_path / "s.txt",
            key=tmp_path / "trial_metadata.txt",
            protocol="asvspoof2021-la",
            options=JudgeOptions(n_resamples=20, unit="utterance"),
        )
        found = evaluate(base)
        assert found.judgement.positives + found.judgement.negatives == 35
        assert any("subset 'eval': 35 of 40 rows" in note for note in found.notes)
        every = evaluate(base.model_copy(update={"subset": "all"}))
        assert every.judgement.positives + every.judgement.negatives == 40
        with pytest.raises(UsageError, match="no subset 'progress'"):
            evaluate(base.model_copy(update={"subset": "progress"}))

    def test_what_a_benchmark_leaves_out(self, tmp_path: Path) -> None:
        """CtrSVDD is reported without attack A14 and without ACESinger."""
        key, lines = [], []
        for number in range(40):
            source = "acesinger" if number < 4 else "kising"
            attack = "-" if number < 20 else ("A14" if number < 24 else f"A0{9 + number % 2}"[-3:])
            label = "bonafide" if number < 20 else "deepfake"
            key.append(f"{source} s{number % 5} CtrSVDD_{number:04}_E_{number:07} - {attack} {label}")
            lines.append(f"CtrSVDD_{number:04}_E_{number:07} {(number < 20) + number % 3}")
        (tmp_path / "test.txt").write_text("\n".join(key) + "\n")
        (tmp_path / "s.txt").write_text("\n".join(lines) + "\n")
        request = EvaluateRequest(
            task="deepfake",
            scores=tmp_path / "s.txt",
            key=tmp_path / "test.txt",
            protocol="ctrsvdd",
            options=JudgeOptions(n_resamples=20, unit="utterance"),
        )
        found = evaluate(request)
        assert (found.judgement.positives, found.judgement.negatives) == (16, 16)
        every = evaluate(request.model_copy(update={"subset": "all"}))
        assert (every.judgement.positives, every.judgement.negatives) == (20, 20)

    def test_negated_where_the_user_says_so(self, tmp_path: Path) -> None:
        path = scores(tmp_path / "s.csv", apart=-2)
        plain = EvaluateRequest(task="deepfake", scores=path, options=QUICK)
        assert evaluate(plain).judgement.measure("AUC").interval.value < 0.2
        turned = evaluate(plain.model_copy(update={"negate": True}))
        assert turned.judgement.measure("AUC").interval.value > 0.8
        assert any("multiplied by -1" in note for note in turned.notes)
        assert turned.record.settings["negate"] is True


class TestPolarityProbe:
    def test_a_reversed_model_is_refused(self) -> None:
        with pytest.raises(ModelError, match="favour the wrong class on its own dev"):
            refuse_reversed(PolarityProbe(auc=0.1, low=0.05, high=0.4, unit="speaker"), "m")
        refuse_reversed(PolarityProbe(auc=0.4, low=0.2, high=0.6, unit="speaker"), "m")
        refuse_reversed(None, "m")

    def test_a_models_own_dev_is_known_again(self, tmp_path: Path) -> None:
        """Wherever its files lie: by ids and labels. Reversed there, a model is refused; elsewhere it is said."""
        folder = make_detector(tmp_path / "model")
        info = read_model_info(folder)
        table = pl.read_csv(scores(tmp_path / "s.csv", apart=-2)).with_columns(model=pl.lit(info.reference))
        table.write_csv(tmp_path / "s.csv")
        rows = read_labelled("deepfake", tmp_path / "s.csv").checksum
        probe = PolarityProbe(auc=0.9, low=0.8, high=0.95, unit="speaker", rows=rows)
        revise_model(folder, info.model_copy(update={"polarity_probe": probe}))
        request = EvaluateRequest(task="deepfake", scores=tmp_path / "s.csv", model=str(folder), options=QUICK)
        with pytest.raises(ModelError, match="favour the wrong class on its own dev"):
            evaluate(request)
        table.head(100).write_csv(tmp_path / "s.csv")  # other rows
        assert any("wrong class" in note for note in evaluate(request).judgement.notes)

    def test_a_low_auc_is_said(self, tmp_path: Path) -> None:
        found = evaluate(EvaluateRequest(task="deepfake", scores=scores(tmp_path / "s.csv", apart=-2), options=QUICK))
        assert any("AUC" in note and "wrong class" in note for note in found.judgement.notes)


def test_requests_round_trip() -> None:
    request = EvaluateRequest(task="deepfake", scores=Path("s.csv"), options=QUICK)
    again = TypeAdapter(EvaluateRequest).validate_python(request.model_dump(mode="json"))
    assert again == request
