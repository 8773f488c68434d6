"""How SVVAD is trained: through a frozen verifier, from mixtures, without a label of any frame (reconstruction)."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from earwitness.core.errors import DataError, ModelError, UsageError
from earwitness.corpora.batch import Batch, Targets
from earwitness.corpora.batches import UtteranceDataset, UtteranceOptions
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.mixtures import Mixture
from earwitness.speaker.comparison import unit
from earwitness.speaker.personal_vad import examples
from earwitness.speaker.personal_vad.examples import Cast, HardNegativesConfig, MixingConfig, MixtureBatches, Sizes
from earwitness.speaker.personal_vad.folder import read_verifier
from earwitness.speaker.personal_vad.hearing import PersonalVerifier
from earwitness.speaker.personal_vad.losses import LossConfig, Vectors, hinges
from earwitness.speaker.personal_vad.recipe import PersonalVadRecipe
from earwitness.speaker.personal_vad.task import PersonalVadTask, PersonalVadTrainee
from earwitness.speaker.personal_vad.training import build_trainee, train_personal_vad
from earwitness.training.loop import fit
from earwitness.training.model_folder import load_weights, verify_model
from earwitness.training.task import TrainData
from tiny_personal_vad import make_verifier, tiny_recipe

RATE = 16_000


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_verifier(tmp_path_factory.mktemp("verifier") / "model")


@pytest.fixture(scope="module")
def plan(voices: Path, verifier: Path) -> PersonalVadRecipe:
    return tiny_recipe(voices, verifier)


@pytest.fixture(scope="module")
def finished(plan: PersonalVadRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("svvad")
    assert train_personal_vad(plan, folder) == folder / "model"
    return folder


@pytest.fixture
def batches(voices: Path) -> MixtureBatches:
    data = UtteranceDataset(Manifest.read(voices), UtteranceOptions(rate=RATE, keep_in_memory=True))
    mixing = MixingConfig(seconds=(0.6, 0.9), registration_s=(0.5, 0.6), target_s=(0.5, 0.6))
    return MixtureBatches(data, Cast.of(data), mixing, Sizes(6, 3), seed=2)


def awake(plan: PersonalVadRecipe) -> PersonalVadTrainee:
    """G after some learning: as it begins, its heads' weights are zero and hold gradients back."""
    verifier, _, _ = read_verifier(plan.verifier)
    trainee = build_trainee(plan, verifier, None)
    torch.manual_seed(3)
    for head in (trainee.vad.gamma, trainee.vad.beta):
        assert head is not None
        torch.nn.init.normal_(head.weight, std=0.3)
    torch.nn.init.zeros_(trainee.vad.gamma.bias)
    return trainee.train()


def gradients(trainee: PersonalVadTrainee, batch: Batch) -> dict[str, torch.Tensor]:
    trainee.zero_grad()
    torch.manual_seed(0)  # dropout
    PersonalVadTask(trainee.config).loss(trainee, batch).total.backward()
    return {n: p.grad.clone() for n, p in trainee.vad.named_parameters() if p.grad is not None}


@pytest.mark.shows("svvad:6.3")
def test_frozen_means_frozen_and_all_of_the_network_learns(
    plan: PersonalVadRecipe, batches: MixtureBatches, tmp_path: Path
) -> None:
    trainee = awake(plan)
    before = trainee.verifier.fingerprint()
    state = {name: value.clone() for name, value in trainee.verifier.state_dict().items()}
    found = gradients(trainee, batches.batch(0, 0))
    silent = [n for n, p in trainee.vad.named_parameters() if n not in found or not found[n].any()]
    assert silent == []
    assert all(p.grad is None for p in trainee.verifier.parameters())
    start = {n: p.detach().clone() for n, p in trainee.vad.named_parameters()}
    fixed = trainee.vad.projection.clone()
    fit(trainee, PersonalVadTask(plan.losses), batches, None, plan, tmp_path)
    assert trainee.verifier.fingerprint() == before
    assert all(torch.equal(value, state[name]) for name, value in trainee.verifier.state_dict().items())
    assert torch.equal(trainee.vad.projection, fixed)
    assert all(not torch.equal(p, start[n]) for n, p in trainee.vad.named_parameters())
    with torch.no_grad():  # the fingerprint sees a buffer that moves by one bit
        next(b for n, b in trainee.verifier.named_buffers() if n.endswith("running_mean"))[0] += 1e-6
    assert trainee.verifier.fingerprint() != before


@pytest.mark.shows("svvad:6.4")
def test_no_frame_label_reaches_the_loss(
    plan: PersonalVadRecipe, batches: MixtureBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(inspect.signature(PersonalVadTask.loss).parameters) == ["self", "model", "batch"]
    assert list(inspect.signature(PersonalVadTrainee.forward).parameters) == ["self", "waveforms", "lengths"]
    trainee = awake(plan)
    true = batches.batch(0, 1)
    assert all(getattr(true.targets, name) is None for name in vars(true.targets))
    found = gradients(trainee, true)
    real, told = examples.mix, []

    def lying(*args: Any) -> Mixture:
        made = real(*args)
        told.append(made)
        return Mixture(made.samples, ~made.lead, np.zeros_like(made.others))

    monkeypatch.setattr(examples, "mix", lying)
    wrong = batches.batch(0, 1)
    assert len(told) == 6
    assert any(made.lead.any() for made in told)
    again = gradients(trainee, wrong)
    assert found.keys() == again.keys()
    assert all(torch.equal(found[name], again[name]) for name in found)


@pytest.mark.shows("svvad:6.4")
def test_a_batch_with_labels_is_refused(plan: PersonalVadRecipe, batches: MixtureBatches) -> None:
    trainee, batch = awake(plan), batches.batch(0, 0)
    task = PersonalVadTask(plan.losses)
    labelled = replace(batch, targets=Targets(label=torch.zeros(len(batch.ids), dtype=torch.long)))
    for wrong in (labelled, replace(batch, paths=2)):
        with pytest.raises(DataError, match="without labels"):
            task.loss(trainee, wrong)
        with pytest.raises(DataError, match="without labels"):
            task.evaluate(trainee, [wrong])


def test_every_term_is_what_it_says() -> None:
    e = torch.eye(4)
    mixed = torch.nn.functional.normalize(e[0] + e[1], dim=0)
    found = hinges(
        Vectors(
            registration=e[:1],
            mixture=mixed[None],  # cosine 0.7071 with the speaker
            impostor=e[:1],  # turned into the speaker
            raw_mixture=e[:1],
            raw_impostor=e[2:3],
            gamma=torch.tensor([0.05]),
            impostor_gamma=torch.tensor([0.6]),
            clean=e[:1],
            gated_clean=mixed[None],
        ),
        LossConfig(absence=0.5),
    )
    near = 2**-0.5
    expected = {
        "triplet": (1 - near) + 0.3,
        "reference": (1 - near) + 0.05,
        "negative": 1.0,
        "identity": 1 - near,
        "coverage": 0.10,
        "absence": 0.6,
    }
    assert {name: float(value) for name, value in found.items()} == pytest.approx(expected, abs=1e-6)
    easy = hinges(
        Vectors(e[:1], e[:1], e[2:3], mixed[None], e[2:3], torch.tensor([0.9]), torch.tensor([0.9]), e[:1], e[:1]),
        LossConfig(),  # without the term of absence
    )
    assert all(float(value) == 0 for value in easy.values())


@pytest.mark.parametrize("name", ["triplet", "reference", "negative", "identity", "coverage"])
def test_each_term_can_be_switched_off_or_stand_alone(
    plan: PersonalVadRecipe, batches: MixtureBatches, name: str
) -> None:
    every = {"triplet", "reference", "negative", "identity", "coverage"}
    batch = batches.batch(0, 0)
    for config, left in (
        (LossConfig.model_validate({name: 0.0}), every - {name}),
        (LossConfig.model_validate(dict.fromkeys(every - {name}, 0.0)), {name}),
    ):
        trainee = awake(plan.model_copy(update={"losses": config}))
        terms = PersonalVadTask(config).loss(trainee, batch).terms
        assert set(terms) == left
    with pytest.raises(ValueError, match="switched off"):
        LossConfig.model_validate(dict.fromkeys(every, 0.0))


def test_weights_scale_the_terms(plan: PersonalVadRecipe, batches: MixtureBatches) -> None:
    batch = batches.batch(0, 0)
    values = []
    for weight in (1.0, 3.0):
        config = LossConfig(identity=weight)
        trainee = awake(plan.model_copy(update={"losses": config}))
        torch.manual_seed(0)
        values.append(PersonalVadTask(config).loss(trainee, batch).terms["identity"].item())
    assert values[1] == pytest.approx(3 * values[0], rel=1e-4)


def test_a_batch_follows_from_its_place_alone(batches: MixtureBatches) -> None:
    first, again = batches.batch(1, 0), batches.batch(1, 0)
    assert torch.equal(first.waveforms, again.waveforms)
    loaded = list(batches.load(1, [1, 0]))
    assert torch.equal(loaded[1].waveforms, first.waveforms)
    assert not torch.equal(batches.batch(0, 0).waveforms[:, :100], first.waveforms[:, :100])
    assert first.paths == 4
    assert len(first.ids) == len(first.lengths) == 12
    registration, target, mixture, impostor = (part.lengths for part in first.each_path())
    assert torch.equal(mixture, impostor)
    assert 0.5 * RATE <= int(registration.min()) <= 0.6 * RATE
    assert len(set(target.tolist())) == 1
    assert [len(batch.ids) for batch in batches] == [12, 12]
    workers = MixtureBatches(batches._data, batches._cast, batches._config, batches._sizes, 2, workers=1)
    assert torch.equal(next(iter(workers.load(1, [0]))).waveforms, first.waveforms)


def test_hard_negatives_come_after_their_steps_and_are_the_nearest(voices: Path) -> None:
    data = UtteranceDataset(Manifest.read(voices), UtteranceOptions(rate=RATE, keep_in_memory=True))
    rng = np.random.default_rng(0)
    made = unit(rng.standard_normal((7, 5)).astype(np.float32))
    cast = Cast.of(data, {f"s{number}": made[number] for number in range(7)})
    assert cast.alike is not None
    who = {place: speaker for speaker, places in enumerate(cast.places) for place in places}
    for seed in range(20):
        first, second, one, two = cast.drawn(np.random.default_rng(seed), 16)
        speaker = who[first]
        assert who[second] == speaker
        assert first != second
        if speaker == 0:  # a corpus of its own: all others may be mixed with it
            continue
        likeness = {other: float(cast.alike[speaker, other]) for other in range(1, 7) if other != speaker}
        nearest = sorted(likeness, key=lambda other: -likeness[other])[:2]
        assert [who[one], who[two]] == nearest
    asked: list[int | None] = []

    class Watched(Cast):
        def drawn(self, rng: np.random.Generator, of: int | None) -> tuple[int, int, int, int]:
            asked.append(of)
            return super().drawn(rng, of)

    mixing = MixingConfig(seconds=(0.6, 0.6), registration_s=(0.5, 0.5), target_s=(0.5, 0.5))
    watched = Watched(cast.places, cast.sexes, cast.corpora, cast.alike)
    hard = HardNegativesConfig(after_steps=3, of=4)
    some = MixtureBatches(data, watched, mixing, Sizes(4, 2), 0, hard)
    for epoch, place in ((0, 0), (0, 1), (1, 0), (1, 1)):
        some.batch(epoch, place)
    assert asked == [None] * 6 + [4] * 2


def test_too_few_voices_are_refused(voices: Path) -> None:
    few = Manifest.read(voices).table.head(6)
    data = UtteranceDataset(Manifest.read(voices).with_table(few), UtteranceOptions(rate=RATE))
    with pytest.raises(DataError, match="too few voices"):
        Cast.of(data)


def test_the_folder_holds_all_that_it_needs(finished: Path, verifier: Path, speechlike: Any) -> None:
    info = verify_model(finished / "model")
    assert info.task == "personal-vad"
    assert set(info.files) == {"weights.safetensors", "verifier.safetensors", "cohort.safetensors", "CARD.md"}
    assert info.extra["verifier"]["reference"] == verify_model(verifier).reference  # type: ignore[index, call-overload]
    ear = PersonalVerifier.load(finished / "model")
    original, _, _ = read_verifier(verifier)
    assert ear.verifier.fingerprint() == original.fingerprint()
    assert ear.cohort is not None
    assert ear.cohort.shape == (25, 12)
    sound = speechlike(1.5, seed=1)
    voice = ear.enrol([sound], RATE)
    assert ear.score(sound, RATE, voice) == PersonalVerifier.load(finished / "model").score(sound, RATE, voice)
    with pytest.raises(ModelError, match="answers 'speaker'"):
        PersonalVerifier.load(verifier)
    with pytest.raises(ModelError, match="answers 'personal-vad'"):
        read_verifier(finished / "model")


def test_every_epoch_tells_terms_active_hinges_gamma_and_cosines(finished: Path) -> None:
    events = [json.loads(line) for line in (finished / "fit" / "log.jsonl").read_text().splitlines()]
    epochs = [event for event in events if event["event"] == "epoch"]
    assert len(epochs) == 2
    expected = {"loss/triplet", "loss/coverage", "note/active triplet", "note/gamma", "note/cosine mixture"}
    for event in epochs:
        assert expected | {"dev/eer", "dev/eer_plain", "dev/gamma"} <= set(event)


def test_a_run_that_was_stopped_ends_with_the_same_bytes(
    plan: PersonalVadRecipe, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = PersonalVadTask.loss, 0

    def stopped(self: PersonalVadTask, model: Any, batch: Batch) -> Any:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        return real(self, model, batch)

    monkeypatch.setattr(PersonalVadTask, "loss", stopped)
    with pytest.raises(KeyboardInterrupt):
        train_personal_vad(plan, tmp_path)
    with pytest.raises(UsageError, match="--resume"):
        train_personal_vad(plan, tmp_path)
    again = train_personal_vad(plan, tmp_path, resume=True)
    one, two = load_weights(finished / "model"), load_weights(again)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert (finished / "fit" / "log.jsonl").read_bytes() != b""
    assert (again / "weights.safetensors").read_bytes() == (finished / "model" / "weights.safetensors").read_bytes()


def test_it_is_train_data(batches: MixtureBatches) -> None:
    data: TrainData = batches
    assert data.count(0) == 2
