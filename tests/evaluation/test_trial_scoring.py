"""Trials by a cohort of one's own, what their table states, and what `evaluate` can print of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile

from earwitness.core.errors import DataError, LeakError
from earwitness.corpora.manifest import Manifest
from earwitness.evaluation.judging.judge import judge
from earwitness.evaluation.judging.labelled import read_labelled
from earwitness.evaluation.judging.speaker_statement import STATED, describe_trials_scores, training_statement
from earwitness.evaluation.scoring import scorers as scoring
from earwitness.evaluation.scoring import trial_scores
from earwitness.evaluation.scoring.cohorts import CohortOptions
from earwitness.evaluation.scoring.inputs import read_input
from earwitness.evaluation.scoring.trial_scores import score_trials
from earwitness.speaker.comparison import enrol
from earwitness.speaker.embedder import Embedder
from earwitness.speaker.identities import TRAINING_SPEAKERS, speaker_keys
from earwitness.training.model_folder import DataSource


@pytest.fixture
def voices(tmp_path: Path, speechlike: Callable[..., Any]) -> Path:
    """Three speakers of two recordings each, trials between them, and a cohort of four others."""
    folder = tmp_path / "voices"
    folder.mkdir()
    for name in ("people", "others"):
        rows = []
        for speaker in range(3 if name == "people" else 4):
            for take in range(2):
                seed = 100 * len(name) + 10 * speaker + take + (50 if name == "others" else 0)
                soundfile.write(folder / f"{name}{speaker}{take}.wav", speechlike(1.5, seed=seed), 16_000)
                rows.append({"path": f"{name}{speaker}{take}.wav", "speaker": f"{name}{speaker}"})
        pl.DataFrame(rows).write_csv(folder / f"{name}.csv")
    lines = ["1 people00.wav people01.wav", "0 people00.wav people10.wav", "1 people20.wav people21.wav"]
    (folder / "trials.txt").write_text("\n".join([*lines, "0 people21.wav people11.wav"]) + "\n")
    return folder


@pytest.fixture
def people(voices: Path) -> Manifest:
    return read_input(voices / "people.csv")


@pytest.fixture
def others(voices: Path) -> Manifest:
    return read_input(voices / "others.csv")


def table_of(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, infer_schema=False)


def slow_scores(voices: Path, embedder: Embedder, top: int, subtract_mean: bool) -> list[float]:
    """AS-norm of the four trials, written out."""

    def heard(name: str) -> np.ndarray:
        return embedder.embed_file(voices / name).vector.astype(np.float64)

    cohort = np.stack(
        [enrol(np.stack([heard(f"others{s}{take}.wav") for take in range(2)]).astype(np.float32)) for s in range(4)]
    ).astype(np.float64)
    mean = cohort.mean(axis=0) if subtract_mean else np.zeros(cohort.shape[1])

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        a, b = a - mean, b - mean
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    found = []
    for line in (voices / "trials.txt").read_text().splitlines():
        e, t = (heard(name) for name in line.split()[1:])
        parts = []
        for side in (e, t):
            nearest = sorted((cosine(side, c) for c in cohort), reverse=True)[:top]
            parts.append((cosine(e, t) - np.mean(nearest)) / (np.std(nearest) + 1e-8))
        found.append(float(np.mean(parts)))
    return found


class TestCohort:
    @pytest.mark.parametrize("subtract_mean", [False, True])
    def test_scores_are_as_norm_against_the_speakers_means(
        self, voices: Path, people: Manifest, others: Manifest, embedder: Embedder, subtract_mean: bool
    ) -> None:
        options = CohortOptions(others, top=3, subtract_mean=subtract_mean)
        score_trials(people, voices / "trials.txt", embedder, voices / "out.csv", cohort=options)
        table = table_of(voices / "out.csv")
        expected = slow_scores(voices, embedder, 3, subtract_mean)
        assert table["score"].cast(pl.Float64).to_list() == pytest.approx(expected, rel=1e-3, abs=1e-3)
        assert table["llr"].null_count() == 4  # the model's calibration is of other scores
        (said,) = set(table["comparison"])
        assert "AS-norm (ddof 0); cohort: 4 speakers (sha256 " in said
        assert said.endswith("; K: 3")
        assert ("mean subtraction: none" in said) is not subtract_mean
        assert (voices / "out.csv.cohort.jsonl").exists()
        assert not (voices / "out.csv.prints.jsonl").exists()

    def test_resumed_it_hears_nothing_again(
        self, voices: Path, people: Manifest, others: Manifest, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trials, output, options = voices / "trials.txt", voices / "out.csv", CohortOptions(others, top=3)
        score_trials(people, trials, embedder, voices / "whole.csv", cohort=options)
        steps = iter(range(100))

        def interruption() -> None:
            if next(steps) == 9:  # within the trials' recordings; all of the cohort is heard
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            score_trials(people, trials, embedder, output, cohort=options, progress=interruption)
        heard: list[str] = []
        stream = scoring.stream

        def counted(path: Path, *rest: Any) -> Any:
            heard.append(path.name)
            return stream(path, *rest)

        monkeypatch.setattr(scoring, "stream", counted)
        score_trials(people, trials, embedder, output, cohort=options, resume=True)
        assert heard
        assert not [name for name in heard if name.startswith("others")]
        assert output.read_bytes() == (voices / "whole.csv").read_bytes()
        heard.clear()
        again = score_trials(people, trials, embedder, output, cohort=options, resume=True)
        assert (again.done, again.skipped, heard) == (0, 4, [])
        assert again.notes[0].startswith("trials.txt: 4 trials, 2 target, 3 speakers")
        other = score_trials(people, trials, embedder, output, cohort=CohortOptions(others, top=2), resume=True)
        assert other.done == 4  # another K is another score

    @pytest.mark.shows("speaker-metrics:9.4")
    def test_speakers_of_the_trials_are_refused_before_anything_is_heard(
        self, voices: Path, people: Manifest, embedder: Embedder
    ) -> None:
        with pytest.raises(
            LeakError, match=r"3 speaker\(s\) \('people0', 'people1', 'people2'\) of the trials stand in"
        ):
            score_trials(people, voices / "trials.txt", embedder, voices / "out.csv", cohort=CohortOptions(people))
        assert not list(voices.glob("out*"))
        options = CohortOptions(people)
        score_trials(people, voices / "trials.txt", embedder, voices / "out.csv", cohort=options, allow_leak=True)
        assert table_of(voices / "out.csv")["leak_check"][0].startswith("leak allowed by name: 3 speaker(s)")

    def test_a_cohort_that_cannot_be_heard_whole_or_has_no_speakers(
        self, voices: Path, people: Manifest, others: Manifest, embedder: Embedder
    ) -> None:
        nameless = others.with_table(others.table.with_columns(speaker=pl.lit(None)))
        with pytest.raises(DataError, match=r"others00\.wav: has no speaker"):
            score_trials(people, voices / "trials.txt", embedder, voices / "out.csv", cohort=CohortOptions(nameless))
        (voices / "others11.wav").write_text("no sound")
        with pytest.raises(
            DataError, match=r"others11\.wav: 1 recording\(s\) of the cohort cannot be heard; .*not audio"
        ):
            score_trials(people, voices / "trials.txt", embedder, voices / "out.csv", cohort=CohortOptions(others))
        left = others.filter(pl.col("path") != "others11.wav")
        score_trials(
            people, voices / "trials.txt", embedder, voices / "out.csv", cohort=CohortOptions(left), resume=True
        )
        assert "K: 4" in table_of(voices / "out.csv")["comparison"][0]


def test_ratios_of_a_table_are_those_of_the_model(voices: Path, people: Manifest, embedder: Embedder) -> None:
    score_trials(people, voices / "trials.txt", embedder, voices / "out.csv")
    for row in table_of(voices / "out.csv").to_dicts():
        assert float(row["llr"]) == pytest.approx(embedder.info.llr(float(row["score"])), abs=1e-9)
    scores = np.linspace(-9, 9, 50)
    found = trial_scores._ratios(embedder.info, scores)
    assert found.to_list() == pytest.approx([embedder.info.llr(score) for score in scores])  # bounds too


class TestStatement:
    @pytest.mark.shows("speaker-metrics:9.8")
    def test_a_result_states_all_that_it_depends_on(
        self, voices: Path, people: Manifest, others: Manifest, embedder: Embedder
    ) -> None:
        """List and cleaned or not, mean subtraction, cohort, K, large margin or not, training set from the table; EER
        definition, P_tar and normalised or not from the judgement."""
        info = embedder.info.model_copy(
            update={
                "data": (DataSource(name="voxceleb2", licence="CC-BY-4.0"),),
                "training": {"settings": {"margin": {"kind": "aam", "margin": 0.2}}},
                "extra": {TRAINING_SPEAKERS: speaker_keys(["id00012"])},
            }
        )
        model = Embedder(embedder.network, info, embedder.comparator.cohort)
        options = CohortOptions(others, top=3, subtract_mean=True)
        score_trials(people, voices / "trials.txt", model, voices / "out.csv", cohort=options)
        scores = read_labelled("speaker", voices / "out.csv")
        lines = describe_trials_scores(scores.table)
        assert [line[:11].strip() for line in lines] == [*STATED.values(), "costs"]
        text = "\n".join(lines)
        for said in (
            "trials.txt: 4 trials, 2 target, 3 speakers; no published VoxCeleb1 list, neither original nor cleaned",
            "mean subtraction: sha256 ",
            "AS-norm (ddof 0); cohort: 4 speakers (sha256 ",
            "K: 3",
            "trained on  voxceleb2; large margin: no (aam, 0.2)",
            "leak check  none of 3 speakers is known from training or cohort",
            f"model       {info.reference}",
            "costs       normalised",
        ):
            assert said in text
        definitions = {measure.name: measure.definition for measure in judge(scores).measures}
        assert "interpolat" in definitions["EER"]
        costs = [definition for name, definition in definitions.items() if name.startswith("minDCF")]
        assert ["P_target 0.01" in costs[0], "P_target 0.05" in costs[1]] == [True, True]

    @pytest.mark.shows("speaker-metrics:9.8")
    def test_what_is_not_done_is_said_too(self, voices: Path, people: Manifest, embedder: Embedder) -> None:
        plain = Embedder(embedder.network, embedder.info)
        score_trials(people, voices / "trials.txt", plain, voices / "out.csv")
        text = "\n".join(describe_trials_scores(table_of(voices / "out.csv")))
        assert "mean subtraction: none; score normalisation: none; cohort: none; K: none" in text
        assert "trained on  not recorded; large margin: not recorded" in text
        assert "not checked: the model does not name its training speakers" in text

    def test_a_table_of_others_and_a_mixed_one(self) -> None:
        lines = describe_trials_scores(pl.DataFrame({"model": ["a", "b", None, "a"], "windows": [None] * 4}))
        assert "model       2 different ones: a | b" in lines
        assert sum(line.endswith("not stated") for line in lines) == len(STATED) - 1

    def test_large_margin_is_told(self, embedder: Embedder) -> None:
        info = embedder.info.model_copy(update={"training": {"settings": {"margin": {"kind": "aam", "margin": 0.5}}}})
        assert training_statement(info) == "not recorded; large margin: yes (aam, 0.5)"
