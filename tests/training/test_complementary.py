"""Complementary training: what the reversal does, that members stay as they are, and what it can and cannot reach."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from complementary_toy import (
    Classify,
    Linear,
    OneHot,
    Regress,
    TwoFactors,
    accuracy,
    as_batch,
    easy_and_hard,
    masked,
    mlp,
    opposed,
    pairs,
    probabilities,
    train,
)
from lightning_fabric import Fabric
from test_loop import Stop, same
from tiny_training import tiny_recipe
from torch import Tensor, nn

from earwitness.core.errors import RecipeError
from earwitness.corpora.batch import Batch
from earwitness.metrics.fusion import mean_log_softmax
from earwitness.metrics.redundancy import eta_squared, linear_residual, mlp_r2, ridge_r2
from earwitness.nn.layers.reversal import reverse_gradient
from earwitness.nn.network import Network
from earwitness.training.complementary import Adversary, ComplementaryConfig
from earwitness.training.loop import fit
from earwitness.training.recipe import UtteranceRecipe
from earwitness.training.task import Losses, TaskState

LAMBDAS = (0.0, 0.3, 1.0, 3.0, 10.0)


def adversary(members: Sequence[int] = (5, 3), classes: int = 0, **config: Any) -> Adversary:
    torch.manual_seed(1)
    return Adversary(ComplementaryConfig.model_validate({"members": ["a", "b"], **config}), 4, members, classes)


@pytest.mark.shows("acorl:6.1")
@pytest.mark.parametrize("loss", ["cosine", "mse"])
@pytest.mark.parametrize("weight", [0.3, 1.0, 3.0])
def test_the_reversed_gradient_is_minus_lambda_times_the_plain_one(loss: str, weight: float) -> None:
    against = adversary(loss=loss)
    z, v = torch.randn(8, 4), [torch.randn(8, 5), torch.randn(8, 3)]
    known = against.known(v, None)
    found = []
    for turned in (False, True):
        against.zero_grad()
        leaf = z.clone().requires_grad_()
        value = against.loss(reverse_gradient(leaf, weight) if turned else leaf, known)
        value.backward()
        found.append((value.detach(), leaf.grad, [p.grad.clone() for p in against.parameters()]))  # type: ignore[union-attr]
    (plain, at_z, at_phi), (same_value, reversed_z, same_phi) = found
    assert torch.equal(plain, same_value)
    assert at_z is not None
    assert float(at_z.norm()) > 0
    torch.testing.assert_close(reversed_z, -weight * at_z)
    assert all(torch.equal(a, b) for a, b in zip(at_phi, same_phi, strict=True))
    assert all(float(gradient.norm()) > 0 for gradient in at_phi[::2])


def test_the_loss_is_the_mean_over_members_of_what_the_page_says() -> None:
    z, v = torch.randn(8, 4), [torch.randn(8, 5), 7 * torch.randn(8, 3)]
    units = nn.functional.normalize(z)
    targets = [nn.functional.normalize(values) for values in v]
    for loss in ("cosine", "mse"):
        against = adversary(loss=loss)
        predicted = [f(units) for f in against.predictors]
        if loss == "cosine":
            cosines = [torch.cosine_similarity(p, t) for p, t in zip(predicted, targets, strict=True)]
            expected = torch.stack([(1 - c).mean() for c in cosines]).mean()
        else:
            both = zip(predicted, targets, strict=True)
            expected = torch.stack([(p - t).square().sum(1).mean() for p, t in both]).mean()
        torch.testing.assert_close(against.loss(units, against.known(v, None)), expected)
        scaled = against.loss(units, against.known([100 * values for values in v], None))
        torch.testing.assert_close(scaled, expected)  # the members' scale does not count


def test_class_means_follow_the_items_and_an_unheard_class_does_not_count() -> None:
    against = adversary(members=(2,), classes=3, condition="class", momentum=0.9)
    assert against.means is not None
    v, y = torch.eye(2)[[0, 1, 0]], torch.tensor([0, 0, 2])
    first = against.known([v], y)
    assert first.count.tolist() == [False] * 3
    torch.testing.assert_close(against.means.values[0], torch.tensor([[0.5, 0.5], [0, 0], [1, 0]]))
    second = against.known([v], torch.tensor([0, 1, 2]))
    assert second.count.tolist() == [True, False, True]
    torch.testing.assert_close(second.targets[0][[0, 2]], torch.tensor([[0.5, -0.5], [0, 0]]))
    assert against.means.counts.tolist() == [3, 1, 2]
    torch.testing.assert_close(against.means.values[0][0], torch.tensor([2 / 3, 1 / 3]))  # a plain mean at first
    for _ in range(30):
        against.known([torch.eye(2)[[1]]], torch.tensor([0]))
    before = against.means.values[0][0].clone()
    against.known([torch.eye(2)[[0]]], torch.tensor([0]))
    torch.testing.assert_close(against.means.values[0][0], 0.9 * before + 0.1 * torch.tensor([1.0, 0.0]))


class Vectors:
    """Batches of `TwoFactors`, drawn from (epoch, place); may stop like a killed process."""

    def __init__(self, stop: tuple[int, int] | None = None) -> None:
        self.world, self.stop = TwoFactors.of(0), stop

    def count(self, epoch: int) -> int:
        return 5

    def load(self, epoch: int, places: Sequence[int]) -> Iterator[Batch]:
        for place in places:
            if (epoch, place) == self.stop:
                raise Stop
            yield as_batch(*self.world.draw(100 * epoch + place, 16))


def with_norm(seed: int) -> Network:
    """Its batch-norm would move in train mode."""
    network = mlp(40, 8, seed=seed)
    network.embedding.norm = nn.BatchNorm1d(64)  # type: ignore[union-attr]
    return network


OPPOSED: dict[str, Any] = {"lambda_max": 1.0, "condition": "class", "n_adv_steps": 2, "weight_decay": 0.1}


def fitted(folder: Path, data: Vectors | None = None, resume: bool = False, **config: Any) -> tuple[Network, list[Any]]:
    """A learner with batch-norm after three epochs, plain where no setting is given; and its members."""
    members = [with_norm(7), with_norm(8)]
    network = with_norm(1)
    task = opposed(network, members, 8, **config) if config else Classify()
    recipe = tiny_recipe(select=None, clip_norm=0.5, checkpoint_every_steps=2, log_every=1, accumulate=2)
    fit(network, task, data or Vectors(), None, recipe, folder, resume=resume)
    return network, members


@pytest.mark.shows("acorl:6.1")
def test_lambda_0_is_plain_training_bit_for_bit(tmp_path: Path) -> None:
    plain, _ = fitted(tmp_path / "plain")
    still, _ = fitted(tmp_path / "still", lambda_max=0.0, n_adv_steps=3)
    moved, _ = fitted(tmp_path / "moved", lambda_max=1.0)
    assert same(plain, still)
    assert not same(plain, moved)


@pytest.mark.shows("acorl:6.2")
def test_members_keep_every_byte_and_take_no_gradient(tmp_path: Path) -> None:
    before = [{k: v.clone() for k, v in with_norm(seed).state_dict().items()} for seed in (7, 8)]
    learner, members = fitted(tmp_path, **OPPOSED)
    assert any("running_mean" in name for name in before[0])
    for state, member in zip(before, members, strict=True):
        assert not any(module.training for module in member.modules())
        assert all(p.grad is None and not p.requires_grad for p in member.parameters())
        after = member.state_dict()
        assert all(value.numpy().tobytes() == after[name].numpy().tobytes() for name, value in state.items())
    assert not torch.equal(learner.state_dict()["embedding.norm.running_mean"], torch.zeros(64))


@pytest.mark.parametrize("stop", [(0, 2), (1, 4), (2, 0)])
def test_a_run_that_was_killed_resumes_exactly(tmp_path: Path, stop: tuple[int, int]) -> None:
    whole, _ = fitted(tmp_path / "whole", **OPPOSED)
    with pytest.raises(Stop):
        fitted(tmp_path / "cut", Vectors(stop), **OPPOSED)
    resumed, _ = fitted(tmp_path / "cut", resume=True, **OPPOSED)
    assert same(whole, resumed)
    for name in ("log.jsonl", "checkpoint.safetensors"):  # predictors, their Adam and the class means are in the second
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_state_and_back() -> None:
    task = opposed(mlp(40, 8), [mlp(40, 8, seed=7)], 8, **OPPOSED)
    train(task._network, task, lambda step: as_batch(*TwoFactors.of(0).draw(step, 16)), 3)
    state = task.state()
    assert {"adversary/means.mean_0", "adversary/means.counts", "optimiser/0/exp_avg"} <= set(state.tensors)
    other = opposed(mlp(40, 8), [mlp(40, 8, seed=7)], 8, **OPPOSED)
    assert not torch.equal(other.state().tensors["adversary/means.counts"], state.tensors["adversary/means.counts"])
    other.restore(state, torch.device("cpu"))
    assert all(torch.equal(value, state.tensors[name]) for name, value in other.state().tensors.items())
    with pytest.raises(RecipeError, match=r"started beside other members.*\['another'\]"):
        other.restore(TaskState(state.tensors, {**state.note, "members": ["another"]}), torch.device("cpu"))


def test_a_task_that_embeds_something_else_is_refused() -> None:
    class Twice(Classify):
        def loss(self, model: nn.Module, batch: Batch) -> Losses:
            super().loss(model, batch)
            return super().loss(model, batch)

    network = mlp(40, 8)
    with pytest.raises(RecipeError, match="does not embed each item of a batch once"):
        opposed(network, [mlp(40, 8)], 8, Twice()).loss(network, as_batch(*TwoFactors.of(0).draw(0)))


def test_lambda_rises_and_then_stays() -> None:
    config = ComplementaryConfig(members=("a",), lambda_max=3.0)
    assert [config.weight(epochs, 10) for epochs in (0.0, 1.0, 2.0, 9.0)] == [0, 1.5, 3, 3]
    assert ComplementaryConfig(members=("a",), warmup=0).weight(0.0, 10) == 1


def test_alignment_and_complement_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="would repair the conflict"):
        UtteranceRecipe.model_validate(
            {
                "name": "x",
                "task": "t",
                "data": {"manifests": ["none.csv"]},
                "network": {"branches": [{"frontend": {"kind": "log_mel"}}]},
                "loop": {"epochs": 1, "batch_size": 2},
                "alignment": {"rule": "pcgrad"},
                "complementary": {"members": ["a"]},
            }
        )


def learnt(task: Any) -> Tensor:
    """A few numbers of what an adversary has learnt: sums of each tensor, and the class counts."""
    state = task.adversary.state_dict()
    sums = torch.stack([value.double().sum() for value in state.values()])
    return torch.cat([sums, state["means.counts"], state["means.mean_0"].double().square().sum(1)])


def in_two_processes(own: Any) -> list[list[float]]:
    """Each process hears its own half of every batch."""
    network = mlp(40, 8)
    task = opposed(network, [mlp(40, 8, seed=7)], 8, **OPPOSED)
    x, y = TwoFactors.of(0).draw(0, 32)
    half = slice(16 * own.global_rank, 16 * (own.global_rank + 1))
    for _ in range(2):
        task.loss(network, as_batch(x[half], y[half]))
    return own.all_gather(learnt(task)).tolist()  # type: ignore[no-any-return]


def test_processes_share_one_adversary() -> None:
    first, second = Fabric(accelerator="cpu", devices=2, strategy="ddp_fork").launch(in_two_processes)
    assert first == second
    network = mlp(40, 8)
    task = opposed(network, [mlp(40, 8, seed=7)], 8, **OPPOSED)
    for _ in range(2):
        task.loss(network, as_batch(*TwoFactors.of(0).draw(0, 32)))
    torch.testing.assert_close(torch.tensor(first[-16:], dtype=torch.float64), learnt(task)[-16:])


@pytest.mark.shows("acorl:6.3")
def test_linear_gaussian_world_the_trace_formula() -> None:
    """The residual of the best linear predictor, found by least squares and by the adversary's own predictor."""
    generator = torch.Generator().manual_seed(0)
    s1, noise = (torch.randn(2000, size, generator=generator, dtype=torch.float64) for size in (4, 6))
    v = s1 @ torch.randn(4, 5, generator=generator, dtype=torch.float64)
    z = torch.cat([s1[:, :2], noise[:, :2]], 1) @ torch.randn(4, 4, generator=generator, dtype=torch.float64)
    both = pairs_of(z, v)
    design = np.hstack([both.source, np.ones((2000, 1))])
    solution, *_ = np.linalg.lstsq(design, both.target, rcond=None)
    residual = float(np.square(both.target - design @ solution).sum(1).mean())
    assert linear_residual(both) == pytest.approx(residual, abs=1e-6)

    against = adversary(members=(5,), loss="mse", predictor="linear").double()
    linear = against.predictors[0]
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(solution[:-1].T))  # type: ignore[union-attr, operator]
        linear.bias.copy_(torch.from_numpy(solution[-1]))  # type: ignore[union-attr, operator]
    error = (linear(z) - v).square().sum(1).mean().detach()
    assert float(error) == pytest.approx(linear_residual(both), abs=1e-6)

    spread = float(np.trace(np.cov(both.target.T, bias=True)))
    assert 0.1 * spread < residual < 0.9 * spread
    apart = noise - noise.mean(0)
    centred = v - v.mean(0)
    apart = apart - centred @ torch.linalg.lstsq(centred, apart).solution  # uncorrelated to the last digit
    assert linear_residual(pairs_of(apart, v)) == pytest.approx(spread, rel=1e-9)


def pairs_of(z: Tensor, v: Tensor) -> Any:
    from earwitness.metrics.redundancy import Pairs

    return Pairs.of(z.numpy(), v.numpy())


def gaussian_world(steps: int = 1500, **config: Any) -> tuple[float, float]:
    """v = A s1, z' a free linear map of (s1, s2), the task needs s2 alone -> its error (of a spread of 10), and R^2."""
    generator = torch.Generator().manual_seed(0)
    member = Linear(torch.randn(4, 5, generator=generator))
    task = Regress(torch.randn(4, 3, generator=generator))

    def draw(step: int, count: int = 64) -> Batch:
        x = torch.randn(count, 8, generator=torch.Generator().manual_seed(step))
        return as_batch(x, torch.zeros(count, dtype=torch.int64))

    network, tests = mlp(8, 3, hidden=None, dim=8), draw(10**6, 2000).waveforms
    beside = opposed(network, [member], 1, task, loss="mse", predictor="linear", **config)
    train(network, beside, draw, steps, settle=True)
    with torch.no_grad():
        error = float(task.error(network, tests))
    r2 = ridge_r2(*pairs(network, member, tests))
    print(f"{config}: task error {error:.2g}, R^2 {r2:.3f}")
    return error, r2


@pytest.mark.shows("acorl:6.3")
def test_linear_gaussian_world_nothing_of_the_member_is_left() -> None:
    """With predictors that decay, and a rate of the learner that falls."""
    plain_error, plain = gaussian_world(600, lambda_max=0.0)
    error, left = gaussian_world(weight_decay=5.0)
    assert max(plain_error, error) < 0.02
    assert plain > 0.9
    assert left < 0.05


@pytest.mark.soak
def test_linear_gaussian_world_without_decay_the_two_turn_around_each_other() -> None:
    error, left = gaussian_world()
    assert error < 0.1
    assert left > 0.3


@pytest.mark.shows("acorl:6.4")
@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_what_both_must_share_cannot_be_hidden(weight: float) -> None:
    """v = one-hot(y): eta^2 is 1, and a fresh probe finds v wherever the class can be told."""

    def draw(step: int, count: int = 128) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(step)
        y = torch.randint(0, 4, (count,), generator=generator)
        told = 3.0 * nn.functional.one_hot(y, 4) + 0.3 * torch.randn(count, 4, generator=generator)
        return torch.cat([y.unsqueeze(1).float(), told], 1), y

    network, member = mlp(5, 4), OneHot(4)
    train(network, opposed(network, [member], 4, lambda_max=weight), lambda step: as_batch(*draw(step)), 200)
    x, y = draw(10**6, 1200)
    fit_on, held_out = pairs(network, member, x)
    assert eta_squared(held_out.target, y[600:].numpy()) == pytest.approx(1)
    assert accuracy(probabilities(network, x), y) == 1.0
    found = mlp_r2(fit_on, held_out)
    print(f"lambda {weight}: R^2 of a linear probe {ridge_r2(fit_on, held_out):.3f}, of two layers {found:.3f}")
    assert found > 0.95


def task_a(seed: int, weights: Sequence[float]) -> dict[float, tuple[float, float, float]]:
    """lambda -> accuracy, accuracy of the fusion, R^2; printed."""
    world = TwoFactors.of(seed)
    member = world.specialist(seed)
    x, y = world.draw(10**6, 2000)
    known = probabilities(member.network, masked(x, member.values))
    found = {}
    print(f"seed {seed}: member {accuracy(known, y):.3f}")
    for weight in weights:
        network = mlp(40, 8, seed=seed)
        beside = opposed(network, [member], 8, lambda_max=weight)
        train(network, beside, lambda step: as_batch(*world.draw(step)), 150)
        own = probabilities(network, x)
        fused = accuracy(mean_log_softmax([own, known]), y)
        found[weight] = (accuracy(own, y), fused, ridge_r2(*pairs(network, member, x)))
        print("  lambda {:4}: accuracy {:.3f}, fused {:.3f}, R^2 {:.3f}".format(weight, *found[weight]))
    return found


@pytest.mark.shows("acorl:6.7")
def test_task_a_redundancy_falls_with_lambda() -> None:
    """Three seeds; accuracy stands beside it, whatever it does."""
    runs = [task_a(seed, (0.0, 3.0)) for seed in range(3)]
    plain, against = (np.array([run[weight] for run in runs]) for weight in (0.0, 3.0))
    assert (against[:, 2] < plain[:, 2]).all()
    assert against[:, 2].mean() < 0.8 * plain[:, 2].mean()
    assert (plain[:, 0] > 0.5).all()


@pytest.mark.soak
@pytest.mark.shows("acorl:6.7")
def test_task_a_the_whole_sweep() -> None:
    runs = [task_a(seed, LAMBDAS) for seed in range(3)]
    means = {weight: np.mean([run[weight] for run in runs], axis=0) for weight in LAMBDAS}
    spreads = {weight: np.std([run[weight] for run in runs], axis=0, ddof=1) for weight in LAMBDAS}
    for weight in LAMBDAS:
        print(weight, means[weight].round(3), spreads[weight].round(3))
    assert means[0.0][2] > means[0.3][2] > means[1.0][2] > means[3.0][2]


def task_b(seed: int, weights: Sequence[float], condition: str = "none") -> dict[float, tuple[float, float, float]]:
    """lambda -> accuracy, accuracy once the easy cue is useless, R^2; -1 is the member's."""
    member = train(mlp(10, 2, seed=50 + seed), Classify(), lambda step: as_batch(*easy_and_hard(step)), 200)
    x, y = easy_and_hard(10**6, 1000)
    hard, label = easy_and_hard(10**6 + 1, 1000, easy=False)
    found = {-1.0: (accuracy(probabilities(member, x), y), accuracy(probabilities(member, hard), label), 1.0)}
    for weight in weights:
        network = mlp(10, 2, seed=seed)
        beside = opposed(network, [member], 2, lambda_max=weight, condition=condition)
        train(network, beside, lambda step: as_batch(*easy_and_hard(step)), 200)
        accuracies = accuracy(probabilities(network, x), y), accuracy(probabilities(network, hard), label)
        found[weight] = (*accuracies, ridge_r2(*pairs(network, member, x)))
        print("seed {}, lambda {:3}: accuracy {:.3f}, shifted {:.3f}, R^2 {:.4f}".format(seed, weight, *found[weight]))
    return found


@pytest.mark.shows("acorl:6.4")
def test_task_b_two_collapsed_classes_leave_nothing_to_complement() -> None:
    """An easy cue and a hard one: opposing a member that took the easy one does not turn the learner to the other."""
    for weight, (right, shifted, r2) in task_b(0, (0.0, 1.0)).items():
        assert right > 0.99
        assert abs(shifted - 0.5) < 0.06, weight
        assert r2 > 0.99


@pytest.mark.soak
@pytest.mark.parametrize("condition", ["none", "class"])
def test_task_b_the_whole_table(condition: str) -> None:
    for seed in range(3):
        found = task_b(seed, (0.0, 0.3, 1.0, 3.0), condition)
        assert all(right > 0.99 for right, _, _ in found.values())
        assert all(r2 > 0.99 for _, _, r2 in found.values())
