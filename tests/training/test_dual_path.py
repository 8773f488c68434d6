"""Aligned runs: the loop takes the aligned step, counts conflicts, and resumes exactly; two paths are two losses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from test_loop import Stop, StoppingData, log, same
from tiny_training import TinyData, TinyNetwork, TinyTask, make_batch, tiny_dev, tiny_network, tiny_recipe
from torch import Tensor, nn

from earwitness.core.errors import RecipeError
from earwitness.corpora.batch import Batch, Targets
from earwitness.deepfake.task import DetectionTask
from earwitness.nn.losses import CrossEntropyConfig
from earwitness.training.checkpoint import EpochResult
from earwitness.training.loop import fit
from earwitness.training.recipe import AverageConfig, Recipe, SelectConfig
from earwitness.training.task import Losses, by_path
from earwitness.training.tensors import read_tensors, trained_state

WEIGHTED = CrossEntropyConfig(class_weights=(0.1, 0.9))


def twins(batch: Batch, strength: float, seed: int = 0) -> Batch:
    """The batch, and the same with noise of this strength."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(batch.waveforms.shape, generator=generator)
    labels = batch.targets.label
    assert labels is not None
    waveforms = torch.cat([batch.waveforms, batch.waveforms + strength * noise])
    return Batch(waveforms, batch.lengths.repeat(2), Targets(label=labels.repeat(2)), batch.ids * 2, paths=2)


class TwinData(TinyData):
    def __init__(self, strength: float = 1.0, **options: int) -> None:
        super().__init__(**options)
        self.strength = strength

    def load(self, epoch: int, places: Sequence[int]) -> Iterator[Batch]:
        pairs = zip(places, super().load(epoch, places), strict=True)
        return (twins(batch, self.strength, 1000 * epoch + place) for place, batch in pairs)


class StoppingTwins(StoppingData):
    def load(self, epoch: int, places: Sequence[int]) -> Iterator[Batch]:
        pairs = zip(places, super().load(epoch, places), strict=True)
        return (twins(batch, 1.0, 1000 * epoch + place) for place, batch in pairs)


class TwinTask(TinyTask):
    """A loss for each path."""

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        def criterion(logits: Tensor, path: Batch) -> Tensor:
            return nn.functional.cross_entropy(logits, path.targets.label)

        return by_path(batch, model(batch.waveforms, batch.lengths), criterion, "classification")


def recipe(rule: dict[str, Any] | None, **loop: Any) -> Recipe:
    plain = tiny_recipe(**loop)
    return Recipe.model_validate({**plain.model_dump(), "alignment": rule})


def run(folder: Path, rule: dict[str, Any] | None, strength: float = 1.0, **loop: Any) -> tuple[TinyNetwork, Any]:
    network = tiny_network()
    return network, fit(network, TwinTask(), TwinData(strength), tiny_dev(), recipe(rule, **loop), folder)


@pytest.mark.shows("dpda:6.3")
def test_the_doubled_batch_has_the_mean_of_both_losses() -> None:
    """Class weights included, since both halves have the same labels; so its gradient is the mean of theirs."""
    criterion, network = WEIGHTED.build(2, 2), tiny_network().double().eval()
    for seed in range(20):
        batch = twins(make_batch(0, 0, seed, 7), 0.7, seed)
        labels = batch.targets.label
        assert labels is not None
        logits = network(batch.waveforms.double(), batch.lengths)
        whole = criterion.double()(logits, labels)
        halves = [criterion(*pair) for pair in zip(logits.chunk(2), labels.chunk(2), strict=True)]
        torch.testing.assert_close(whole, (halves[0] + halves[1]) / 2, rtol=1e-12, atol=0)
        terms = DetectionTask(criterion).loss(network, Batch(**{**vars(batch), "waveforms": batch.waveforms.double()}))
        assert list(terms.terms) == ["clean", "augmented"]
        torch.testing.assert_close(terms.total, whole, rtol=1e-12, atol=0)
        parameters = list(network.parameters())
        gradients = [torch.autograd.grad(loss, parameters, retain_graph=True) for loss in (whole, terms.total)]
        for first, second in zip(*gradients, strict=True):
            torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-12)


class NoMixing(nn.Module):
    """Nothing in it lets an item of a batch see another."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 2))

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.layers(waveforms)


def test_separate_forwards_give_the_same_losses_one_at_a_time() -> None:
    criterion, network, batch = WEIGHTED.build(2, 2), NoMixing(), twins(make_batch(0, 0, 0, 6), 1.0)
    joint = DetectionTask(criterion).loss(network, batch).terms
    parts = list(DetectionTask(criterion, "separate").parts(network, batch))
    assert [list(part.terms) for part in parts] == [["clean"], ["augmented"]]
    for name, term in DetectionTask(criterion, "separate").loss(network, batch).terms.items():
        torch.testing.assert_close(term, joint[name])
    mixing = tiny_network().train()
    torch.manual_seed(0)
    mixed = DetectionTask(criterion).loss(mixing, batch).terms["clean"]
    torch.manual_seed(0)
    assert not torch.isclose(mixed, DetectionTask(criterion, "separate").loss(mixing, batch).terms["clean"])


@pytest.mark.parametrize("algorithm", ["full", "lean", "bufferless", "reweighted"])
def test_separate_forwards_take_the_same_step(tmp_path: Path, algorithm: str) -> None:
    networks = []
    for forward in ("joint", "separate"):
        torch.manual_seed(2)
        network = NoMixing()
        task = DetectionTask(WEIGHTED.build(2, 2), forward)  # type: ignore[arg-type]
        plan = recipe({"rule": "pcgrad", "algorithm": algorithm}, select=None, epochs=2)
        fit(network, task, TwinData(), None, plan, tmp_path / forward)
        networks.append(network)
    for first, second in zip(*(network.parameters() for network in networks), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def test_a_run_with_the_rule_none_is_the_plain_run_with_its_conflicts_counted(tmp_path: Path) -> None:
    sgd = {"kind": "sgd", "lr": 0.1}
    plain, _ = run(tmp_path / "plain", None, optimiser=dict(sgd), accumulate=2)
    counted, result = run(tmp_path / "counted", {"rule": "none"}, optimiser=dict(sgd), accumulate=2)
    for first, second in zip(plain.parameters(), counted.parameters(), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-6)
    assert {"conflict", "cosine", "norm/clean", "norm/augmented", "skipped"} == set(result.history[0].gradients)
    steps = [line for line in log(tmp_path / "counted") if line["event"] == "epoch"]
    assert all(line["gradient/norm/augmented"] > 0 for line in steps)
    assert "gradient/conflict" not in log(tmp_path / "plain")[0]


def test_alignment_changes_the_step_where_losses_conflict(tmp_path: Path) -> None:
    counted, result = run(tmp_path / "none", {"rule": "none"}, strength=8.0)
    assert 0 < sum(epoch.gradients["conflict"] for epoch in result.history) < 3
    for rule in ("pcgrad", "gradvac", "cagrad"):
        aligned, _ = run(tmp_path / rule, {"rule": rule}, strength=8.0)
        assert not torch.allclose(aligned.head.weight, counted.head.weight, rtol=0, atol=1e-5), rule


@pytest.mark.shows("dpda:6.5")
def test_conflicts_are_shown_each_epoch_and_grow_with_the_augmentation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rates, cosines = [], []
    for strength in (0.0, 0.5, 2.0, 8.0):
        torch.manual_seed(0)
        network, folder = NoMixing(), tmp_path / str(strength)
        plan = recipe({"rule": "none"}, select=None, epochs=3, optimiser={"kind": "adam", "lr": 1e-3}, log_every=1)
        fit(network, TwinTask(), TwinData(strength, batches=20), None, plan, folder)
        epochs = [line for line in log(folder) if line["event"] == "epoch"]
        steps = [line for line in log(folder) if line["event"] == "step"]
        rates.append(sum(line["gradient/conflict"] for line in epochs) / 3)
        cosines.append(sum(line["gradient/cosine"] for line in epochs) / 3)
        for name in ("conflict", "cosine", "norm/clean", "norm/augmented"):  # the table has means over the steps
            means = [sum(s[f"gradient/{name}"] for s in steps if s["epoch"] == epoch) / 20 for epoch in range(3)]
            assert [line[f"gradient/{name}"] for line in epochs] == pytest.approx(means)
    assert rates[0] == 0
    assert cosines[0] == pytest.approx(1)
    assert rates[0] <= rates[1] <= rates[2] < rates[3]
    assert cosines == sorted(cosines, reverse=True)
    lines = capsys.readouterr().err.splitlines()
    heads = [line for line in lines if line.split()[:2] == ["epoch", "conflicts"]]
    assert heads
    named = ["epoch", "conflicts", "cosine", "|g clean|", "|g augmented|", "loss clean", "loss augmented"]
    assert " ".join(heads[0].split()) == " ".join(named)
    rows = [line for line in lines if line.split() and line.split()[0] in "123"]
    assert len(rows) == 12
    assert rows[0].split()[1] == "0.0%"


@pytest.mark.parametrize("rule", [{"rule": "gradvac"}, {"rule": "gradvac", "per": "tensor"}, {"rule": "pcgrad"}])
@pytest.mark.parametrize(("epoch", "place"), [(1, 4)])
def test_an_aligned_run_resumes_exactly(tmp_path: Path, rule: dict[str, Any], epoch: int, place: int) -> None:
    plan = recipe(rule, checkpoint_every_steps=2, log_every=1, epochs=2)
    whole, resumed = tiny_network(), TinyNetwork()
    fit(whole, TwinTask(), TwinData(), tiny_dev(), plan, tmp_path / "whole")
    with pytest.raises(Stop):
        fit(tiny_network(), TwinTask(), StoppingTwins(epoch, place), tiny_dev(), plan, tmp_path / "cut")
    fit(resumed, TwinTask(), TwinData(), tiny_dev(), plan, tmp_path / "cut", resume=True)
    assert same(whole, resumed)
    for name in ("log.jsonl", "checkpoint.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    _, note = read_tensors(tmp_path / "whole" / "checkpoint.safetensors")
    assert bool(note["progress"]["targets"]) is (rule["rule"] == "gradvac")


def test_a_task_with_one_term_is_refused_before_the_first_step(tmp_path: Path) -> None:
    network = tiny_network()
    plan = recipe({"rule": "pcgrad"})
    with pytest.raises(RecipeError, match=r"gives only classification. Set `paths: dual`") as caught:
        fit(network, TinyTask(), TinyData(), tiny_dev(), plan, tmp_path)
    assert "\n" not in str(caught.value)
    for parameter, start in zip(network.parameters(), tiny_network().parameters(), strict=True):
        assert torch.equal(parameter, start)


class Exploding(TwinTask):
    """The third step's gradient is not finite, though its loss is."""

    def __init__(self) -> None:
        self.steps = 0

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        self.steps += 1
        terms = super().loss(model, batch).terms
        if self.steps == 3:
            zero = model.head.bias.sum() * 0  # type: ignore[union-attr, operator]
            terms["clean"] = terms["clean"] + torch.sqrt(zero)  # whose slope at 0 is infinite
        return Losses(terms)


def test_a_step_without_a_finite_gradient_is_left_out_and_counted(tmp_path: Path) -> None:
    network = tiny_network()
    result = fit(network, Exploding(), TwinData(batches=4), None, recipe({"rule": "pcgrad"}, select=None), tmp_path)
    assert all(bool(value.isfinite().all()) for value in network.state_dict().values())
    assert [epoch.gradients["skipped"] for epoch in result.history] == [0.25, 0, 0]
    assert all(abs(epoch.gradients["cosine"]) <= 1 for epoch in result.history)


def test_clipping_comes_after_alignment(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = NoMixing()
    before = torch.cat([p.detach().clone().flatten() for p in network.parameters()])
    sgd = {"kind": "sgd", "lr": 1.0, "momentum": 0.0, "weight_decay": 0.0}
    options = {"epochs": 1, "clip_norm": 0.01, "select": None, "optimiser": sgd, "schedule": {"kind": "constant"}}
    plan = recipe({"rule": "pcgrad"}, **options)
    fit(network, TwinTask(), TwinData(batches=1), None, plan, tmp_path)
    after = torch.cat([p.detach().flatten() for p in network.parameters()])
    assert float((after - before).norm()) == pytest.approx(0.01, rel=1e-3)
    assert log(tmp_path)[0]["gradient/norm/clean"] > 0.01  # which is noted before clipping


def test_the_released_average_counts_the_second_best_twice_and_the_best_not(tmp_path: Path) -> None:
    class Ranked(TinyTask):
        judged = 0

        def evaluate(self, model: nn.Module, batches: Any) -> Any:
            self.judged += 1
            found = super().evaluate(model, batches)
            values = {**found.values, "loss": [3.0, 1.0, 2.0, 4.0, 0.5][min(self.judged, 5) - 1]}
            return type(found)(values)

    average = {"of": "best", "count": 4, "accumulator": "as_released"}
    network = tiny_network()
    result = fit(network, Ranked(), TinyData(), tiny_dev(), tiny_recipe(epochs=5, average=average), tmp_path)
    assert result.epochs == (0, 1, 2, 4)
    states = {epoch: read_tensors(tmp_path / f"epoch-{epoch:04d}.safetensors")[0] for epoch in result.epochs}
    for name, value in trained_state(network).items():
        if value.is_floating_point():  # from best to worst: 4, 1, 2, 0
            best = [states[epoch][name].double() for epoch in (4, 1, 2, 0)]
            torch.testing.assert_close(value, ((2 * best[1] + best[2] + best[3]) / 4).to(value.dtype))
            assert not torch.allclose(value, (sum(best) / 4).to(value.dtype), rtol=1e-4, atol=1e-6)


def test_shares_of_few_epochs() -> None:
    from earwitness.training.checkpoint import epoch_shares

    history = tuple(EpochResult(epoch, {}, {"loss": loss}) for epoch, loss in enumerate([2.0, 1.0, 3.0]))
    select, released = SelectConfig(metric="loss"), AverageConfig(of="best", count=5, accumulator="as_released")
    assert epoch_shares([0, 1, 2], history, select, released) == pytest.approx([2 / 3, 0, 1 / 3])
    assert epoch_shares([0, 1], history, select, released) == [1, 0]
    assert epoch_shares([1], history, select, released) == [1]
    assert epoch_shares([0, 1], history, select, AverageConfig(of="best", count=2)) == [0.5, 0.5]
    with pytest.raises(ValueError, match="as_released"):
        AverageConfig(of="last", count=2, accumulator="as_released")


def test_a_run_of_an_earlier_version_resumes_without_gradients(tmp_path: Path) -> None:
    """Epochs in older checkpoints have no notes of gradients."""
    assert EpochResult(**json.loads('{"epoch": 0, "losses": {}, "metrics": {}}')).gradients == {}
