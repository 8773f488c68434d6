"""A contrast, weights and smoothing beside a regression's own loss: what each sees, and what a resumed run keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
import torch

from earwitness.core.config import parse_config
from earwitness.core.errors import RecipeError
from earwitness.corpora.batch import Batch, Targets
from earwitness.corpora.manifest import Manifest
from earwitness.nn.losses import AcconConfig, ConrConfig, Contrasted, FeatureSmoothingConfig, SqinvConfig
from earwitness.nn.losses.label_weighting import LabelWindow
from earwitness.paralinguistic.age import AgeEstimator
from earwitness.paralinguistic.age_recipe import AgeRecipe
from earwitness.paralinguistic.age_task import AgeTask, AgeTrainee
from earwitness.paralinguistic.age_training import build_trainee, train_age
from earwitness.paralinguistic.regularised import Regression, RegularisedTask, RegularisersConfig, regularised
from earwitness.training.loop import fit
from earwitness.training.task import Task

DIM, ROWS = 6, 24
AGES = np.repeat([20.0, 25, 30, 45], [12, 6, 4, 2])


def recipe(**regularise: Any) -> AgeRecipe:
    """A perceptron on kept features, with L1."""
    branch = {"frontend": {"kind": "kept", "dim": DIM}, "encoder": {"kind": "perceptron", "widths": [8]}}
    given = {
        "name": "t",
        "task": "age",
        "data": {"manifests": ["t"]},
        "network": {"branches": [branch], "embedding": {"dim": 5, "batch_norm": False}, "dropout": 0.1},
        "loss": {"kind": "regression", "norm": "l1"},
        "sex": None,
        "loop": {"epochs": 3, "batch_size": 8, "accelerator": "cpu"},
        "regularise": regularise,
    }
    found: AgeRecipe = parse_config(AgeRecipe, given)
    return found


class Drawn:
    """Three batches of eight, the same each epoch; `stop_at` an epoch it breaks off."""

    def __init__(self, stop_at: int | None = None) -> None:
        rng = np.random.default_rng(2)
        self.ages = rng.permutation(AGES)
        self.values = rng.normal(size=(ROWS, DIM)) + self.ages[:, None] / 10
        self.stop_at = stop_at

    def count(self, epoch: int) -> int:
        return 3

    def load(self, epoch: int, places: Sequence[int]) -> Iterator[Batch]:
        if epoch == self.stop_at:
            raise InterruptedError
        for place in places:
            rows = slice(8 * place, 8 * place + 8)
            values = torch.from_numpy(self.values[rows]).float()
            targets = Targets(age=torch.from_numpy(self.ages[rows]).float())
            yield Batch(values, torch.full((8,), DIM), targets, tuple(map(str, range(8))))


def built(config: AgeRecipe, train: Drawn) -> tuple[AgeTrainee, AgeTask, Task]:
    rows = Manifest.from_table(pl.DataFrame({"path": [f"{k}" for k in range(ROWS)], "age": train.ages}), ".")
    trainee, task = build_trainee(config, rows)
    parts = Regression(trainee.network, trainee.criterion, task.ages)
    return trainee, task, regularised(config.regularise, task, parts, train.ages.tolist(), train)


def first(train: Drawn) -> Batch:
    (batch,) = train.load(0, [0])
    return batch


def test_nothing_asked_for_is_the_task_itself() -> None:
    _, task, found = built(recipe(), Drawn())
    assert found is task


def test_the_contrast_is_of_the_embedding_that_the_regressor_reads() -> None:
    train, config = Drawn(), AcconConfig(span=30, weight=3.0)
    trainee, task, whole = built(recipe(contrast=config.model_dump()), train)
    batch = first(train)
    trainee.eval()
    losses, plain = whole.loss(trainee, batch), task.loss(trainee, batch)
    assert set(losses.terms) == {"l1", "accon"}
    assert losses.terms["l1"].equal(plain.terms["l1"])
    embeddings = trainee.network.embed(batch.waveforms).mean
    assert batch.targets.age is not None
    expected = 3 * config.build(train.ages)(Contrasted(embeddings, batch.targets.age))
    torch.testing.assert_close(losses.terms["accon"], expected)
    losses.terms["accon"].backward()
    assert trainee.network.embedding is not None
    assert float(trainee.network.embedding.linear.weight.grad.abs().max()) > 0  # type: ignore[union-attr]


def test_weights_reach_the_loss_and_conr_hears_predictions_and_weights() -> None:
    train = Drawn()
    weighting, contrast = SqinvConfig(lds=LabelWindow()), ConrConfig(w=3.0, t=0.5)
    trainee, task, whole = built(recipe(contrast=contrast.model_dump(), weighting=weighting.model_dump()), train)
    batch, weights = first(train), weighting.build(train.ages)
    trainee.eval()
    losses = whole.loss(trainee, batch)
    ages = task.ages(batch)
    heard = trainee(batch.waveforms, batch.lengths)
    answers = trainee.criterion.mean(heard.outputs)
    torch.testing.assert_close(losses.terms["l1"], (weights(ages) * (answers - ages).abs()).mean())
    expected = 4 * contrast.build([])(Contrasted(heard.embedding, ages, answers.detach(), weights(ages)))
    assert expected.item() > 0
    torch.testing.assert_close(losses.terms["conr"], expected)
    assert len(trainee.criterion._forward_pre_hooks) == 0  # nothing is left behind


def test_smoothed_embeddings_reach_the_regressor_in_training_alone() -> None:
    train = Drawn()
    smoothing = FeatureSmoothingConfig(first=15, last=50, bin_width=5, window=LabelWindow(size=3))
    trainee, task, whole = built(recipe(smoothing=smoothing.model_dump(), contrast={"kind": "rnc"}), train)
    assert isinstance(whole, RegularisedTask)
    assert whole.smoothing is not None
    trainee.eval()  # no dropout, so that terms can be compared
    batch = first(train)
    before = whole.loss(trainee, batch)
    assert whole.notes(trainee)["smoothed_bins"] == 4
    after, plain = whole.loss(trainee, batch), task.loss(trainee, batch)
    assert before.terms["l1"].equal(plain.terms["l1"])
    embedding = trainee.network.embed(batch.waveforms)
    moved = whole.smoothing.train()(embedding.mean, task.ages(batch))
    answers = trainee.criterion.mean(trainee.network.classifier(moved))  # type: ignore[misc]
    torch.testing.assert_close(after.terms["l1"], (answers - task.ages(batch)).abs().mean())
    assert not after.terms["l1"].equal(plain.terms["l1"])
    assert after.terms["rnc"].equal(before.terms["rnc"])  # a contrast sees them as they are
    with torch.no_grad():
        assert whole.evaluate(trainee, [batch]) == task.evaluate(trainee, [batch])


def test_a_run_that_broke_off_goes_on_with_what_smoothing_knew(tmp_path: Path) -> None:
    smoothing = {"first": 15, "last": 50, "bin_width": 5, "window": {"size": 3}}
    config = recipe(smoothing=smoothing, contrast={"kind": "ranksim", "weight": 1.0})

    def run(folder: Path, train: Drawn, resume: bool) -> AgeTrainee:
        trainee, _, whole = built(config, train)
        fit(trainee, whole, train, None, config, folder, resume=resume)
        return trainee

    once = run(tmp_path / "once", Drawn(), resume=False)
    with pytest.raises(InterruptedError):
        run(tmp_path / "twice", Drawn(stop_at=2), resume=False)
    twice = run(tmp_path / "twice", Drawn(), resume=True)
    for name, value in once.state_dict().items():
        assert value.equal(twice.state_dict()[name]), name
    _, _, other = built(recipe(contrast={"kind": "rnc"}), Drawn())
    assert isinstance(other, RegularisedTask)
    _, _, whole = built(config, Drawn())
    assert isinstance(whole, RegularisedTask)
    with pytest.raises(RecipeError, match="other `smoothing`"):
        other.restore(whole.state(), torch.device("cpu"))


def test_a_typo_in_a_contrast_is_answered() -> None:
    with pytest.raises(RecipeError, match="Did you mean 'ranksim'"):
        parse_config(RegularisersConfig, {"contrast": {"kind": "ranksin"}})


def test_an_age_model_is_trained_with_all_of_it(tmp_path: Path, speechlike: Callable[..., Any]) -> None:
    rows = []
    for speaker in range(18):
        age, side = 20.0 + 5 * (speaker % 6), ("train", "dev", "test")[speaker // 6]
        soundfile.write(tmp_path / f"{speaker}.wav", speechlike(1.0, seed=speaker), 16_000)
        rows.append({"id": f"{speaker}", "path": f"{speaker}.wav", "speaker": f"s{speaker}", "age": age, "side": side})
    table = pl.DataFrame(rows)
    Manifest.from_table(table.drop("side"), tmp_path).write(tmp_path / "rows.csv")
    table.select("id", pl.col("side").alias("split")).write_csv(tmp_path / "sides.csv")
    branch = {"frontend": {"kind": "fbank", "n_mels": 24}, "encoder": {"kind": "perceptron", "widths": [16]}}
    given = {
        **recipe().model_dump(mode="json"),
        "data": {"manifests": [str(tmp_path / "rows.csv")], "split_file": str(tmp_path / "sides.csv")},
        "network": {"branches": [branch], "embedding": {"dim": 8, "batch_norm": False}},
        "audio": {"crop_s": 0.5, "trim_silence": False},
        "regularise": {
            "contrast": {"kind": "accon"},
            "weighting": {"kind": "sqinv", "lds": {}},
            "smoothing": {},
            "views": 2,
        },
    }
    given["loop"]["epochs"] = 2
    config: AgeRecipe = parse_config(AgeRecipe, given)
    model = train_age(config, tmp_path / "run")
    log = (tmp_path / "run" / "fit" / "log.jsonl").read_text()
    assert '"loss/accon"' in log
    assert '"note/smoothed_bins": 6' in log
    estimate = AgeEstimator.load(model).estimate(speechlike(1.0, seed=3), 16_000)
    assert np.isfinite(estimate.mean)
