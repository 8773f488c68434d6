"""Trials whose enrolment is of several recordings, and trials compared by a PLDA of one's own material."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile

from earwitness.cli.main import exit_code
from earwitness.core.errors import DataError, LeakError
from earwitness.corpora.manifest import Manifest
from earwitness.evaluation.scoring.cohorts import CohortOptions
from earwitness.evaluation.scoring.inputs import read_input
from earwitness.evaluation.scoring.trial_scores import score_trials
from earwitness.evaluation.scoring.trials import read_enrolments, read_trials
from earwitness.speaker.embedder import Embedder
from earwitness.speaker.plda import PldaBackEnd
from tiny_models import make_embedder


@pytest.fixture
def people(tmp_path: Path, speechlike: Callable[..., Any]) -> Manifest:
    """Two speakers of three recordings each, and twelve others of two."""
    for name, count, takes in (("person", 2, 3), ("other", 12, 2)):
        rows = []
        for speaker in range(count):
            for take in range(takes):
                path = f"{name}{speaker}-{take}.wav"
                seed = 1000 * len(name) + 10 * speaker + take
                soundfile.write(tmp_path / path, speechlike(1.1, seed=seed), 16_000)
                rows.append({"path": path, "speaker": f"{name}{speaker}", "sex": "f" if speaker else "m"})
        pl.DataFrame(rows).write_csv(tmp_path / f"{name}.csv")
    (tmp_path / "spk2utt").write_text("anna person0-0.wav person0-1.wav\nberta person1-0.wav\n")
    lines = ["anna person0-2.wav target", "anna person1-2.wav nontarget", "person1-1.wav person1-2.wav target"]
    (tmp_path / "trials").write_text("\n".join([*lines, "berta person0-2.wav nontarget"]) + "\n")
    return read_input(tmp_path / "person.csv")


@pytest.fixture
def others(people: Manifest) -> CohortOptions:
    return CohortOptions(read_input(people.root / "other.csv"), back_end="plda")


def table_of(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, infer_schema_length=None)


class TestSeveralReferences:
    def test_an_enrolment_is_the_unit_mean_of_its_recordings(self, people: Manifest, embedder: Embedder) -> None:
        home = people.root
        score_trials(people, home / "trials", embedder, home / "out.csv", enrolments=home / "spk2utt")
        heard = {row.id: embedder.embed_file(people.resolve(row)) for row in people.rows()}
        anna, berta = [heard["person0-0.wav"], heard["person0-1.wav"]], [heard["person1-0.wav"]]
        sides = [
            (anna, "person0-2.wav"),
            (anna, "person1-2.wav"),
            ([heard["person1-1.wav"]], "person1-2.wav"),
            (berta, "person0-2.wav"),
        ]
        table = table_of(home / "out.csv")
        expected = [embedder.compare(known, heard[test]) for known, test in sides]
        assert table["score"].to_list() == pytest.approx(expected, abs=1e-4)
        assert table["enrol"].to_list() == ["anna", "anna", "person1-1.wav", "berta"]
        assert table["enrol_speaker"].to_list() == ["person0", "person0", "person1", "person1"]
        assert table["enrol_recordings"].to_list() == [2, 2, 1, 1]
        assert table["seconds_used_enrol"].to_list() == pytest.approx([2.2, 2.2, 1.1, 1.1], abs=0.05)
        assert table["sex_enrol"].to_list() == ["m", "m", "f", "f"]

    def test_resumed_with_another_list_it_is_scored_again(self, people: Manifest, embedder: Embedder) -> None:
        home, output = people.root, people.root / "out.csv"
        how = {"enrolments": home / "spk2utt", "resume": True}
        score_trials(people, home / "trials", embedder, output, **how)
        assert score_trials(people, home / "trials", embedder, output, **how).skipped == 4
        (home / "spk2utt").write_text("anna person0-0.wav\nberta person1-0.wav\n")
        assert score_trials(people, home / "trials", embedder, output, **how).done == 4

    def test_one_that_cannot_be_heard_is_told_by_name(self, people: Manifest, embedder: Embedder) -> None:
        home = people.root
        (home / "person0-1.wav").write_text("no sound")
        score_trials(people, home / "trials", embedder, home / "out.csv", enrolments=home / "spk2utt")
        table = table_of(home / "out.csv")
        assert table["score"].is_null().to_list() == [True, True, False, False]
        assert table["error"][0].startswith("enrolment: person0-1.wav is not audio")

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("anna\n", "line 1: names no recordings"),
            ("anna a.wav\nanna b.wav\n", "line 2: 'anna' stands there twice"),
            ("anna a.wav a.wav\n", "line 1: 'anna' has a recording twice"),
            ("\n", "holds no enrolments"),
        ],
    )
    def test_bad_lists(self, tmp_path: Path, text: str, said: str) -> None:
        (tmp_path / "list").write_text(text)
        with pytest.raises(DataError, match=said):
            read_enrolments(tmp_path / "list")

    def test_lists_that_do_not_fit(self, people: Manifest) -> None:
        trials = people.root / "trials"
        for known, said in (
            ({"anna": ("person0-0.wav", "person1-0.wav")}, "line 1: enrolment 'anna' holds two speakers"),
            ({"anna": ("person0-0.wav", "person0-2.wav")}, "line 1: compares a recording with itself"),
            ({"anna": ("nobody.wav",)}, "line 1: 'nobody.wav' is not in INPUT"),
        ):
            with pytest.raises(DataError, match=said):
                read_trials(trials, people, known)


def test_the_whole_way_from_the_command_line(
    people: Manifest, others: CohortOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    """Score by a PLDA with enrolments of several recordings, then judge by condition."""
    home = people.root
    model = make_embedder(home / "model")
    words = f"score {home}/person.csv --task speaker --model {model} --trials {home}/trials --enrolment {home}/spk2utt"
    words += f" --back-end plda --cohort {home}/other.csv -o {home}/o.csv"
    assert exit_code(words.split()) == 0
    assert "the PLDA learns from only 12 speakers" in capsys.readouterr().err
    conditions = ("duration", "snr", "sex", "channel")
    by = [word for name in conditions for word in ("--by", name)]
    assert exit_code(["evaluate", "speaker", f"{home}/o.csv", "--resamples", "20", *by]) == 0
    shown = capsys.readouterr().out
    for name in conditions:
        assert f"by {name}" in shown
    assert "both m" in shown
    assert "1: under 2 s" in shown
    assert "PLDA (10 iterations; learnt from 12 speakers" in shown


class TestPlda:
    def test_scores_are_those_of_the_fitted_back_end(
        self, people: Manifest, others: CohortOptions, embedder: Embedder
    ) -> None:
        home = people.root
        how = {"enrolments": home / "spk2utt", "cohort": others}
        tally = score_trials(people, home / "trials", embedder, home / "out.csv", **how)
        assert any("the PLDA learns from only 12 speakers" in note for note in tally.notes)
        learnt = [embedder.embed_file(others.manifest.resolve(row)).vector for row in others.manifest.rows()]
        back_end = PldaBackEnd.fit(np.stack(learnt), others.speakers, 7)  # 8 values less one
        u = {row.id: back_end.project(embedder.embed_file(people.resolve(row)).vector[None]) for row in people.rows()}
        anna = (u["person0-0.wav"] + u["person0-1.wav"]) / 2
        expected = [
            back_end.plda.llr(anna, u["person0-2.wav"], 2),
            back_end.plda.llr(anna, u["person1-2.wav"], 2),
            back_end.plda.llr(u["person1-1.wav"], u["person1-2.wav"]),
            back_end.plda.llr(u["person1-0.wav"], u["person0-2.wav"]),
        ]
        table = table_of(home / "out.csv")
        assert table["score"].to_list() == pytest.approx(np.concatenate(expected).tolist(), abs=1e-4)
        assert table["llr"].is_null().all()
        assert "PLDA (10 iterations; learnt from 12 speakers, 24 recordings" in table["comparison"][0]

    def test_speakers_of_the_trials_are_refused(self, people: Manifest, embedder: Embedder) -> None:
        options = CohortOptions(people, back_end="plda")
        with pytest.raises(LeakError, match=r"2 speaker\(s\) .* of the trials stand in the cohort"):
            score_trials(
                people,
                people.root / "trials",
                embedder,
                people.root / "out.csv",
                cohort=options,
                enrolments=people.root / "spk2utt",
            )

    def test_too_little_to_learn_from(self, people: Manifest, others: CohortOptions, embedder: Embedder) -> None:
        few = CohortOptions(others.manifest.filter(pl.col("speaker").is_in(["other0", "other1"])), back_end="plda")
        with pytest.raises(DataError, match="4 vectors of 2 speakers are too few for 8 dimensions"):
            score_trials(
                people,
                people.root / "trials",
                embedder,
                people.root / "out.csv",
                cohort=few,
                enrolments=people.root / "spk2utt",
            )
