"""A phone-by-phone verifier from its recipe to its folder, on eight synthetic voices that differ most in one vowel."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
import torch

from earwitness.core.errors import AudioError, DataError, ModelError, RecipeError, UsageError
from earwitness.corpora.batches import Vocabulary
from earwitness.corpora.manifest import Manifest
from earwitness.speaker.phones import ARPABET, PhoneFiles, tracks_of
from earwitness.speaker.phonetic_traits.comparing import TraitPrint
from earwitness.speaker.phonetic_traits.data import Framing, PairBatches, PairOrder, PhonedRows, crop_places
from earwitness.speaker.phonetic_traits.faithfulness import faithfulness
from earwitness.speaker.phonetic_traits.task import TraitTask, TraitTrainee
from earwitness.speaker.phonetic_traits.training import train_traits
from earwitness.speaker.phonetic_traits.verifier import TraitFigures, TraitVerifier, traits_info
from earwitness.training.model_folder import load_weights, read_model_info, verify_model
from toy_voices import CLASSES, RATE, VOICES, recipe, write_corpus

ARMS: dict[str, dict[str, float]] = {
    "no trait losses": {"same": 0.0, "diff": 0.0, "center": 0.0},
    "L_same only": {"same": 0.0056, "diff": 0.0, "center": 0.0},
    "all": {"same": 0.0056, "diff": 0.00008, "center": 0.0008},
}
STRONGEST = "IY"  # the vowel whose formants the toy voices shift most


def phoned(manifest: Path) -> PhonedRows:
    rows = Manifest.read(manifest)
    tracks = tracks_of(rows, PhoneFiles(), lambda: None)
    return PhonedRows(rows, tracks, Framing(RATE, 400, 160), Vocabulary.of(rows, "speaker"))


def figures_of(model: Path) -> TraitFigures:
    found = traits_info(read_model_info(model)).figures
    assert found is not None
    return found


# --- batches


def test_pairs_are_of_one_speaker_each_and_of_no_speaker_twice() -> None:
    classes = [0, 0, 0, 1, 1, 2, 3, 3]
    order = PairOrder(classes, 3, seed=1, draws=60)
    assert order.count == 10
    for batch in order.batches(0):
        speakers = [{classes[row] for row in pair} for pair in batch]
        assert all(len(speaker) == 1 for speaker in speakers)
        assert len(set.union(*speakers)) == 3
        assert all(a != b for a, b in batch if classes[a] != 2)  # who has one recording is paired with another crop
    drawn = [classes[a] for epoch in range(20) for batch in order.batches(epoch) for a, _ in batch]
    assert np.bincount(drawn).min() > 120
    assert order.batches(3) == order.batches(3) != order.batches(4)
    with pytest.raises(DataError, match="there is one"):
        PairOrder([0, 0], 2, seed=1, draws=4)


def test_labels_are_cropped_with_their_audio(toy_voices: Path) -> None:
    assert crop_places(5, 12, np.random.default_rng(0)).tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    rows = phoned(toy_voices)
    data = PairBatches(rows, recipe(toy_voices, steps=2))
    assert data.count(0) == 2
    batch = next(iter(data.load(0, [1])))
    again = next(iter(data.load(0, [1])))
    assert torch.equal(batch.waveforms, again.waveforms)
    assert batch.waveforms.shape == (2 * VOICES, 12_800)
    assert batch.targets.phones is not None
    assert batch.targets.speaker is not None
    assert batch.targets.phones.shape == (2 * VOICES, 78)
    assert torch.equal(batch.targets.speaker[0::2], batch.targets.speaker[1::2])
    for place, (name, labels) in enumerate(zip(batch.ids, batch.targets.phones, strict=True)):
        whole, said = rows.sound([row.id for row in rows.rows].index(name))
        start = _place(batch.waveforms[place].numpy(), whole)
        assert int(labels[10]) == int(np.bincount(said[start + 1600 : start + 2000]).argmax())


def _place(part: np.ndarray, whole: np.ndarray) -> int:
    """Where a crop was taken."""
    starts = [start for start in range(len(whole) - len(part) + 1) if whole[start] == part[0]]
    return next(start for start in starts if np.array_equal(whole[start : start + len(part)], part))


def test_a_recipe_that_would_move_labels_is_refused(toy_voices: Path) -> None:
    for audio in ({"crop_s": 0.8}, {"crop_s": None, "trim_silence": False}, {"trim_silence": False, "perturb": "file"}):
        with pytest.raises(ValueError, match="phone labels need"):
            recipe(toy_voices, 1, audio=audio)
    with pytest.raises(ValueError, match="even batch_size"):
        recipe(toy_voices, 1, loop={"epochs": 1, "batch_size": 5})
    slower = recipe(toy_voices, 1, perturbations=[{"kind": "speed", "factors": [0.8]}])
    with pytest.raises(RecipeError, match="changes the length"):
        list(PairBatches(phoned(toy_voices), slower).load(0, [0]))


def test_the_margin_grows_between_two_epochs(toy_voices: Path) -> None:
    made = recipe(toy_voices, 1, margin_growth={"start": 2, "end": 4})
    network = made.network.build()
    trainee = TraitTrainee(network, made.margin.build(network.dim, 8))
    task = TraitTask(trainee, made.traits, made.margin_growth)
    seen = []
    for epochs in (0.0, 2.0, 3.0, 4.0, 9.0):
        task.set_progress(epochs)
        assert trainee.margin is not None
        seen.append(trainee.margin.margin)
    assert seen[:2] == [0, 0]
    assert 0.15 < seen[2] < 0.2
    assert seen[3:] == pytest.approx([0.2, 0.2], rel=1e-2)


# --- a run


def test_the_folder_says_whose_phones_and_what_they_are_worth(trait_run: Path) -> None:
    info = verify_model(trait_run / "model")
    known = traits_info(info)
    assert (info.task, info.polarity) == ("speaker-traits", "higher = same speaker")
    assert known.maker == "phones read from files (beside the recordings; language: none: synthetic vowels)"
    assert known.names == ARPABET.phones
    assert len(known.discriminability) == 40
    assert any("leak allowed by name" in str(note) for note in info.training["notes"])  # type: ignore[union-attr]


def test_a_finished_run_is_resumed_to_the_same_folder(trait_run: Path, toy_voices: Path, tmp_path: Path) -> None:
    shutil.copytree(trait_run, tmp_path / "again")
    before = verify_model(tmp_path / "again" / "model")
    shutil.rmtree(tmp_path / "again" / "model")
    with pytest.raises(UsageError, match="holds a run already"):
        train_traits(recipe(toy_voices, steps=25), tmp_path / "again", allow_leak=True)
    model = train_traits(recipe(toy_voices, steps=25), tmp_path / "again", allow_leak=True, resume=True)
    assert verify_model(model).files == before.files
    assert verify_model(model).extra == before.extra


@pytest.mark.shows("expo:6.6")
def test_score_and_evidence_agree_and_both_have_error_rates(trait_run: Path) -> None:
    figures = figures_of(trait_run / "model")
    print(figures)
    assert figures.trials == 48 + 448  # 4 dev rows of 8 voices
    assert figures.spearman is not None
    assert 0.3 < figures.spearman <= 1
    assert 0 <= figures.score_eer < 0.25
    assert 0 <= figures.evidence_eer < 0.25


@pytest.mark.shows("expo:6.7")
def test_random_labels_of_the_same_histogram_make_the_evidence_worse(trait_run: Path) -> None:
    figures = figures_of(trait_run / "model")
    assert figures.evidence_eer_random_labels > figures.evidence_eer + 0.1
    assert figures.phones_matter
    assert not figures.model_copy(update={"evidence_eer_random_labels": figures.evidence_eer}).phones_matter


@pytest.mark.shows("expo:6.8")
def test_the_vowel_in_which_voices_differ_most_has_the_largest_ratio(trait_run: Path) -> None:
    table = traits_info(read_model_info(trait_run / "model")).discriminability
    known = [one for one in table if one.ratio is not None]
    assert known[0].phone == STRONGEST
    assert {one.phone for one in known} == set(CLASSES)
    assert {one.target_trials for one in known} == {48}
    assert not any(one.greyed for one in known)
    ratios = [one.ratio or 0.0 for one in known]
    assert ratios[0] > 1.1 * ratios[1]


def test_a_file_is_heard_in_pieces_as_in_one(trait_run: Path, toy_voices: Path, monkeypatch: Any) -> None:
    """Pieces differ only where their edges and their own spectral means reach."""
    verifier = TraitVerifier.load(trait_run / "model")
    path = toy_voices.parent / "v0-0.wav"
    whole = verifier.hear_file(path)
    assert whole.seconds.sum() == pytest.approx(whole.seconds_total, abs=0.05)
    again = verifier.hear_file(path)
    assert np.array_equal(whole.traits, again.traits)
    monkeypatch.setattr("earwitness.speaker.phonetic_traits.verifier.PIECE_S", 0.5)
    pieces = verifier.hear_file(path)
    assert pieces.seconds == pytest.approx(whole.seconds, abs=0.05)
    alike = (whole.traits.astype(float) * pieces.traits.astype(float)).sum(1)[whole.present & pieces.present]
    assert alike.min() > 0.8


def test_what_cannot_be_compared_is_refused(trait_run: Path, toy_voices: Path, tmp_path: Path) -> None:
    verifier = TraitVerifier.load(trait_run / "model")
    shutil.copy(toy_voices.parent / "v0-0.wav", tmp_path / "alone.wav")
    with pytest.raises(DataError, match="has no phone track"):
        verifier.hear_file(tmp_path / "alone.wav")
    (tmp_path / "alone.pre.pho").write_text("0.0 60.0 AA\n")
    with pytest.raises(DataError, match=r"the phone track ends at 60\.00 s"):
        verifier.hear_file(tmp_path / "alone.wav")
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    (tmp_path / "silent.pre.pho").write_text("0.0 1.0 AA\n")
    with pytest.raises(AudioError, match=r"holds 0\.00 s of sound"):
        verifier.hear_file(tmp_path / "silent.wav")
    wrong = read_model_info(trait_run / "model").model_copy(update={"extra": {}})
    with pytest.raises(ModelError, match="does not say what its phones are"):
        TraitVerifier(verifier.network, wrong, verifier.phones)


def test_a_model_keeps_its_pseudo_phones(toy_voices: Path, tmp_path: Path) -> None:
    made = recipe(toy_voices, steps=3, phones={"kind": "pseudo", "clusters": 8})
    model = train_traits(made, tmp_path / "run", allow_leak=True)
    known = traits_info(read_model_info(model))
    assert not known.are_phones
    assert known.names[:2] == ("U00", "U01")
    assert "not phones" in known.maker
    assert "pseudo_phones.safetensors" in verify_model(model).files
    assert load_weights(model)
    assert TraitVerifier.load(model).phones.maker.words == known.maker
    with pytest.raises(ModelError, match="the model knows pseudo-phones, the labels are ARPAbet"):
        TraitVerifier.load(model, PhoneFiles())


# --- PhiNet


def hear_dev(manifest: Path, verifier: TraitVerifier) -> tuple[Sequence[TraitPrint], np.ndarray]:
    rows = Manifest.read(manifest).filter(pl.col("split") == "dev")
    prints = [verifier.hear_file(rows.resolve(row)) for row in rows.rows()]
    return prints, np.array(rows.table["speaker"])


@pytest.fixture(scope="module")
def phinet(toy_voices: Path, tmp_path_factory: pytest.TempPathFactory) -> TraitVerifier:
    """PhiNet's head on the same voices."""
    network = {"encoder": {"kind": "ecapa", "channels": 16, "outputs": 48, "se_hidden": 16}, "phinet": {}}
    made = recipe(toy_voices, steps=25, network=network)
    return TraitVerifier.load(train_traits(made, tmp_path_factory.mktemp("phinet"), allow_leak=True))


def test_phinets_explanation_is_faithful(phinet: TraitVerifier, toy_voices: Path) -> None:
    prints, speakers = hear_dev(toy_voices, phinet)
    enrol, test = np.triu_indices(len(prints), 1)
    same = speakers[enrol] == speakers[test]
    scores, found = phinet.compare(prints, enrol, test)
    assert np.abs(scores).max() <= 1
    told = faithfulness(phinet, lambda one: hear_dev(toy_voices, one)[0], enrol, test, same, ("IY", "ZH"))
    print(told)
    spoken, unspoken = told
    assert unspoken.eer == unspoken.eer_without_similarity == unspoken.eer_without_sound  # nobody says it
    assert spoken.eer == unspoken.eer < 0.3
    assert spoken.eer_without_similarity > spoken.eer
    assert spoken.eer_without_sound > spoken.eer
    assert found.shared[:, ARPABET.index("IY")].all()


# --- the ablation


def ablation(manifest: Path, folder: Path, steps: int, channels: int) -> dict[str, TraitFigures]:
    """What the trait losses do to the evidence, printed; each arm from the same start over the same batches."""
    found = {}
    for arm, weights in ARMS.items():
        made = recipe(manifest, steps, channels, traits=weights)
        found[arm] = figures_of(train_traits(made, folder / arm.replace(" ", "-"), allow_leak=True))
        one = found[arm]
        print(f"{arm:16} EVD EER {one.evidence_eer:.2%}, score EER {one.score_eer:.2%}, Spearman {one.spearman:.3f}")
    return found


@pytest.mark.shows("expo:6.6")
def test_the_ablation_of_the_trait_losses_is_printed(
    toy_voices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = ablation(toy_voices, tmp_path, steps=5, channels=16)
    printed = capsys.readouterr().out
    assert [line[:16].strip() for line in printed.splitlines() if "EVD EER" in line] == list(ARMS)
    assert len({(one.evidence_eer, one.spearman) for one in found.values()}) == 3
    assert all(0 <= one.evidence_eer < 0.5 for one in found.values())


@pytest.mark.soak
@pytest.mark.shows("expo:6.6")
@pytest.mark.shows("expo:6.7")
@pytest.mark.shows("expo:6.8")
def test_eight_voices_in_three_hundred_steps(tmp_path: Path) -> None:
    """The full form: 64 channels, 300 steps, all arms."""
    found = ablation(write_corpus(tmp_path, utterances=10, train=6), tmp_path / "runs", steps=300, channels=64)
    for arm, one in found.items():
        assert one.spearman is not None
        assert one.spearman > 0.3
        assert not math.isnan(one.evidence_eer)
        table = traits_info(read_model_info(tmp_path / "runs" / arm.replace(" ", "-") / "model")).discriminability
        assert table[0].phone == STRONGEST
        assert table[0].target_trials >= 30
    assert found["all"].evidence_eer_random_labels > found["all"].evidence_eer + 0.1
