"""f-InfoED's encoder (reconstruction of arXiv 2504.10819): closed forms, and that it reads the entropy alone."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from earwitness.nn.encoders.latent_entropy import LatentEntropy, LatentEntropyConfig, divergence_of, entropy_of
from earwitness.nn.network import NetworkConfig
from earwitness.nn.pooling import AttentiveStatisticsConfig
from earwitness.nn.types import Frames

WIDTH = 12
POOLING = {"kind": "attentive_statistics", "bottleneck": 64, "global_context": False, "per_channel": False}


def encoder(seed: int = 0, **options: Any) -> LatentEntropy:
    """Small, in train mode, with posteriors that differ from frame to frame."""
    torch.manual_seed(seed)
    built = LatentEntropyConfig(**{"latent": 6, "hidden": 16, "outputs": 8, **options}).build(WIDTH)
    torch.nn.init.normal_(built.log_variance.weight, std=0.3)
    return built


@pytest.fixture
def frames() -> Frames:
    torch.manual_seed(1)
    return Frames(torch.randn(4, 20, WIDTH))


@pytest.mark.shows("f-infoed:6.2")
def test_entropy_has_its_closed_form() -> None:
    """1.418938533 nats at sigma 1, ln 2 more for twice the sigma, and what drawing 1e5 samples estimates."""
    assert float(entropy_of(torch.zeros((), dtype=torch.float64))) == pytest.approx(1.418938533, abs=1e-9)
    sigma = torch.tensor([0.3, 1.0, 2.5], dtype=torch.float64)
    added = entropy_of((2 * sigma).square().log()) - entropy_of(sigma.square().log())
    torch.testing.assert_close(added, torch.full_like(sigma, 0.693147), atol=1e-6, rtol=0)
    mean = torch.tensor([4.0, 0.0, -1.0], dtype=torch.float64)
    torch.manual_seed(0)
    drawn = torch.distributions.Normal(mean, sigma).sample((100_000,))
    estimate = -torch.distributions.Normal(mean, sigma).log_prob(drawn).mean(0)
    torch.testing.assert_close(entropy_of(sigma.square().log()), estimate, rtol=0.01, atol=0)


@pytest.mark.shows("f-infoed:6.2")
def test_the_entropy_of_a_latent_is_that_of_its_frames(frames: Frames) -> None:
    """H_t is the sum over dimensions; H_t / D is told. At the start sigma is 1 everywhere."""
    built = encoder()
    with built.listening() as heard:
        built(frames)
    expected = torch.distributions.Normal(heard[0].mean, (0.5 * heard[0].log_variance).exp()).entropy().sum(-1) / 6
    torch.testing.assert_close(heard[0].entropy, expected)
    new = LatentEntropyConfig(latent=5).build(WIDTH)
    with new.listening() as heard:
        new(frames)
    torch.testing.assert_close(heard[0].entropy, torch.full((4, 20), 1.418938533))


@pytest.mark.shows("f-infoed:6.3")
def test_divergence_has_its_closed_form(frames: Frames) -> None:
    mean, log_variance = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, math.log(4.0)])
    torch.testing.assert_close(divergence_of(mean, log_variance), torch.tensor([0.0, 0.5, 0.806853]), atol=1e-6, rtol=0)
    built = encoder()
    with built.listening() as heard:
        built(frames)
    posterior = torch.distributions.Normal(heard[0].mean, (0.5 * heard[0].log_variance).exp())
    expected = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(heard[0].divergence, expected)


@pytest.mark.shows("f-infoed:6.4")
@pytest.mark.parametrize("entropy", ["per_dim", "scalar"])
def test_logits_do_not_see_the_mean(entropy: str, frames: Frames) -> None:
    """Bit for bit, whatever is added to mu; log-variances do change them."""
    network = tiny_network(entropy)
    part = network.branches[0].encoder
    before = network(frames.values.flatten(1))
    torch.nn.init.normal_(part.mean.weight, std=100.0)
    torch.nn.init.normal_(part.mean.bias, std=100.0)
    assert torch.equal(network(frames.values.flatten(1)), before)
    mean, log_variance = part.posterior(frames)
    moved = part.classified(frames, mean + 7 * torch.randn_like(mean), log_variance)
    assert torch.equal(moved, part.classified(frames, mean, log_variance))
    assert not torch.equal(part.classified(frames, mean, log_variance + torch.rand_like(log_variance)), moved)


@pytest.mark.shows("f-infoed:6.4")
@pytest.mark.parametrize("entropy", ["per_dim", "scalar"])
def test_the_classification_learns_by_log_variances_alone(entropy: str, frames: Frames) -> None:
    network = tiny_network(entropy)
    part = network.branches[0].encoder
    with part.listening() as heard:
        logits = network(frames.values.flatten(1))
    mean, log_variance = heard[0].mean, heard[0].log_variance
    loss = F.cross_entropy(logits, torch.tensor([0, 1, 0, 1]))
    by_mean, by_variance = torch.autograd.grad(loss, (mean, log_variance), allow_unused=True)
    assert by_mean is None
    assert by_variance is not None
    assert (by_variance.abs().sum((1, 2)) > 0).all()


def test_the_first_step_of_the_classification_moves_the_log_variances(frames: Frames) -> None:
    """All entropies are equal then, and a batch-norm makes zeros of what is equal."""
    torch.manual_seed(0)
    network = tiny_network("per_dim", fresh=True)
    F.cross_entropy(network(frames.values.flatten(1)), torch.tensor([0, 1, 0, 1])).backward()
    assert network.branches[0].encoder.log_variance.weight.grad.abs().max() > 0


@pytest.mark.shows("f-infoed:6.6")
def test_without_its_gradient_the_latent_learns_nothing_of_the_classes(frames: Frames) -> None:
    network = tiny_network("per_dim", entropy_grad=False)
    part = network.branches[0].encoder
    with part.listening() as heard:
        logits = network(frames.values.flatten(1))
    F.cross_entropy(logits, torch.tensor([0, 1, 0, 1])).backward(retain_graph=True)
    names = {name.split(".")[0] for name, parameter in part.named_parameters() if parameter.grad is not None}
    assert names == {"classifier"}
    (heard[0].error.mean() + heard[0].divergence.mean()).backward()
    assert all(parameter.grad is not None for parameter in part.parameters())


def test_no_gradient_reaches_the_frames_as_a_target(frames: Frames) -> None:
    """Else adapters in front would lower the error by making frames trivial: only what is encoded passes one on."""
    built = encoder()
    values = frames.values.clone().requires_grad_()
    torch.nn.init.zeros_(built.enter.weight)  # so that nothing of the frames is encoded
    with built.listening() as heard:
        built(Frames(values))
    (grad,) = torch.autograd.grad(heard[0].error.sum(), values)
    assert not grad.any()
    assert heard[0].error.mean() > 0.5


def test_nothing_is_drawn_outside_of_training(frames: Frames) -> None:
    built = encoder()
    errors: list[Tensor] = []
    for mode in (True, True, False, False):
        with built.train(mode).listening() as heard:
            built(frames)
        errors.append(heard[0].error)
    assert not torch.equal(errors[0], errors[1])
    assert torch.equal(errors[2], errors[3])


def test_masked_frames_do_not_count_over_time(frames: Frames) -> None:
    built = encoder()
    mask = torch.ones(4, 20, dtype=torch.bool)
    mask[:, 15:] = False
    with built.listening() as heard:
        built(Frames(frames.values, mask))
    torch.testing.assert_close(heard[0].over_time(heard[0].entropy), heard[0].entropy[:, :15].mean(1))


def test_log_variances_are_clamped(frames: Frames) -> None:
    built = encoder()
    with torch.no_grad():
        built.log_variance.bias.fill_(1000.0)
    _, log_variance = built.posterior(frames)
    assert log_variance.max() == 8.0


@pytest.mark.parametrize(("reads", "width"), [("entropy", 6), ("mean", 6), ("input", WIDTH)])
def test_what_is_read_for_comparison(reads: str, width: int, frames: Frames) -> None:
    built = encoder(reads=reads)
    assert built.classifier[0].in_channels == width
    before = built.eval()(frames).values
    torch.nn.init.zeros_(built.log_variance.weight)
    assert torch.equal(built(frames).values, before) == (reads != "entropy")


def test_one_weight_a_frame() -> None:
    """Attentive statistics of 128 channels: 64 hidden values, one weight, 256 results (sheet, section 2.5)."""
    torch.manual_seed(0)
    pooling = AttentiveStatisticsConfig(bottleneck=64, global_context=False, per_channel=False).build(128).eval()
    x = torch.randn(3, 9, 128)
    weights = pooling.attention(Frames(x))
    assert (weights.shape, pooling.dim) == ((3, 1, 9), 256)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 1))
    mean = (weights.transpose(1, 2) * x).sum(1)
    deviation = (weights.transpose(1, 2) * (x - mean[:, None]).square()).sum(1).sqrt()
    torch.testing.assert_close(pooling(Frames(x)).mean, torch.cat([mean, deviation], 1), atol=1e-5, rtol=1e-5)


def tiny_network(entropy: str, *, fresh: bool = False, **options: Any) -> Any:
    """In train mode, from frames handed in flat."""
    part = {"kind": "latent_entropy", "latent": 6, "hidden": 16, "outputs": 8, "entropy": entropy, **options}
    branch = {"frontend": {"kind": "kept", "dim": WIDTH}, "encoder": part, "pooling": POOLING}
    torch.manual_seed(0)
    network = NetworkConfig.model_validate({"branches": [branch], "outputs": 2}).build().train()
    if not fresh:
        torch.nn.init.normal_(network.branches[0].encoder.log_variance.weight, std=0.3)  # type: ignore[union-attr]
    return network
