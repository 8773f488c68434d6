"""From a speaker recipe to a model folder that answers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from earwitness.core.errors import DataError, UsageError
from earwitness.corpora.batch import Batch, Targets
from earwitness.corpora.batches import Vocabulary
from earwitness.corpora.manifest import Manifest
from earwitness.nn.losses import AamConfig
from earwitness.speaker.embedder import COHORT_FILE, Embedder
from earwitness.speaker.recipe import SpeakerRecipe
from earwitness.speaker.task import SpeakerTask
from earwitness.speaker.training import add_cohort, speaker_means, start_classes, train_embedder, trials
from earwitness.training.data import read_split
from earwitness.training.model_folder import load_arrays, load_weights, verify_model


def test_the_model_folder_is_whole_and_says_what_it_is(run: Path) -> None:
    info = verify_model(run / "model")
    assert (info.task, info.polarity, info.stored) == ("speaker", "higher = same speaker", "float16")
    assert info.windows.name == "sliding 0.5 s / 0.25 s"
    assert [(source.name, source.licence, source.use) for source in info.data] == [
        ("common", "CC0-1.0", "training and calibration")
    ]
    assert info.training["command"] == "train tiny"
    assert any("dev window eer" in str(note) for note in info.training["notes"])  # type: ignore[union-attr]
    assert info.limits
    assert -1 <= float(info.extra["one_voice"]) <= 1  # type: ignore[arg-type]
    assert "started_from" not in info.extra


def test_calibration_covers_every_condition_and_counts_its_trials(run: Path) -> None:
    calibration = verify_model(run / "model").calibration
    assert calibration is not None
    assert [c.condition for c in calibration.conditions] == ["clean", "short", "narrow_band", "noisy"]
    # two speakers of three recordings: 2 x 3 pairs of one speaker, 3 x 3 of two
    assert {(c.positives, c.negatives) for c in calibration.conditions} == {(6, 9)}


def test_the_cohort_is_the_training_speakers_and_no_other(run: Path) -> None:
    train, dev, test = (Manifest.read(run / f"{side}.csv") for side in ("train", "dev", "test"))
    assert set(test.table["speaker"]) == {"s0"}
    assert not set(train.table["speaker"]) & {*dev.table["speaker"], "s0"}
    embedder = Embedder.load(run / "model")
    assert embedder.info.cohort is not None
    assert (embedder.info.cohort.speakers, embedder.info.cohort.top) == (4, 3)
    means = speaker_means(embedder, train)
    assert sorted(means) == sorted(set(train.table["speaker"]))
    cohort = load_arrays(run / "model" / COHORT_FILE)["cohort"]
    assert cohort == pytest.approx(np.stack(list(means.values())), abs=1e-3)  # stored in half precision
    assert np.linalg.norm(embedder.comparator.cohort.vectors, axis=1) == pytest.approx(1, abs=1e-6)  # type: ignore[union-attr]


def test_a_cohort_is_heard_under_every_condition(run: Path, recipe: SpeakerRecipe, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(run / "model", model)
    add_cohort(model, read_split(recipe.data, recipe.split, "speaker"), 5, ("clean", "narrow_band"))
    embedder = Embedder.load(model)
    assert "AS-norm (4 speakers, 8 embeddings, top 5)" in embedder.comparator.name
    cohort = load_arrays(model / COHORT_FILE)["cohort"]
    assert np.array_equal(cohort[:4], load_arrays(run / "model" / COHORT_FILE)["cohort"])
    assert np.abs(cohort[4:] - cohort[:4]).max() > 1e-3
    assert embedder.info.cohort is not None
    assert embedder.info.cohort.conditions == ("clean", "narrow_band")


def test_a_finished_run_is_resumed_to_the_same_weights(run: Path, recipe: SpeakerRecipe, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(run, again)
    shutil.rmtree(again / "model")
    with pytest.raises(UsageError, match="holds a run already"):
        train_embedder(recipe, again)
    model = train_embedder(recipe, again, resume=True)
    before, after = load_weights(run / "model"), load_weights(model)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert verify_model(model).files == verify_model(run / "model").files


def test_trials_are_all_of_one_speaker_and_a_bounded_draw_of_two() -> None:
    speakers = np.repeat([f"s{i}" for i in range(20)], 3)
    same, different = trials(speakers, seed=1, most=100)
    assert len(same) == 60
    assert len(different) == len({tuple(pair) for pair in different.tolist()}) == 100
    assert (speakers[same[:, 0]] == speakers[same[:, 1]]).all()
    assert (speakers[different[:, 0]] != speakers[different[:, 1]]).all()
    assert np.array_equal(different, trials(speakers, seed=1, most=100)[1])
    with pytest.raises(DataError, match="no trials"):
        trials(np.array(["a", "b"]), seed=0)


def test_classes_start_at_their_speakers() -> None:
    margin = AamConfig(subcentres=2).build(3, 3)
    random = margin.weight.detach().clone()
    means = {name: np.eye(3, dtype=np.float32)[i] for i, name in enumerate("ac")}
    start_classes(margin, Vocabulary(("a", "b", "c")), means)
    cosines = margin.cosines(torch.eye(3)).detach()
    assert cosines[0, 0] == pytest.approx(1)
    assert cosines[1, 2] == pytest.approx(1)
    assert torch.equal(margin.weight[2:4], random[2:4])  # b could not be heard


def test_a_recording_and_its_perturbed_copy_are_no_trial() -> None:
    """The copies are equal here and the other recording of the speaker is not: the EER must not profit."""
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.7, 0.7]])
    batch = Batch(vectors, torch.tensor([2, 2, 2]), Targets(speaker=torch.tensor([0, 0, 1])), ("a", "b", "c"))

    class Same(torch.nn.Module):
        def forward(self, waveforms: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            return waveforms

    assert SpeakerTask().evaluate(Same(), [batch, batch]).values == {"eer": 1.0}
