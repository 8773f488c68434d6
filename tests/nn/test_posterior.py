"""Gaussian posterior pooling against the numbers of its sheet and sums written out by hand."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from earwitness.core.errors import AudioError, ModelError, RecipeError
from earwitness.nn.encoders import EcapaConfig, ResNetConfig
from earwitness.nn.frontends.fbank import FbankConfig
from earwitness.nn.layers import frame_attention
from earwitness.nn.layers.frame_attention import FrameAttention
from earwitness.nn.network import BranchConfig, EmbeddingConfig, NetworkConfig
from earwitness.nn.pooling import AttentiveStatisticsConfig, MeanConfig, PosteriorConfig, StatisticsConfig
from earwitness.nn.pooling.base import PoolingConfigBase
from earwitness.nn.pooling.posterior import log_precision, posterior
from earwitness.nn.types import Embedding, Frames

Form = Literal["none", "full", "multi_view"]
FORMS: tuple[Form, ...] = ("none", "full", "multi_view")
RESNET34 = ResNetConfig(widths=(32, 64, 128, 256), blocks=(3, 4, 6, 3), strides=(1, 2, 2, 2))


def count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def size(encoder: EcapaConfig | ResNetConfig, pooling: PoolingConfigBase, dim: int, norm: bool) -> int:
    """Parameters of the embedding network for 80 mels."""
    frames = encoder.build(80)
    pooled = pooling.build(frames.dim)
    return count(frames, pooled, EmbeddingConfig(dim=dim, batch_norm=norm).build(pooled.dim))


@pytest.mark.shows("xi-plus:6.1")
@pytest.mark.parametrize(
    ("encoder", "pooling", "parameters"),
    [
        (EcapaConfig(), PosteriorConfig(), 5_896_448),
        (EcapaConfig(channels=1024), PosteriorConfig(), 14_362_816),
        (EcapaConfig(), PosteriorConfig(attention="full"), 6_686_208),
        (EcapaConfig(), PosteriorConfig(attention="multi_view"), 6_686_208),
        (EcapaConfig(), AttentiveStatisticsConfig(), 6_190_720),
        (RESNET34, StatisticsConfig(), 6_634_336),
        (RESNET34, PosteriorConfig(), 7_298_144),
        (RESNET34, PosteriorConfig(attention="multi_view"), 8_087_904),
    ],
)
def test_published_sizes(encoder: EcapaConfig | ResNetConfig, pooling: PoolingConfigBase, parameters: int) -> None:
    ecapa = isinstance(encoder, EcapaConfig)  # the released ResNet has no batch-norm before its linear layer
    assert size(encoder, pooling, 192 if ecapa else 256, norm=ecapa) == parameters


@pytest.mark.shows("xi-plus:6.1")
def test_published_sizes_of_the_pooling_alone() -> None:
    sizes = [count(PosteriorConfig(attention=form).build(1536)) for form in FORMS]
    assert sizes == [791_808, 1_581_568, 1_581_568]
    assert count(FrameAttention(256, 8, 1024, 0.2, banded=True)) == 789_760


def pooled(z: list[float], precision: list[float], prior: float = 1.0, repeats: int = 1) -> tuple[float, float]:
    """Mean and variance of one channel with a prior of mean 0."""
    values = torch.tensor(z * repeats, dtype=torch.float64).view(1, -1, 1)
    ell = torch.tensor(precision * repeats, dtype=torch.float64).log().view(1, -1, 1)
    log_prior = torch.tensor([prior], dtype=torch.float64).log()
    found = posterior(values, ell, torch.zeros(1, dtype=torch.float64), log_prior)
    assert found.variance is not None
    return found.mean.item(), found.variance.item()


@pytest.mark.shows("xi-plus:6.2")
def test_the_closed_form() -> None:
    assert pooled([1, 3], [1, 3]) == pytest.approx((2.0, 1 / 5), abs=1e-12)
    assert pooled([1, 3], [1, 1]) == pytest.approx((4 / 3, 1 / 3), abs=1e-12)


@pytest.mark.shows("xi-plus:6.3")
def test_limits_of_the_closed_form() -> None:
    z = [0.5, -1.0, 2.0, 4.0]
    precision = math.exp(1.3)
    assert pooled(z, [precision] * 4, prior=0.0) == pytest.approx((sum(z) / 4, 1 / (4 * precision)), rel=1e-12)
    certain = [1.0, 1.0, math.exp(15), 1.0]
    assert pooled(z, certain)[0] == pytest.approx(2.0, abs=1e-5)


@pytest.mark.shows("xi-plus:6.3")
def test_hearing_an_utterance_twice_halves_its_variance() -> None:
    torch.manual_seed(0)
    pooling = PosteriorConfig(hidden=8).build(6).eval()
    nn.init.constant_(pooling.prior_log_precision, -60.0)
    x = torch.randn(2, 30, 6)
    with torch.no_grad():
        once, twice = pooling(Frames(x)), pooling(Frames(torch.cat([x, x], dim=1)))
    torch.testing.assert_close(twice.mean, once.mean)
    torch.testing.assert_close(2 * twice.variance, once.variance)


def made(form: Form, **more: int) -> nn.Module:
    torch.manual_seed(1)
    pooling = PosteriorConfig(hidden=16, attention=form, heads=4, feed_forward=8, **more).build(6).eval()
    nn.init.normal_(pooling.precision.expand.weight)
    nn.init.normal_(pooling.prior_mean)
    return pooling


@pytest.mark.shows("xi-plus:6.4")
@pytest.mark.parametrize("form", FORMS)
def test_padding_changes_nothing(form: Form) -> None:
    pooling = made(form)
    x, padded = torch.randn(3, 40, 6), 50 * torch.randn(3, 55, 6)
    lengths = (40, 23, 1)
    mask = torch.arange(55) < torch.tensor(lengths).unsqueeze(1)
    for row, length in enumerate(lengths):
        padded[row, :length] = x[row, :length]
    with torch.no_grad():
        together = pooling(Frames(padded, mask))
        for row, length in enumerate(lengths):
            alone = pooling(Frames(x[row : row + 1, :length]))
            torch.testing.assert_close(together.mean[row], alone.mean[0], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(together.variance[row], alone.variance[0], atol=1e-5, rtol=1e-5)


def test_masked_frames_pass_no_gradient_that_is_not_finite() -> None:
    pooling = made("multi_view").train()
    x = torch.randn(2, 40, 6, requires_grad=True)
    mask = torch.arange(40) < torch.tensor([[40], [5]])
    found = pooling(Frames(x, mask))
    (found.mean.sum() + found.variance.sum()).backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())
    assert all(bool(p.grad.isfinite().all()) for p in pooling.parameters() if p.grad is not None)


def test_an_utterance_without_frames_is_refused() -> None:
    with pytest.raises(AudioError, match="not one frame"):
        made("none")(Frames(torch.randn(1, 0, 6)))


def test_log_precisions_stay_within_their_limits() -> None:
    found = log_precision(torch.tensor([-1e4, -20.0, 0.0, 1e4]))
    assert found.tolist() == pytest.approx([-15.0, -15.0, 2 * math.log(math.log(2)), 15.0], abs=1e-6)


def attention_by_hand(layer: FrameAttention, x: Tensor, reach: list[int | None]) -> Tensor:
    """The layer frame by frame and head by head."""
    heads, width = layer.heads, x.shape[1] // layer.heads
    q, k, v = layer.query_key_value(x).split(x.shape[1], dim=1)
    out = torch.zeros_like(x)
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for t in range(len(x)):
            seen = [s for s in range(len(x)) if reach[head] is None or abs(s - t) <= reach[head]]  # type: ignore[operator]
            scores = torch.stack([q[t, part] @ k[s, part] for s in seen]) / math.sqrt(width)
            out[t, part] = sum(w * v[s, part] for w, s in zip(scores.softmax(0), seen, strict=True))
    y = layer.attention_norm(x + layer.output(out))
    return layer.feed_forward_norm(y + layer.feed_forward(y))


@pytest.mark.parametrize("banded", [False, True])
def test_what_each_head_sees(banded: bool) -> None:
    """Head i of a multi-view layer sees 2^i frames to either side: 3, 5, 9 and 17 frames."""
    torch.manual_seed(0)
    layer = FrameAttention(16, 4, 8, 0.2, banded=banded).eval()
    x = torch.randn(25, 16)
    reach: list[int | None] = [1, 2, 4, 8] if banded else [None] * 4
    with torch.no_grad():
        torch.testing.assert_close(layer(x.unsqueeze(0))[0], attention_by_hand(layer, x, reach), atol=1e-5, rtol=1e-4)


def test_bands_are_looked_at_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer = FrameAttention(16, 4, 8, 0.2, banded=True).eval()
    x, mask = torch.randn(2, 100, 16), torch.arange(100) < torch.tensor([[100], [61]])
    with torch.no_grad():
        whole = layer(x, mask)
        monkeypatch.setattr(frame_attention, "QUERIES", 7)
        torch.testing.assert_close(layer(x, mask), whole)


def test_heads_must_fit() -> None:
    with pytest.raises(RecipeError, match="cannot be split"):
        PosteriorConfig(hidden=12, attention="full").build(4)


def test_the_deviation_is_that_under_the_posterior_weights() -> None:
    torch.manual_seed(1)
    pooling = PosteriorConfig(hidden=4, deviation=True).build(3).eval()
    x = torch.randn(2, 9, 3)
    with torch.no_grad():
        found, ell = pooling(Frames(x)), pooling.precision(Frames(x))
    assert found.variance is None
    assert not pooling.states_variance
    weights = torch.cat([ell, torch.zeros(2, 1, 3)], dim=1).softmax(1)
    z = torch.cat([x, torch.zeros(2, 1, 3)], dim=1)
    mean = (weights * z).sum(1)
    torch.testing.assert_close(found.mean[:, :3], mean)
    torch.testing.assert_close(
        found.mean[:, 3:], ((weights * z.square()).sum(1) - mean.square()).sqrt(), atol=1e-5, rtol=1e-4
    )
    with pytest.raises(ModelError, match="no variance"):
        pooling.fuse([found])


def test_parts_add_up_to_the_whole() -> None:
    """Exact for frames that know nothing of how the utterance was cut."""
    pooling = made("none")
    x = torch.randn(1, 60, 6)
    with torch.no_grad():
        whole = pooling(Frames(x))
        parts = [pooling(Frames(piece)) for piece in x.split((25, 5, 30), dim=1)]
        found = pooling.fuse(parts)
        torch.testing.assert_close((found.mean, found.variance), (whole.mean, whole.variance))
        step = pooling.fuse([pooling.fuse(parts[:2]), parts[2]])
    torch.testing.assert_close((step.mean, step.variance), (whole.mean, whole.variance))


def layer_of(weight: list[list[float]], batch_norm: bool) -> nn.Module:
    layer = EmbeddingConfig(dim=len(weight), batch_norm=batch_norm).build(len(weight[0])).eval().double()
    with torch.no_grad():
        layer.linear.weight.copy_(torch.tensor(weight))
    return layer


@pytest.mark.shows("xi-plus:6.5")
def test_the_variance_through_a_linear_layer() -> None:
    layer = layer_of([[1, 2], [0, -1]], batch_norm=False)
    assert layer.variance(torch.tensor([[0.5, 0.25]], dtype=torch.float64)).tolist() == [[1.5, 0.25]]


@pytest.mark.shows("xi-plus:6.5")
def test_the_variance_is_that_of_drawn_embeddings() -> None:
    torch.manual_seed(0)
    layer = layer_of(torch.randn(3, 5).tolist(), batch_norm=True)
    norm = layer.norm
    norm.running_var.uniform_(0.2, 3)
    norm.running_mean.normal_()
    nn.init.normal_(norm.weight)
    mean, variance = torch.randn(1, 5, dtype=torch.float64), torch.rand(1, 5, dtype=torch.float64)
    with torch.no_grad():
        drawn = layer(mean + variance.sqrt() * torch.randn(100_000, 5, dtype=torch.float64))
        torch.testing.assert_close(drawn.var(0), layer.variance(variance)[0], rtol=0.03, atol=0)


def network(pooling: PoolingConfigBase, **embedding: object) -> nn.Module:
    torch.manual_seed(0)
    branch = BranchConfig(
        frontend=FbankConfig(n_mels=20),
        encoder=EcapaConfig(channels=16, outputs=24, se_hidden=4),
        pooling=pooling,  # type: ignore[arg-type]
    )
    return NetworkConfig(branches=[branch], embedding=EmbeddingConfig(dim=6, **embedding)).build().eval()  # type: ignore[arg-type]


def test_a_network_gives_mean_and_variance() -> None:
    model = network(PosteriorConfig(hidden=8))
    waveforms, lengths = 0.1 * torch.randn(3, 9600), torch.tensor([9600, 4800, 9600])
    with torch.no_grad():
        found = model.embed(waveforms, lengths)
        alone = model.embed(waveforms[1:2, :4800])
    assert model.states_variance
    assert found.variance.shape == found.mean.shape == (3, 6)
    assert bool((found.variance > 0).all())
    torch.testing.assert_close(found.variance[1], alone.variance[0])
    assert bool((found.variance[1] > found.variance[[0, 2]].mean(0)).all())  # half as long


@pytest.mark.parametrize("more", [{"activation": "relu"}, {"unit_length": True}])
def test_what_no_variance_goes_through(more: dict[str, object]) -> None:
    model = network(PosteriorConfig(hidden=8), **more)
    assert not model.states_variance
    assert model.embed(0.1 * torch.randn(1, 4800)).variance is None


def test_networks_without_a_posterior_state_none() -> None:
    model = network(MeanConfig())
    assert not model.states_variance
    assert model.embed(0.1 * torch.randn(1, 4800)).variance is None
    with pytest.raises(ModelError, match="one branch"):
        model.fuse([Embedding(torch.zeros(1, 24))])


def test_batch_norm_in_training_leaves_the_variance_to_running_statistics() -> None:
    model = network(PosteriorConfig(hidden=8))
    layer = model.embedding
    v = torch.rand(4, 24)
    with torch.no_grad():
        before = layer.variance(v)
        layer.train()
        torch.testing.assert_close(layer.variance(v), before)


def test_half_precision_keeps_the_variance_whole() -> None:
    """A variance of 1e-9 is 0 in half precision."""
    model = network(PosteriorConfig(hidden=8))
    layer, v = model.embedding, torch.full((2, 24), 1e-9)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.float16):
        found, half = layer.variance(v), model.embed(0.1 * torch.randn(2, 4800))
    torch.testing.assert_close(found, layer.variance(v).detach())
    assert half.variance.dtype == torch.float32
    assert bool((found > 0).all())
