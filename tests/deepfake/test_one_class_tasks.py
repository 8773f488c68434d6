"""One-class detectors trained from recordings: what a step does, what an epoch says, and a model that answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
import torch

from earwitness.audio.perturb import GainConfig
from earwitness.core.errors import DataError, ModelError, RecipeError
from earwitness.corpora.batch import Batch, Targets
from earwitness.corpora.batches import UtteranceDataset, UtteranceOptions, collate
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.quality import AugmentationLevels, MosLevels, QualityLevels, RandomLevels
from earwitness.corpora.side_tables import AudioKeys, SideTable
from earwitness.deepfake import material, training
from earwitness.deepfake.detector import Detector
from earwitness.deepfake.one_class import OcSoftmaxConfig, QamoConfig, SamoConfig, one_class_loss, quality_loss
from earwitness.deepfake.one_class_tasks import OneClassTask, QamoTask, SamoTask
from earwitness.deepfake.recipe import DetectionRecipe
from earwitness.deepfake.scores import bona_fide_score
from earwitness.deepfake.task import LossMaterial, task_of
from earwitness.deepfake.training import train_detector
from earwitness.nn.network import Network, NetworkConfig
from earwitness.nn.pretrained.mos import QualityScore
from earwitness.training.model_folder import load_weights, read_model_info
from earwitness.training.tensors import read_tensors

BRANCH = {"frontend": {"kind": "log_mel", "n_mels": 20}, "pooling": {"kind": "statistics"}}


def network(**centroids: Any) -> Network:
    torch.manual_seed(0)
    config = {"branches": [BRANCH], "embedding": {"dim": 6}, "outputs": 2, "centroids": centroids}
    return NetworkConfig.model_validate(config).build()


def batch(labels: list[int], quality: list[int] | None = None, paths: int = 1, **targets: list[int]) -> Batch:
    torch.manual_seed(len(labels))
    known = {name: torch.tensor(values) for name, values in targets.items()}
    levels = None if quality is None else torch.tensor(quality)
    found = Targets(label=torch.tensor(labels), quality=levels, **known)
    ids = tuple(f"r{place % (len(labels) // paths)}" for place in range(len(labels)))
    return Batch(torch.randn(len(labels), 4_000), torch.full((len(labels),), 4_000), found, ids, paths=paths)


def levels(**rows: int) -> QualityLevels:
    return QualityLevels(2, rows)


def test_qamos_terms_are_its_losses() -> None:
    model, given = network().eval(), batch([1, 1, 0, 1], [0, 1, -1, 1])
    config = QamoConfig(weight=0.3)
    found = QamoTask(config, levels(r0=1, r1=1, r3=1)).loss(model, given).terms
    similarities = model(given.waveforms, give="similarities")
    real, own = given.targets.label == 1, given.targets.quality
    assert torch.equal(found["one_class"], one_class_loss(config, similarities, real, own))
    assert torch.allclose(found["quality"], 0.3 * quality_loss(config, similarities, real, own))
    nearest = QamoTask(QamoConfig(weight=0, assignment="nearest"), levels(r0=1, r1=1, r3=1)).loss(model, given).terms
    assert set(nearest) == {"one_class"}
    assert torch.equal(nearest["one_class"], one_class_loss(config, similarities, real))
    assert not torch.equal(nearest["one_class"], found["one_class"])


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1]])
def test_a_batch_of_one_class_is_learnt_from(labels: list[int]) -> None:
    model = network()
    found = QamoTask(QamoConfig(), levels(r0=1, r1=1, r2=1)).loss(model, batch(labels, [1, 0, 1]))
    found.total.backward()
    assert torch.isfinite(found.total)
    assert (float(found.terms["quality"].detach()) == 0) == (labels[0] == 0)


def test_two_paths_are_two_terms_and_the_second_is_one_level_lower() -> None:
    model = network().eval()
    task = QamoTask(QamoConfig(), levels(r0=1, r1=0))
    both = batch([1, 1, 0, 1, 1, 0], [1, 0, -1, 1, 0, -1], paths=2)
    found = task.loss(model, both).terms
    assert set(found) == {"clean", "augmented"}
    halves = [
        Batch(both.waveforms[part], both.lengths[part], Targets(both.targets.label[part], quality=q), both.ids[:3])
        for part, q in ((slice(0, 3), torch.tensor([1, 0, -1])), (slice(3, 6), torch.tensor([0, 0, -1])))
    ]
    alone = [float(QamoTask(QamoConfig(), task.levels).loss(model, half).total.detach()) for half in halves]
    assert [float(value.detach()) for value in found.values()] == pytest.approx([alone[0] / 2, alone[1] / 2], rel=1e-6)
    wanted = {"bona_fide_high": 1, "bona_fide_low_by_quality": 2, "bona_fide_low_by_augmentation": 1}
    assert {name: value for name, value in task.notes(model).items() if name in wanted} == wanted


def test_what_is_missing_is_named() -> None:
    model = network()
    task = QamoTask(QamoConfig(), levels(r0=1))
    with pytest.raises(DataError, match="r1: has no quality level"):
        task.loss(model, batch([1, 1], [1, -1]))
    with pytest.raises(DataError, match="has no quality level"):
        task.loss(model, batch([1, 1]))
    with pytest.raises(DataError, match="labelled rows only"):
        task.loss(model, batch([1, -1], [1, 1]))
    with pytest.raises(DataError, match="with a speaker only"):
        SamoTask(SamoConfig(), []).loss(network(learned=False), batch([1, 0], speaker=[-1, -1]))


@pytest.mark.parametrize(("labels", "missing"), [([1, 1], "spoof"), ([0, 0], "bona fide")])
def test_a_dev_of_one_class_is_refused_by_name(labels: list[int], missing: str) -> None:
    with torch.no_grad(), pytest.raises(DataError, match=f"dev holds no {missing} recording"):
        OneClassTask(OcSoftmaxConfig()).evaluate(network(count=1), [batch(labels)])


def test_dev_is_judged_by_the_nearest_centroid() -> None:
    model, given = network(scoring="mean").eval(), batch([1, 0, 1, 0])
    with torch.no_grad():
        found = QamoTask(QamoConfig(), levels()).evaluate(model, [given]).values
        similarities = model(given.waveforms, give="similarities")
    assert found["loss"] == pytest.approx(float(one_class_loss(QamoConfig(), similarities, given.targets.label == 1)))
    assert 0 <= found["eer"] <= 1


def test_samo_moves_its_centroids_to_the_speakers_every_few_epochs() -> None:
    model = network(count=2, learned=False, scoring="max")
    enrolment = [batch([1, 1, 1], speaker=[0, 1, 0]), batch([1], speaker=[1])]
    task = SamoTask(SamoConfig(every=2), enrolment)
    task.notes(model)
    assert torch.equal(model.centroids().weight, torch.eye(2, 6))
    notes = task.notes(model)
    with torch.no_grad():
        first = model.eval()(enrolment[0].waveforms, give="embedding")
    assert torch.allclose(model.centroids().weight[0], first[[0, 2]].mean(0), atol=1e-6)
    assert notes["centroid_cosine"] == model.centroids().cosine()
    assert int(model.centroids().epochs) == 2
    with pytest.raises(RecipeError, match=r"2 centroids, but 1 bona fide speaker"):
        SamoTask(SamoConfig(every=1), enrolment[1:]).notes(model)


@pytest.mark.shows("qamo:6.7")
def test_the_label_audit_of_a_corpus_like_asvspoof_2019(tmp_path: Path) -> None:
    """2,580 bona fide rows, one of them with a MOS below 2.5; 40 % of utterances are augmented. The audit says that
    about 40 % are low, and one at most for its MOS."""
    soundfile.write(tmp_path / "a.wav", 0.1 * np.ones(800), 16_000)
    ids = [f"r{number}" for number in range(2_580)]
    rows = Manifest.from_table(pl.DataFrame({"id": ids, "path": "a.wav", "label": "bonafide"}), tmp_path)
    mos = dict.fromkeys(ids, 4.4) | {"r7": 2.4, "r8": 2.5}
    found = MosLevels().levels(rows, mos)
    options = UtteranceOptions(perturbation=GainConfig(p=0.4).build(), keep_in_memory=True)
    data = UtteranceDataset(rows, options, quality=found)
    data._samples = lambda index, row: np.full(800, 0.1, np.float32)  # type: ignore[method-assign]  # one file is enough
    task, model = QamoTask(QamoConfig(), found), network().eval()
    for start in range(0, len(ids), 430):
        heard = collate([data[place] for place in range(start, start + 430)])
        task.own(heard, heard.targets.label == 1)
    audit = task.notes(model)
    assert sum(value for name, value in audit.items() if name.startswith("bona_fide")) == 2_580
    assert audit["bona_fide_low_by_quality"] == 1
    low = audit["bona_fide_low_by_quality"] + audit["bona_fide_low_by_augmentation"]
    assert low / 2_580 == pytest.approx(0.4, abs=4 * (0.24 / 2_580) ** 0.5)
    assert audit["bona_fide_high"] == 2_580 - low
    assert task.notes(model)["bona_fide_high"] == 0


def plan(corpus: Path, loss: dict[str, Any], count: int, **centroids: Any) -> DetectionRecipe:
    return DetectionRecipe.model_validate(
        {
            "name": "tiny-one-class",
            "task": "deepfake",
            "seed": 3,
            "data": {"manifests": [str(corpus)]},
            "split": {"dev_families": ["f1"], "dev_share": 0.34},
            "audio": {"crop_s": 0.5, "trim_silence": False},
            "network": {
                "branches": [BRANCH],
                "embedding": {"dim": 8},
                "outputs": 2,
                "centroids": {"count": count, **centroids},
            },
            "loss": loss,
            "perturbations": [{"kind": "gain", "p": 0.5}],
            "windows": {"kind": "sliding", "length_s": 0.5, "hop_s": 0.5},
            "draws": 16,
            "optimiser": {"kind": "adam", "lr": 0.02},
            "loop": {"epochs": 4, "batch_size": 8, "accelerator": "cpu", "select": {"metric": "eer"}},
        }
    )


@pytest.fixture
def uncalibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end with their training."""
    monkeypatch.setattr(training, "calibrate_detector", lambda model, *_: model)


QAMO = {"kind": "qamo", "quality": {"source": "augmentation"}}


@pytest.fixture(scope="module")
def qamo_run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qamo")
    train_detector(plan(corpus, QAMO, 2), folder)
    return folder


def epochs_of(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "fit" / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == "epoch"]


@pytest.mark.shows("qamo:6.9")
@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_each_epoch_logs_the_cosine_between_the_centroids(
    weight: float, corpus: Path, tmp_path: Path, uncalibrated: None
) -> None:
    recipe = plan(corpus, {**QAMO, "weight": weight}, 2)
    train_detector(recipe, tmp_path / "run")
    epochs = epochs_of(tmp_path / "run")
    cosines = [epoch["note/centroid_cosine"] for epoch in epochs]
    assert len(cosines) == 4
    assert len(set(cosines)) == 4
    weights = read_tensors(tmp_path / "run/fit/checkpoint.safetensors")[0]["model/classifier.weight"].double()
    assert cosines[-1] == pytest.approx(float(torch.cosine_similarity(weights[0], weights[1], dim=0)))
    counted = [sum(value for name, value in epoch.items() if "bona_fide" in name) for epoch in epochs]
    assert counted == [8, 8, 8, 8]  # half of the 16 draws
    assert ("loss/quality" in epochs[0]) == (weight > 0)


def test_the_model_folder_answers_as_it_was_trained(qamo_run: Path, corpus: Path, tmp_path: Path) -> None:
    info = read_model_info(qamo_run / "model")
    centroids = info.network["centroids"]
    assert centroids == {"count": 2, "scoring": "softmax", "learned": True, "own": None}
    detector, dev = Detector.load(qamo_run / "model"), Manifest.read(qamo_run / "dev.csv")
    scores = [detector.score_file(dev.resolve(row)).score for row in dev.rows()]
    assert all(-1 <= score <= 1 for score in scores)
    table = dev.table.with_columns(score=pl.Series(scores))
    real, made = (table.filter(pl.col("label") == label)["score"] for label in ("bonafide", "spoof"))
    assert real.mean() > made.mean()  # type: ignore[operator]


class Listener:
    """Says that everything is good, or bad."""

    name, model = "made-up", "0"

    def __init__(self, mos: float) -> None:
        self.mos = mos

    def score(self, samples: Any, rate: int) -> QualityScore:
        return QualityScore(self.mos, 1.0, 1.0)


def test_the_own_centroid_is_found_by_a_predictor_that_is_handed_in(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = plan(corpus, QAMO, 2, scoring="own", own={"thresholds": [3.0]})
    calibrate, calls = training.calibrate_detector, []
    monkeypatch.setattr(training, "calibrate_detector", lambda model, *rest: calls.append(rest) or model)
    model = train_detector(recipe, tmp_path / "b", quality=(given := Listener(4.0)))
    assert calls[0][1] is given
    with pytest.raises(ModelError, match="no quality estimator was handed in"):
        calibrate(model, Manifest.read(tmp_path / "b/dev.csv"))
    row = Manifest.read(tmp_path / "b/dev.csv").row(0)
    path = tmp_path / "b" / row.path
    good, bad = (Detector.load(model, Listener(mos)).score_file(path).score for mos in (4.0, 2.0))
    samples, _ = soundfile.read(path, dtype="float32")
    network = Detector.load(model).network
    windows = torch.from_numpy(np.stack([samples[:8000], samples[8000:16000], samples[-8000:]]))
    with torch.no_grad():
        similarities = network(windows, give="similarities").mean(0)
    assert [bad, good] == pytest.approx(similarities.tolist(), abs=1e-5)


def stop_in_the_third_epoch() -> Any:
    """The judging of dev, which a kill stops after the third epoch's steps and before its checkpoint."""
    judged, judge = [], SamoTask.evaluate

    def evaluate(self: SamoTask, model: Any, batches: Any) -> Any:
        judged.append(1)
        if len(judged) == 3:
            raise KeyboardInterrupt
        return judge(self, model, batches)

    return evaluate


def test_samo_is_killed_and_resumed_to_the_same_weights(
    corpus: Path, tmp_path: Path, uncalibrated: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four of the six speakers are in training; after every second epoch the centroids are their means."""
    recipe = plan(corpus, {"kind": "samo", "every": 2}, 4, learned=False, scoring="max")
    with pytest.raises(RecipeError, match=r"4 speaker\(s\), 5 centroid"):
        train_detector(plan(corpus, {"kind": "samo"}, 5, learned=False), tmp_path / "wrong")
    whole = train_detector(recipe, tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(SamoTask, "evaluate", stop_in_the_third_epoch())
        with pytest.raises(KeyboardInterrupt):
            train_detector(recipe, tmp_path / "again")
    first, again = load_weights(whole), load_weights(train_detector(recipe, tmp_path / "again", resume=True))
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    last = read_tensors(tmp_path / "whole/fit/checkpoint.safetensors")[0]
    assert int(last["model/classifier.epochs"]) == 4
    assert not torch.equal(last["model/classifier.weight"], torch.eye(4, 8))


def test_levels_by_mos_come_from_the_side_table(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(material, "weights_of", lambda name: (name, "0123"))
    rows = Manifest.read(corpus).filter(pl.col("label") == "bonafide")
    keys, table = AudioKeys(rows), SideTable("mos", "dnsmos", "0123")
    with table.rows() as kept:
        for place, row in enumerate(list(rows.rows())[:-1]):
            value = {"audio": keys.of(row), "value": 2.0 + place / 4, "seconds_used": 1, "seconds_total": 1}
            kept.add({**value, "model": "0123"})
    with pytest.raises(DataError, match=r"11\.wav: has no MOS by dnsmos \(1 bona fide row.*score MANIFEST --task qual"):
        material.quality_levels(MosLevels(), rows)
    known = rows.filter(pl.col("id") != "11.wav")
    found = material.quality_levels(MosLevels(thresholds=(2.5, 4.0)), known)
    assert (found.count, list(found.rows.values())) == (3, [0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2])
    assert found.of("08.wav", augmented=True) == 1
    assert found.of("00.wav", augmented=True) == 0
    assert found.of("12.wav", augmented=False) == -1


def test_drawn_levels_keep_their_shares_and_follow_from_seed_and_epoch(corpus: Path) -> None:
    rows = Manifest.read(corpus).filter(pl.col("label") == "bonafide")
    found = RandomLevels(shares=(0.25, 0.75)).levels(rows, {}, seed=1)
    drawn = [found.of("01.wav", augmented, epoch) for epoch in range(400) for augmented in (False, True)]
    assert drawn[::2] == drawn[1::2]
    assert np.mean(drawn) == pytest.approx(0.75, abs=0.07)
    assert AugmentationLevels().levels(rows, {}).of("01.wav", augmented=True) == 0


def test_the_task_follows_from_the_loss(corpus: Path) -> None:
    recipe = plan(corpus, QAMO, 2)
    assert isinstance(task_of(recipe, LossMaterial(levels=levels())), QamoTask)
    with pytest.raises(RecipeError, match="needs the quality levels"):
        task_of(recipe)
    assert type(task_of(plan(corpus, {"kind": "oc_softmax"}, 1))) is OneClassTask


def test_one_logit_is_its_own_score() -> None:
    assert bona_fide_score(torch.tensor([[1.5], [-2.0]])).tolist() == [1.5, -2.0]
