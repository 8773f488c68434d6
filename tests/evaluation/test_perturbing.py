"""The perturbation suite: named, the same each time, resumable, and judged against clean scores on the same rows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from earwitness.audio.perturb import base, item_rng
from earwitness.audio.perturb.suite import PERTURBATIONS, NamedPerturbation
from earwitness.core.errors import DataError, MissingPartError, UsageError
from earwitness.corpora.manifest import Manifest
from earwitness.deepfake.detector import Detector
from earwitness.evaluation import perturbing
from earwitness.evaluation.judging.judge import JudgeOptions
from earwitness.evaluation.judging.labelled import LabelledScores, read_labelled
from earwitness.evaluation.perturbation_suite import parse_names
from earwitness.evaluation.perturbing import model_of, perturbation_report, recordings_of
from earwitness.evaluation.scoring.scorers import score_detection
from earwitness.evaluation.scoring.trial_scores import score_trials
from earwitness.speaker.embedder import Embedder
from tiny_models import make_detector

QUICK = JudgeOptions(n_resamples=20)
FILES = 8


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory, speechlike: Callable[..., object]) -> Manifest:
    """Eight recordings of four speakers, every second one synthetic."""
    folder = tmp_path_factory.mktemp("recordings")
    for number in range(FILES):
        soundfile.write(folder / f"{number}.wav", speechlike(1.2, seed=number), 16_000)
    table = pl.DataFrame(
        {
            "id": [f"r{number}" for number in range(FILES)],
            "path": [f"{number}.wav" for number in range(FILES)],
            "label": ["bonafide", "spoof"] * (FILES // 2),
            "speaker": [f"s{number % 4}" for number in range(FILES)],
        }
    )
    return Manifest(table, folder)


@pytest.fixture(scope="module")
def clean(manifest: Manifest, detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> LabelledScores:
    path = tmp_path_factory.mktemp("clean") / "scores.csv"
    score_detection(manifest, detector, path)
    return read_labelled("deepfake", path)


def scores_under(name: str, folder: Path) -> pl.DataFrame:
    return pl.read_csv(folder / f"{name}.scores.csv")


class TestSuite:
    def test_names_are_unique_and_serve_as_file_names(self) -> None:
        names = [perturbation.name for perturbation in PERTURBATIONS]
        assert len(set(names)) == len(names) > 25
        assert all(name == Path(name).name and "," not in name and " " not in name for name in names)

    @pytest.mark.parametrize("perturbation", PERTURBATIONS, ids=lambda p: p.name)
    def test_each_changes_the_samples_and_draws_nothing_else(
        self, perturbation: NamedPerturbation, speechlike: Callable[..., object]
    ) -> None:
        samples = speechlike(1)
        try:
            perturb = perturbation.config.build()
        except MissingPartError:
            pytest.skip("this machine lacks the codec")
        one, two = (perturb(samples, 16_000, item_rng(0, 0, "a")) for _ in range(2))
        np.testing.assert_array_equal(one, two)
        length = min(len(one), len(samples))
        assert np.abs(one[:length] - samples[:length]).max() > 1e-4
        assert np.isfinite(one).all()

    def test_it_holds_what_published_robustness_tests_ask_for(self) -> None:
        """f-InfoED's perturbations as the sheet of that method lists them (section 4)."""
        wanted = (
            "white-noise-20db white-noise-10db white-noise-0db mp3-64k mp3-32k resample-8000hz gain-6db gain+6db-uncut"
        )
        also = "low-pass-4000hz rawboost-lnl rawboost-isd rawboost-ssi"
        assert {*wanted.split(), *also.split()} <= {perturbation.name for perturbation in PERTURBATIONS}

    @pytest.mark.parametrize(("name", "gain_db"), [("gain-6db", -6), ("gain+6db-uncut", 6)])
    def test_a_gain_is_nothing_but_a_gain(self, name: str, gain_db: float, speechlike: Callable[..., object]) -> None:
        samples = speechlike(1)
        changed = parse_names(name)[0].config.build()(samples, 16_000, item_rng(0, 0, "a"))
        np.testing.assert_allclose(changed, samples * 10 ** (gain_db / 20), rtol=1e-5)

    def test_louder_is_louder_and_cut(self, speechlike: Callable[..., object]) -> None:
        samples = speechlike(1)
        louder = parse_names("gain+6db")[0].config.build()(samples, 16_000, item_rng(0, 0, "a"))
        assert np.abs(louder).max() == pytest.approx(np.abs(samples).max(), rel=1e-3)
        quiet = np.abs(samples) < 0.1
        np.testing.assert_allclose(louder[quiet], samples[quiet] * 10 ** (6 / 20), rtol=1e-3)

    def test_parse(self) -> None:
        assert parse_names("all") == PERTURBATIONS
        assert [found.name for found in parse_names("telephone, mp3-32k,telephone")] == ["mp3-32k", "telephone"]

    @pytest.mark.parametrize(
        ("text", "said"),
        [("mp3-23k", "Did you mean 'mp3-32k'"), ("all,x", "no perturbation 'all'"), (" ,", "names no")],
    )
    def test_parse_refuses(self, text: str, said: str) -> None:
        with pytest.raises(UsageError, match=said):
            parse_names(text)


class TestDetection:
    def test_scores_again_and_compares(
        self, tmp_path: Path, manifest: Manifest, detector: Detector, clean: LabelledScores
    ) -> None:
        steps: list[int] = []
        chosen = parse_names("white-noise-5db,telephone")
        results = perturbation_report(
            clean, manifest, detector, tmp_path, chosen, QUICK, progress=lambda: steps.append(1)
        )
        assert len(steps) == 2 * recordings_of(clean) == 2 * FILES
        assert [result.name for result in results] == ["white-noise-5db", "telephone"]
        for result in results:
            table = scores_under(result.name, tmp_path)
            before = clean.table["score"].to_numpy()
            assert table["id"].to_list() == manifest.table["id"].to_list()
            assert np.abs(table["score"].to_numpy() - before).max() > 1e-3
            assert result.rows == FILES
            assert result.failed == 0
            assert not result.note
            assert result.eer is not None
            assert result.clean is not None
            assert result.difference is not None
            judged = read_labelled("deepfake", tmp_path / f"{result.name}.scores.csv")
            assert result.eer.value == pytest.approx(
                perturbing.compare(judged, clean, ("a", "b"), QUICK).eer.first.value
            )
            assert result.difference.value == pytest.approx(result.eer.value - result.clean.value)
            names = [other.name for other in result.others]
            assert {"AUC", "minCllr", "Cllr"} < set(names)
            assert any(name.startswith("minDCF") for name in names)
            for other in result.others:
                change = other.paired.first.value - other.paired.second.value
                assert other.paired.difference.value == pytest.approx(change)

    def test_each_recording_has_its_own_noise_whatever_else_is_scored(
        self, tmp_path: Path, manifest: Manifest, detector: Detector, clean: LabelledScores
    ) -> None:
        chosen = parse_names("white-noise-10db")
        perturbation_report(clean, manifest, detector, tmp_path / "all", chosen, QUICK, workers=2)
        some = clean.with_ids(["r5", "r2"])
        perturbation_report(some, manifest, detector, tmp_path / "some", chosen, QUICK)
        whole = dict(scores_under("white-noise-10db", tmp_path / "all").select("id", "score").iter_rows())
        part = dict(scores_under("white-noise-10db", tmp_path / "some").select("id", "score").iter_rows())
        assert part == {name: whole[name] for name in ("r2", "r5")}
        samples = soundfile.read(manifest.root / "2.wav", dtype="float32")[0]
        rng = item_rng(0, 0, "white-noise-10db/r2")
        noisy = chosen[0].config.build()(samples, 16_000, rng)
        assert part["r2"] == pytest.approx(detector.score(noisy, 16_000).score, abs=1e-5)

    def test_goes_on_where_it_stopped(
        self,
        tmp_path: Path,
        manifest: Manifest,
        detector: Detector,
        clean: LabelledScores,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        chosen = parse_names("gain-20db")
        perturbation_report(clean, manifest, detector, tmp_path / "whole", chosen, QUICK)
        hear, heard = Detector.score, []

        def killed(self: Detector, *given: object) -> object:
            if len(heard) == 6:
                raise KeyboardInterrupt
            heard.append(1)
            return hear(self, *given)

        with monkeypatch.context() as patch:
            patch.setattr(Detector, "score", killed)
            with pytest.raises(KeyboardInterrupt):
                perturbation_report(clean, manifest, detector, tmp_path / "torn", chosen, QUICK)
            for thread in threading.enumerate():  # what was under way is not waited for
                if thread.name.startswith("worker"):
                    thread.join()
        assert not (tmp_path / "torn" / "gain-20db.scores.csv").exists()
        calls: list[int] = []
        monkeypatch.setattr(Detector, "score", lambda self, *given: (calls.append(1), hear(self, *given))[1])
        perturbation_report(clean, manifest, detector, tmp_path / "torn", chosen, QUICK)
        assert len(calls) == 3 + (FILES - 3)  # the check, and what the first run had left after its own
        one, two = (scores_under("gain-20db", tmp_path / name) for name in ("whole", "torn"))
        assert one.equals(two)

    def test_rows_of_another_seed_are_refused(
        self, tmp_path: Path, manifest: Manifest, detector: Detector, clean: LabelledScores
    ) -> None:
        chosen = parse_names("white-noise-5db")
        perturbation_report(clean, manifest, detector, tmp_path, chosen, QUICK)
        with pytest.raises(UsageError, match="seed 0"):
            perturbation_report(clean, manifest, detector, tmp_path, chosen, JudgeOptions(n_resamples=5, seed=1))

    def test_what_the_machine_lacks_is_said(
        self,
        tmp_path: Path,
        manifest: Manifest,
        detector: Detector,
        clean: LabelledScores,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("earwitness.audio.perturb.codec.available_codecs", lambda: ("mp3",))
        (result,) = perturbation_report(clean, manifest, detector, tmp_path, parse_names("gsm"), QUICK)
        assert result.note.startswith("not run: codec gsm is missing")
        assert result.eer is None
        assert result.difference is None

    def test_too_long_is_an_error_row_and_leaves_the_rest(
        self,
        tmp_path: Path,
        manifest: Manifest,
        detector: Detector,
        speechlike: Callable[..., object],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for number in range(FILES):
            soundfile.write(tmp_path / f"{number}.wav", speechlike(1.2 if number else 3, seed=number), 16_000)
        there = Manifest(manifest.table, tmp_path)
        score_detection(there, detector, tmp_path / "scores.csv")
        clean = read_labelled("deepfake", tmp_path / "scores.csv")
        monkeypatch.setattr(perturbing, "LONGEST_S", 2.0)
        (result,) = perturbation_report(clean, there, detector, tmp_path / "p", parse_names("telephone"), QUICK)
        assert (result.rows, result.failed) == (FILES - 1, 1)
        first = scores_under("telephone", tmp_path / "p").row(0, named=True)
        assert first["score"] is None
        assert "longer than the 2 s" in first["error"]

    def test_all_failed_has_no_eer_and_says_so(
        self,
        tmp_path: Path,
        manifest: Manifest,
        detector: Detector,
        clean: LabelledScores,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        silence = NamedPerturbation("silence", "nothing left", _Silence())
        (result,) = perturbation_report(clean, manifest, detector, tmp_path, [silence], QUICK)
        assert result.failed == FILES
        assert result.eer is None
        assert result.note.startswith("no EER")


class _Silence(base.BasePerturbationConfig):
    kind: str = "silence"

    def operation(self) -> base.Operation:
        return lambda samples, rate, rng: np.zeros_like(samples)


class TestModel:
    def test_must_be_the_one_that_made_the_scores(
        self, tmp_path: Path, clean: LabelledScores, detector: Detector
    ) -> None:
        with pytest.raises(UsageError, match=r"tiny-detector-0 .* not shipped"):
            model_of(clean)
        with pytest.raises(UsageError, match=r"is tiny-detector-1 .* and the scores are of tiny-detector-0"):
            model_of(clean, make_detector(tmp_path / "other", seed=1))
        found = model_of(clean, make_detector(tmp_path / "same", seed=0))
        assert found.info.reference == detector.info.reference

    def test_a_shipped_one_is_found_by_what_the_scores_say(self, clean: LabelledScores) -> None:
        shipped = perturbing.shipped_models()
        if "deepfake-small" not in shipped:
            pytest.skip("there is no small shipped detector")
        reference = perturbing.read_model_info(shipped["deepfake-small"]).reference
        table = clean.table.with_columns(model=pl.lit(reference))
        assert model_of(LabelledScores("deepfake", table, (), (), {})).info.reference == reference

    def test_scores_of_several_or_unsaid_models(self, clean: LabelledScores) -> None:
        mixed = clean.table.with_columns(model=pl.Series([f"m{number % 2}" for number in range(FILES)]))
        with pytest.raises(DataError, match=r"several models \(m0, m1\)"):
            model_of(LabelledScores("deepfake", mixed, (), (), {}))
        with pytest.raises(UsageError, match="do not say which model"):
            model_of(LabelledScores("deepfake", clean.table.drop("model"), (), (), {}))

    def test_other_scores_are_refused_before_the_work(
        self, tmp_path: Path, manifest: Manifest, clean: LabelledScores, other_detector: Detector
    ) -> None:
        with pytest.raises(DataError, match="the scores are not of this model: 'r0'"):
            perturbation_report(clean, manifest, other_detector, tmp_path, parse_names("all"), QUICK)
        assert not list(tmp_path.glob("*.csv*"))

    def test_missing_recordings_are_told(
        self, tmp_path: Path, manifest: Manifest, clean: LabelledScores, detector: Detector
    ) -> None:
        with pytest.raises(DataError, match="no recording 'r0'"):
            perturbation_report(clean, manifest.filter(pl.col("id") != "r0"), detector, tmp_path, PERTURBATIONS)
        elsewhere = Manifest(manifest.table, tmp_path)
        with pytest.raises(DataError, match="none of the scored recordings can be heard again"):
            perturbation_report(clean, elsewhere, detector, tmp_path, PERTURBATIONS)


@pytest.fixture(scope="module")
def trials(manifest: Manifest, embedder: Embedder, tmp_path_factory: pytest.TempPathFactory) -> LabelledScores:
    """Each of the first four recordings against each of the last four; one speaker in four."""
    folder = tmp_path_factory.mktemp("trials")
    pairs = [(e, t, int(e == t % 4)) for e in range(4) for t in range(4, 8)]
    (folder / "trials.txt").write_text("".join(f"{same} r{e} {t}.wav\n" for e, t, same in pairs))
    score_trials(manifest, folder / "trials.txt", embedder, folder / "scores.csv")
    return read_labelled("speaker", folder / "scores.csv")


class TestSpeakers:
    def test_the_test_side_alone_is_perturbed(
        self, tmp_path: Path, manifest: Manifest, embedder: Embedder, trials: LabelledScores
    ) -> None:
        chosen = parse_names("pink-noise-5db")
        (result,) = perturbation_report(trials, manifest, embedder, tmp_path, chosen, QUICK)
        assert result.rows == 16
        assert result.failed == 0
        assert result.difference is not None
        table = scores_under("pink-noise-5db", tmp_path)
        assert set(table["id"]) == set(trials.table["id"])
        row = table.filter(pl.col("enrol") == "r1", pl.col("test") == "5.wav").row(0, named=True)
        assert row["label"] == "target"
        one, two = (soundfile.read(manifest.root / f"{number}.wav", dtype="float32")[0] for number in (1, 5))
        noisy = chosen[0].config.build()(two, 16_000, item_rng(0, 0, "pink-noise-5db/r5"))
        expected = embedder.compare([embedder.embed(one, 16_000)], embedder.embed(noisy, 16_000))
        assert row["score"] == pytest.approx(expected, abs=1e-5)
        assert recordings_of(trials) == 4
        assert read_labelled("speaker", tmp_path / "pink-noise-5db.scores.csv").table.height == 16

    def test_an_enrolment_that_went_away_is_told(
        self, tmp_path: Path, manifest: Manifest, embedder: Embedder, trials: LabelledScores
    ) -> None:
        for number in range(1, FILES):
            (tmp_path / f"{number}.wav").write_bytes((manifest.root / f"{number}.wav").read_bytes())
        with pytest.raises(DataError, match=r"0\.wav: the enrolment cannot be heard again"):
            perturbation_report(trials, Manifest(manifest.table, tmp_path), embedder, tmp_path / "p", PERTURBATIONS)
