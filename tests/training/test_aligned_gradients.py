"""Taking and joining gradients: every algorithm gives the same step, and touches nothing that it should not."""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision.amp import MixedPrecision
from torch import Tensor, nn

from earwitness.core.errors import RecipeError
from earwitness.training.aligned_gradients import Aligner, gram_matrices
from earwitness.training.gradient_alignment import AlignmentConfig, CAGradConfig, GradVacConfig, PCGradConfig
from earwitness.training.gradient_alignment import NoAlignmentConfig as Plain
from earwitness.training.task import Losses

ROOT = Path(__file__).resolve().parents[2]
RULES: list[type[Any]] = [Plain, PCGradConfig, GradVacConfig, CAGradConfig]


@functools.cache
def fabric() -> Any:
    return Fabric(accelerator="cpu", devices=1)


def mlp(dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)


def terms(network: nn.Module, seed: int, count: int = 2) -> Losses:
    """`count` losses over one joint pass: on inputs and noisy copies, with labels that partly disagree."""
    generator = torch.Generator().manual_seed(seed)
    dtype = next(network.parameters()).dtype
    x = torch.randn(6, 5, generator=generator, dtype=torch.float64).to(dtype)
    inputs = torch.cat([x + 0.5 * k * torch.randn(6, 5, generator=generator).to(dtype) for k in range(count)])
    outputs = network(inputs).chunk(count)
    labels = [torch.randint(0, 3, (6,), generator=generator) for _ in range(count)]
    losses = zip(outputs, labels, strict=True)
    return Losses({f"t{k}": (k + 1) * nn.functional.cross_entropy(*pair) / count for k, pair in enumerate(losses)})


def step(config: AlignmentConfig, network: nn.Module, pieces: Sequence[Losses] | Iterator[Losses], **more: Any) -> Any:
    aligner = Aligner(config, list(network.named_parameters()), more.pop("fabric", fabric()))
    joined = aligner.step(pieces, more.pop("targets", {}), step=0)
    return joined, [None if p.grad is None else p.grad.clone() for p in network.parameters()]


def flat(gradients: Sequence[Tensor | None]) -> Tensor:
    return torch.cat([gradient.reshape(-1) for gradient in gradients if gradient is not None])


def by_hand(network: nn.Module, losses: Losses, config: AlignmentConfig, targets: Any = None) -> Tensor:
    """The method on plain vectors: gradients of autograd, the rule on their products."""
    parameters = list(network.parameters())
    rows = [flat(torch.autograd.grad(loss, parameters, retain_graph=True)).double() for loss in losses.terms.values()]
    g = torch.stack(rows).numpy()
    before = np.zeros((len(g), len(g))) if targets is None else np.array(targets)
    coefficients, _ = config.coefficients(g @ g.T, before, np.random.default_rng([0, 0]))
    return torch.from_numpy(len(g) * coefficients @ g)


@pytest.mark.shows("dpda:6.2")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_all_algorithms_give_the_same_step(rule: Any, dtype: torch.dtype, tolerance: float) -> None:
    network, conflicts = mlp(dtype), 0.0
    targets = {"whole": [[0.2, 0.2], [0.2, 0.2]]} if rule is GradVacConfig else {}
    batches = 200 if rule is PCGradConfig else 20
    for seed in range(batches):
        expected = by_hand(network, terms(network, seed), rule(), targets.get("whole"))
        for algorithm in ("full", "lean", "bufferless", "reweighted"):
            config = rule(algorithm=algorithm)
            joined, gradients = step(config, network, [terms(network, seed)], targets=targets)
            error = (flat(gradients).double() - expected).norm() / expected.norm()
            assert error < tolerance, (algorithm, seed, float(error))
        conflicts += joined.notes["conflict"]
    assert 0.1 * batches < conflicts < 0.9 * batches


def test_a_run_without_a_rule_takes_the_gradient_of_the_total() -> None:
    network = mlp()
    terms(network, 3, count=3).total.backward()
    expected = flat([p.grad for p in network.parameters()])
    _, gradients = step(Plain(), network, [terms(network, 3, count=3)])
    torch.testing.assert_close(flat(gradients), expected)


@pytest.mark.parametrize("algorithm", ["full", "lean", "reweighted"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_three_losses(rule: Any, algorithm: str) -> None:
    network = mlp()
    for seed in range(10):
        expected = by_hand(network, terms(network, seed, count=3), rule())
        joined, gradients = step(rule(algorithm=algorithm), network, [terms(network, seed, count=3)])
        torch.testing.assert_close(flat(gradients), expected, rtol=1e-8, atol=1e-10)
        assert set(joined.losses) == {"t0", "t1", "t2"}


def test_bufferless_takes_two_losses() -> None:
    network = mlp()
    with pytest.raises(RecipeError, match="aligns two losses, not 3"):
        step(PCGradConfig(algorithm="bufferless"), network, [terms(network, 0, count=3)])


@pytest.mark.parametrize("algorithm", ["full", "lean", "bufferless", "reweighted"])
def test_one_loss_cannot_be_aligned(algorithm: str) -> None:
    network = mlp()
    with pytest.raises(RecipeError, match=r"needs two loss terms or more.*gives only t0.*paths: dual"):
        step(PCGradConfig(algorithm=algorithm), network, [terms(network, 0, count=1)])  # type: ignore[arg-type]


@pytest.mark.parametrize("algorithm", ["full", "lean", "bufferless", "reweighted"])
def test_accumulated_batches_are_aligned_once(algorithm: str) -> None:
    """Each loss's gradient is summed over the batches first; aligning batch by batch would give another step."""
    network, config = mlp(), PCGradConfig(algorithm=algorithm)  # type: ignore[arg-type]
    seeds = [4, 5, 6]
    whole = [terms(network, seed).terms for seed in seeds]
    summed = {name: torch.stack([batch[name] for batch in whole]).sum() for name in whole[0]}
    expected = by_hand(network, Losses(summed), config)
    joined, gradients = step(config, network, (terms(network, seed) for seed in seeds))
    torch.testing.assert_close(flat(gradients), expected)
    assert joined.losses["t0"] == pytest.approx(float(summed["t0"].detach()))
    apart = torch.stack([by_hand(network, terms(network, seed), config) for seed in seeds]).sum(0)
    assert not torch.allclose(apart, expected, rtol=1e-3)


def test_terms_may_come_in_passes_of_their_own() -> None:
    network = mlp()
    pieces = (Losses({name: terms(network, 8).terms[name]}) for name in ("t0", "t1"))
    _, apart = step(PCGradConfig(), network, pieces)
    _, together = step(PCGradConfig(), network, [terms(network, 8)])
    torch.testing.assert_close(flat(apart), flat(together))


def test_alignment_per_tensor_decides_for_each_alone() -> None:
    network = mlp()
    _, gradients = step(PCGradConfig(per="tensor"), network, [terms(network, 1)])
    parameters = list(network.parameters())
    losses = terms(network, 1).terms.values()
    own = [torch.autograd.grad(loss, parameters, retain_graph=True) for loss in losses]
    decided = set()
    for first, second, got in zip(*own, gradients, strict=True):
        g = torch.stack([first.reshape(-1), second.reshape(-1)]).numpy()
        a = PCGradConfig().coefficients(g @ g.T, np.zeros((2, 2)), np.random.default_rng(0))[0]
        decided.add(bool((a != 0.5).any()))
        torch.testing.assert_close(got.reshape(-1), torch.from_numpy(2 * a @ g))
    assert decided == {True, False}  # some conflict, some don't


class Forked(nn.Module):
    """One part that both losses reach, one that only the second reaches, one that none does, one that is frozen."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.shared, self.second, self.idle, self.fixed = (nn.Linear(4, 4) for _ in range(4))
        self.fixed.requires_grad_(False)

    def losses(self, seed: int) -> Losses:
        generator = torch.Generator().manual_seed(seed)
        x, y = torch.randn(8, 4, generator=generator), torch.randn(8, 4, generator=generator)
        hidden = torch.tanh(self.shared(self.fixed(x)))
        return Losses({"a": (hidden - y).square().mean(), "b": (self.second(hidden) + y).square().mean()})


@pytest.mark.shows("dpda:6.7")
@pytest.mark.parametrize("algorithm", ["full", "lean", "bufferless", "reweighted"])
@pytest.mark.parametrize("optimiser", [torch.optim.Adam, torch.optim.AdamW])
def test_frozen_and_unused_parameters_keep_their_bits(algorithm: str, optimiser: Any) -> None:
    network = Forked()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    named = list(network.named_parameters())  # the frozen ones too, as in the released code
    descent = optimiser([parameter for _, parameter in named], lr=1e-2, weight_decay=0.1)
    aligner = Aligner(PCGradConfig(algorithm=algorithm), named, fabric())  # type: ignore[arg-type]
    for number in range(100):
        aligner.step([network.losses(number)], {}, number)
        descent.step()
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]) is name.startswith(("idle", "fixed")), name


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("alignment_speed", ROOT / "benchmarks" / "alignment_speed.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["alignment_speed"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.shows("dpda:6.6")
def test_the_lean_algorithm_needs_little_memory(benchmark: ModuleType) -> None:
    """Peak of what the allocator holds during a step, in floats a parameter."""
    network = nn.Sequential(*[nn.Linear(512, 512) for _ in range(8)]).float()
    size = sum(parameter.numel() for parameter in network.parameters())

    def losses() -> Losses:
        x = torch.randn(4, 512, generator=torch.Generator().manual_seed(1))
        first, second = network(x).chunk(2)
        return Losses({"a": first.square().mean(), "b": (second - 1).square().mean()})

    peaks = {}
    for algorithm in ("full", "lean", "bufferless"):
        network.zero_grad()
        aligner = Aligner(PCGradConfig(algorithm=algorithm), list(network.named_parameters()), fabric())
        peaks[algorithm] = benchmark.peak_bytes(lambda aligner=aligner: aligner.step([losses()], {}, 0)) / (4 * size)
    assert peaks["full"] - peaks["lean"] >= 4
    assert 2 <= peaks["lean"] < 2.6  # its own gradient and one more
    assert 1 <= peaks["bufferless"] < 2.1


class Scaled(MixedPrecision):
    """Half precision's loss scaling on the CPU, in 32 bits, so that it can be compared."""

    def __init__(self, scale: float) -> None:
        super().__init__("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=10**6))

    def forward_context(self) -> Any:
        return torch.autocast("cpu", enabled=False)

    def convert_input(self, data: Any) -> Any:
        return data


@pytest.mark.parametrize("algorithm", ["full", "lean", "bufferless", "reweighted"])
def test_a_loss_scale_is_taken_out_and_a_step_that_is_not_finite_left_out(algorithm: str) -> None:
    config = PCGradConfig(algorithm=algorithm)  # type: ignore[arg-type]
    networks, notes = [], []
    for own in (fabric(), Fabric(accelerator="cpu", devices=1, plugins=Scaled(2.0**16))):
        network = mlp(torch.float32)
        model, optimiser = own.setup(network, torch.optim.SGD(network.parameters(), lr=0.1))
        aligner = Aligner(config, list(network.named_parameters()), own)
        for seed in (4, 5):
            joined = aligner.step([terms(model, seed)], {}, seed)
            assert joined.apply
            optimiser.step()
        networks.append(network)
        notes.append(joined.notes)
    assert notes[1] == pytest.approx(notes[0], rel=1e-4)
    for first, second in zip(*(each.parameters() for each in networks), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)

    before = {name: value.clone() for name, value in network.state_dict().items()}
    bad = Losses({name: term * float("inf") for name, term in terms(model, 6).terms.items()})
    skipped = aligner.step([bad], {}, 6)
    assert skipped.notes == {"skipped": 1.0}
    assert skipped.apply  # the scaler itself leaves the step out, and lowers its scale
    optimiser.step()
    assert own.strategy.precision.scaler.get_scale() == 2.0**15
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_without_a_scaler_a_step_that_is_not_finite_is_refused_here() -> None:
    network = mlp()
    losses = terms(network, 0).terms
    joined, _ = step(PCGradConfig(), network, [Losses({"t0": losses["t0"], "t1": losses["t1"] * float("inf")})])
    assert not joined.apply
    assert joined.notes == {"skipped": 1.0}


def test_gradvac_remembers_by_tensor_or_whole() -> None:
    network = mlp()
    seeds = [seed for seed in range(20) if not step(Plain(), network, [terms(network, seed)])[0].notes["conflict"]]
    joined, _ = step(GradVacConfig(), network, [terms(network, seeds[0])])
    assert set(joined.targets) == {"whole"}
    assert joined.targets["whole"][0][1] == pytest.approx(joined.notes["cosine"] / 2)
    joined, _ = step(GradVacConfig(per="tensor"), network, [terms(network, seeds[0])])
    assert set(joined.targets) <= {name for name, _ in network.named_parameters()}
    assert len(joined.targets) > 1


def test_blocks_are_counted_beside_the_whole() -> None:
    network = mlp()
    joined, _ = step(PCGradConfig(blocks=("0", "2")), network, [terms(network, 1)])
    assert {"conflict", "cosine", "conflict/0", "cosine/2", "norm/t0", "norm/t1", "skipped"} <= set(joined.notes)
    with pytest.raises(RecipeError, match=r"alignment\.blocks.*'head'"):
        step(PCGradConfig(blocks=("head",)), network, [terms(network, 1)])


def test_products_are_exact_for_long_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earwitness.training.aligned_gradients.PIECE", 1000)
    torch.manual_seed(0)
    rows: list[list[Tensor | None]] = [[torch.randn(70, 90), None], [torch.randn(70, 90), torch.randn(7)]]
    parameters = [nn.Parameter(torch.zeros(70, 90)), nn.Parameter(torch.zeros(7))]
    grams = gram_matrices(parameters, rows)
    first, second = (row[0].double().reshape(-1).numpy() for row in rows if row[0] is not None)
    assert grams[0] == pytest.approx(np.array([[first @ first, first @ second], [first @ second, second @ second]]))
    assert (grams[1, 0, 0], grams[1, 0, 1]) == (0, 0)
    assert grams[1, 1, 1] > 0


def two_processes(own: Any, algorithm: str) -> list[list[float]]:
    """Each process has its own batch, and only the second one's loss reaches the last layer's bias."""
    network = mlp()
    model, _ = own.setup(network, torch.optim.SGD(network.parameters(), lr=0.1))
    aligner = Aligner(PCGradConfig(algorithm=algorithm), list(network.named_parameters()), own)  # type: ignore[arg-type]
    with own.no_backward_sync(model):
        aligner.step([terms(model, 20 + own.global_rank)], {}, 0)
    mine = flat([parameter.grad for parameter in network.parameters()])
    return own.all_gather(mine).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("algorithm", ["lean", "bufferless"])
def test_processes_average_each_loss_before_anything_is_compared(algorithm: str) -> None:
    own = Fabric(accelerator="cpu", devices=2, strategy="ddp_fork")
    first, second = own.launch(two_processes, algorithm)
    assert first == second
    network = mlp()
    halves = [terms(network, seed).terms for seed in (20, 21)]
    mean = Losses({name: (halves[0][name] + halves[1][name]) / 2 for name in halves[0]})
    expected = by_hand(network, mean, PCGradConfig())
    torch.testing.assert_close(torch.tensor(first, dtype=torch.float64), expected, rtol=1e-8, atol=1e-10)
