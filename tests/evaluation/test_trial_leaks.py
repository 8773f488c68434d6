"""Published lists by their counts, and models that know the speakers of the trials."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from earwitness.core.errors import LeakError
from earwitness.corpora.manifest import Manifest
from earwitness.evaluation.scoring.trial_leaks import check_trials
from earwitness.evaluation.scoring.trials import TrialList, Trials, read_trials, write_trials
from earwitness.evaluation.scoring.voxceleb_lists import PUBLISHED, PublishedList, named_like, recognise
from earwitness.speaker.comparison import Cohort
from earwitness.speaker.embedder import Embedder
from earwitness.speaker.identities import TRAINING_SPEAKERS, speaker_keys
from earwitness.training.model_folder import DataSource, ModelInfo


def stand_in(published: PublishedList) -> TrialList:
    """A list with the counts of a published one, and other names."""
    pairs = tuple((f"id10270/{i}.wav", f"id10271/{i}.wav") for i in range(published.trials))
    labels = ("target",) * published.targets + ("nontarget",) * (published.trials - published.targets)
    return TrialList(pairs, labels)


def published(name: str) -> PublishedList:
    return next(p for p in PUBLISHED if p.name == name)


O_CLEANED = published("Vox1-O cleaned")


@pytest.fixture
def info(embedder: Embedder) -> ModelInfo:
    return embedder.info


def trained_on(info: ModelInfo, corpora: Sequence[str] = (), speakers: Sequence[str] | None = None) -> ModelInfo:
    extra = {} if speakers is None else {TRAINING_SPEAKERS: speaker_keys(speakers)}
    data = tuple(DataSource(name=name, licence="unknown") for name in corpora)
    return info.model_copy(update={"data": data, "extra": extra})


def trials_of(speakers: Sequence[str | None], tmp_path: Path) -> Trials:
    """Two recordings of each speaker, all pairs."""
    rows = [(f"{place}-{take}.wav", speaker) for place, speaker in enumerate(speakers) for take in range(2)]
    table = pl.DataFrame({"path": [path for path, _ in rows], "speaker": [name for _, name in rows]})
    pairs = tuple((a, b) for (a, _), (b, _) in combinations(rows, 2))
    write_trials(tmp_path / "list", TrialList(pairs, ("nontarget",) * len(pairs)), "kaldi")
    return read_trials(tmp_path / "list", Manifest(table, tmp_path))


class TestRecognised:
    @pytest.mark.shows("speaker-metrics:9.7")
    def test_a_canonical_list_by_its_counts_in_either_form(self, tmp_path: Path) -> None:
        trials = stand_in(O_CLEANED)
        for form in ("voxceleb", "kaldi"):
            write_trials(tmp_path / "mine.txt", trials, form)  # type: ignore[arg-type]
            found = recognise(trials, tmp_path / "mine.txt")
            assert found.published is O_CLEANED
            assert found.statement.startswith("Vox1-O cleaned: 37,611 trials, 18,802 target, 40 speakers (counts as")
        assert "named like" not in found.statement

    def test_the_checksum_counts_in_either_form(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import hashlib
        from dataclasses import replace

        from earwitness.evaluation.scoring import voxceleb_lists

        small = replace(O_CLEANED, trials=4, targets=1)
        trials = stand_in(small)
        write_trials(tmp_path / "voxceleb", trials, "voxceleb")
        md5 = hashlib.md5((tmp_path / "voxceleb").read_bytes()).hexdigest()
        write_trials(tmp_path / "kaldi", trials, "kaldi")
        monkeypatch.setattr(voxceleb_lists, "PUBLISHED", (replace(small, md5=md5),))
        for form in ("voxceleb", "kaldi"):
            assert "(checksum as published)" in recognise(trials, tmp_path / form).statement
        turned = TrialList(trials.names[::-1], trials.labels[::-1])
        assert "checksum not: another order" in recognise(turned, tmp_path / "gone").statement

    @pytest.mark.shows("speaker-metrics:9.7")
    def test_a_list_under_another_list_s_name_is_told_so(self) -> None:
        found = recognise(stand_in(published("Vox1-O original")), "lists/veri_test2.txt")
        assert found.statement.startswith("Vox1-O original: 37,720 trials, 18,860 target")
        assert "its file veri_test2.txt is named like Vox1-O cleaned (37,611 trials, 18,802 target)" in found.statement

    def test_a_part_of_a_list_is_no_published_list(self) -> None:
        trials = stand_in(O_CLEANED)
        part = TrialList(trials.names[:1000], trials.labels[:1000])
        found = recognise(part, "veri_test2.txt")
        assert found.published is None
        assert "1,000 trials, 1,000 target, 2 speakers; no published VoxCeleb1 list" in found.statement
        assert "though named like Vox1-O cleaned" in found.statement
        assert "though" not in recognise(part, "mine.txt").statement

    @pytest.mark.parametrize(
        ("file", "name"),
        [
            ("veri_test.txt", "Vox1-O original"),
            ("veri_test2.txt", "Vox1-O cleaned"),
            ("list_test_hard2.txt", "Vox1-H cleaned"),
            ("vox1_E_cleaned.kaldi", "Vox1-E cleaned"),
            ("vox1-H(cleaned).txt", "Vox1-H cleaned"),
            ("voxceleb1-O", "Vox1-O original"),
        ],
    )
    def test_what_a_file_s_name_claims(self, file: str, name: str) -> None:
        assert named_like(file) is published(name)

    def test_names_that_claim_nothing(self) -> None:
        assert [named_like(file) for file in ("trials.txt", "vox2_cali", "voxpopuli", "vox1_other.txt")] == [None] * 4


class TestLeaks:
    @pytest.mark.shows("speaker-metrics:9.7")
    @pytest.mark.parametrize("name", ["Vox1-E cleaned", "Vox1-E original", "Vox1-H cleaned", "Vox1-H original"])
    @pytest.mark.parametrize("corpus", ["voxceleb1", "VoxCeleb 1 dev", "vox1", "voxceleb"])
    def test_e_and_h_are_refused_to_models_of_voxceleb1(
        self, info: ModelInfo, tmp_path: Path, name: str, corpus: str
    ) -> None:
        trials, model = trials_of([None, None], tmp_path), trained_on(info, ["fsdd", corpus])
        with pytest.raises(LeakError, match=f"{name} is of the speakers of VoxCeleb1"):
            check_trials(model, trials, published(name), None)
        assert check_trials(model, trials, published(name), None, allow_leak=True).startswith("leak allowed by name: ")

    def test_o_is_for_all_and_e_and_h_for_models_of_voxceleb2(self, info: ModelInfo, tmp_path: Path) -> None:
        trials = trials_of([None, None], tmp_path)
        check_trials(trained_on(info, ["voxceleb1"]), trials, O_CLEANED, None)
        for corpus in ("voxceleb2", "VoxCeleb 2 dev", "vox2", "voxpopuli"):
            check_trials(trained_on(info, [corpus]), trials, published("Vox1-H cleaned"), None)
        calibrated = info.model_copy(
            update={"data": (DataSource(name="voxceleb1", licence="unknown", use="calibration"),), "extra": {}}
        )
        check_trials(calibrated, trials, published("Vox1-H cleaned"), None)

    def test_dev_speakers_of_voxceleb1_in_a_list_of_one_s_own(self, info: ModelInfo, tmp_path: Path) -> None:
        model = trained_on(info, ["voxceleb1"])
        with pytest.raises(
            LeakError, match=r"1 speaker\(s\) \('id10001'\) of the trials are dev speakers of VoxCeleb1"
        ):
            check_trials(model, trials_of(["id10001", "id10270"], tmp_path), None, None)
        check_trials(model, trials_of(["id10270", "id10309", "id00012"], tmp_path), None, None)

    @pytest.mark.shows("speaker-metrics:9.7")
    def test_training_speakers_are_refused_on_any_list(self, info: ModelInfo, tmp_path: Path) -> None:
        model = trained_on(info, ["own"], ["anna", "bert", "carl"])
        with pytest.raises(
            LeakError, match=r"2 speaker\(s\) \('anna', 'carl'\) of the trials are speakers of its training"
        ):
            check_trials(model, trials_of(["anna", "carl", "dora"], tmp_path), None, None)
        allowed = check_trials(model, trials_of(["anna", "dora"], tmp_path), None, None, allow_leak=True)
        assert allowed == "leak allowed by name: 1 speaker(s) ('anna') of the trials are speakers of its training"
        clean = check_trials(model, trials_of(["dora", "emil"], tmp_path), None, None)
        assert clean == "none of 2 speakers is known from training"

    @pytest.mark.shows("speaker-metrics:9.4")
    def test_the_cohort_s_speakers_are_refused(self, info: ModelInfo, tmp_path: Path) -> None:
        cohort = Cohort(np.eye(2, dtype=np.float32), 2, frozenset(speaker_keys(["anna", "bert"])))
        with pytest.raises(LeakError, match=r"1 speaker\(s\) \('anna'\) of the trials stand in the cohort"):
            check_trials(trained_on(info, [], []), trials_of(["anna", "dora"], tmp_path), None, cohort)
        clean = check_trials(trained_on(info, [], []), trials_of(["emil", "dora"], tmp_path), None, cohort)
        assert clean == "none of 2 speakers is known from training or cohort"

    def test_a_check_that_cannot_be_made_says_so(self, info: ModelInfo, tmp_path: Path) -> None:
        unnamed = Cohort(np.eye(2, dtype=np.float32))
        found = check_trials(trained_on(info), trials_of(["anna", "dora"], tmp_path), None, unnamed)
        assert found == "not checked: the model does not name its training speakers and cohort speakers"
        model = trained_on(info, [], ["anna"])
        assert "not known who speaks" in check_trials(model, trials_of(["anna", None], tmp_path), None, None)
