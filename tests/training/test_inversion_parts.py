"""The parts of data-free distillation: statistics, losses, the bank, views, the generator and the space of inputs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy_sounds import TEACHER, sounds

from earwitness.audio.windows import Whole
from earwitness.core.errors import ModelError, RecipeError
from earwitness.nn.network import NetworkConfig
from earwitness.training.inversion import losses
from earwitness.training.inversion.generator import Generator
from earwitness.training.inversion.memory import ContrastiveHead, MemoryBank
from earwitness.training.inversion.recipe import ContrastConfig
from earwitness.training.inversion.space import InputSpace, RangeConfig, space_of
from earwitness.training.inversion.statistics import (
    Hooks,
    Known,
    read_statistics,
    record_statistics,
    stored_statistics,
    write_statistics,
)
from earwitness.training.inversion.synthesis import contrast
from earwitness.training.inversion.tapped import Tapped
from earwitness.training.inversion.teacher import open_teacher, teacher_of
from earwitness.training.inversion.views import ViewsConfig, global_view, local_view, masked, shifted
from earwitness.training.model_folder import ModelInfo, save_model


def info(**more: Any) -> ModelInfo:
    known = {"name": "t", "task": "sound-class", "network": TEACHER, "windows": Whole(), "polarity": "none"}
    return ModelInfo.model_validate({**known, "licence": "Apache-2.0", **more})


# ---- statistics


@pytest.mark.shows("frami:6.1")
@pytest.mark.parametrize("shape", [(32, 5), (8, 5, 11), (4, 5, 6, 7)])
def test_no_batch_norm_loss_for_a_batch_with_exactly_the_stored_statistics(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)]
    layer = nn.Sequential(kind(5, momentum=1.0)).double()
    batch = 3 * torch.randn(*shape, dtype=torch.float64) + torch.arange(5).double().view(1, 5, *[1] * (len(shape) - 2))
    layer(batch)  # in train mode: the statistics are the batch's, the variance unbiased
    n = batch.numel() / 5
    layer[0].running_var.mul_((n - 1) / n)
    layer.eval()
    with Hooks(layer, stored_statistics(layer)) as hooks:
        layer(batch)
        assert float(hooks.loss()) < 1e-12
        layer(batch + 2)  # all five means are off by 2
        assert float(hooks.loss()) == pytest.approx(2 * math.sqrt(5), rel=1e-9)
        layer(2 * (batch - batch.mean()))
        assert float(hooks.loss()) > 1


def test_the_norms_are_not_squared_and_are_summed_over_layers() -> None:
    layers = nn.Sequential(nn.BatchNorm1d(2, affine=False), nn.BatchNorm1d(2, affine=False)).eval()
    x = torch.tensor([[3.0, 4.0], [3.0, 4.0]])  # variance 0, stored 1; means 3 and 4, stored 0
    with Hooks(layers, stored_statistics(layers), first=1.0) as hooks:
        layers(x)
        both = float(hooks.loss())
    with Hooks(layers, stored_statistics(layers), first=3.0) as hooks:
        layers(x)
        first_more = float(hooks.loss())
    assert both == pytest.approx(2 * (math.sqrt(2) + 5), abs=1e-3)
    assert first_more == pytest.approx(4 * (math.sqrt(2) + 5), abs=1e-3)


def test_features_are_the_means_of_the_layers_inputs() -> None:
    layers = nn.Sequential(nn.BatchNorm2d(3)).eval()
    x = torch.randn(4, 3, 5, 6)
    with Hooks(layers, stored_statistics(layers)) as hooks:
        layers(x)
        assert torch.allclose(hooks.features(), x.mean((2, 3)))


def test_a_teacher_without_batch_norm_is_refused_by_name(tmp_path: Path) -> None:
    config = {
        "branches": [{"frontend": {"kind": "log_mel", "n_mels": 16}, "pooling": {"kind": "statistics"}}],
        "outputs": 3,
    }
    built = NetworkConfig.model_validate(config).build()
    save_model(tmp_path / "plain", info(network=config), built.trainable_state())
    with pytest.raises(ModelError, match=r"no batch-norm.*record statistics.*`statistics`"):
        open_teacher(tmp_path / "plain", RangeConfig())


def test_recorded_statistics_take_the_place_of_batch_norm(tmp_path: Path) -> None:
    config = {
        "branches": [{"frontend": {"kind": "log_mel", "n_mels": 16}, "pooling": {"kind": "statistics"}}],
        "outputs": 6,
    }
    tapped = Tapped(NetworkConfig.model_validate(config).build().eval())
    x, _ = sounds(200, 0)
    known = record_statistics_of(tapped, x)
    write_statistics(tmp_path / "known.safetensors", known)
    back = read_statistics(tmp_path / "known.safetensors", tapped.network)
    assert list(back) == ["classifier"]
    found = teacher_of(tapped, info(network=config), RangeConfig(), tmp_path / "known.safetensors")
    with Hooks(found.tapped.network, found.known) as hooks:
        found.tapped(x)
        assert float(hooks.loss()) < 1e-4
        found.tapped(found.space.noise(100, 24))
        assert float(hooks.loss()) > 1
    write_statistics(tmp_path / "other", {"elsewhere": Known(torch.zeros(2), torch.ones(2))})
    with pytest.raises(ModelError, match="no layer 'elsewhere'"):
        read_statistics(tmp_path / "other", tapped.network)


def record_statistics_of(tapped: Tapped, x: Tensor) -> dict[str, Known]:
    found = record_statistics(tapped, x.split(50))
    return {name.removeprefix("network."): known for name, known in found.items()}


# ---- losses


@pytest.mark.shows("frami:6.2")
def test_contrastive_loss_has_its_golden_values() -> None:
    eye = torch.eye(2, dtype=torch.float64)
    assert float(losses.contrastive(eye, eye, 2, tau=0.1)) == pytest.approx(4.5399e-5, rel=1e-4)
    assert float(losses.contrastive(eye, eye, 2, tau=0.1)) == pytest.approx(-math.log(math.e**10 / (math.e**10 + 1)))
    alike = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    assert float(losses.contrastive(alike, alike, 2, tau=0.1)) == pytest.approx(math.log(2))
    both = torch.cat([eye, alike])  # two current rows, two cached ones: each kind is a mean of its own
    rows = -torch.log_softmax(both @ both.T / 0.1, 1).diagonal()
    assert float(losses.contrastive(both, both, 2, tau=0.1)) == pytest.approx(float(rows[:2].mean() + rows[2:].mean()))


@pytest.mark.shows("frami:6.3")
def test_adversarial_loss_is_nothing_without_agreement_and_lowers_it_where_there_is_some() -> None:
    theirs = torch.tensor([[5.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
    assert float(losses.adversarial(theirs, theirs.roll(1, 1))) == 0.0
    ours = (0.5 * theirs).requires_grad_()
    loss = losses.adversarial(theirs, ours)
    assert float(loss.detach()) < 0
    for _ in range(200):
        (gradient,) = torch.autograd.grad(losses.adversarial(theirs, ours, clip=False), ours)
        ours = (ours - gradient).detach().requires_grad_()
    assert not bool((ours.argmax(1) == theirs.argmax(1)).any())  # descent ends in disagreement
    assert float(losses.adversarial(theirs, ours.detach(), clip=False)) == 0.0


def test_the_adversarial_term_of_a_sample_is_held_at_ln_k() -> None:
    theirs = torch.tensor([[40.0, 39.0, 0.0]])
    ours = torch.tensor([[40.0, -40.0, 0.0]])
    assert float(losses.adversarial(theirs, ours, clip=False)) < -math.log(3)
    assert float(losses.adversarial(theirs, ours)) == pytest.approx(-math.log(3))


def test_jensen_shannon_is_one_for_equals_and_least_for_opposites() -> None:
    a = torch.tensor([[9.0, 0.0], [0.0, 9.0]])
    assert float(losses.jensen_shannon(a, a)) == pytest.approx(1)
    p = 0.952574  # softmax(9 / 3)
    entropy = -(p * math.log(p) + (1 - p) * math.log(1 - p))
    assert float(losses.jensen_shannon(a, a.flip(1))) == pytest.approx(1 - (math.log(2) - entropy), abs=1e-4)


def test_distillation_is_the_scaled_divergence() -> None:
    t, s = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    p = 1 / (1 + math.exp(-0.5))
    wanted = 16 * (p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5))
    assert float(losses.distillation(t, s, 4.0)) == pytest.approx(wanted, rel=1e-5)
    assert float(losses.distillation(t, t, 4.0)) == 0


def test_total_variation_counts_both_directions() -> None:
    x = torch.zeros(1, 1, 2, 3)
    x[..., 1, :] = 1
    assert float(losses.total_variation(x)) == pytest.approx(1.0)  # one step in frequency everywhere, none in time


# ---- the bank


@pytest.mark.shows("frami:6.8")
def test_the_bank_is_first_in_first_out_within_its_capacity_and_without_gradient() -> None:
    bank = MemoryBank(capacity=6, batch=2)
    assert bank.draw(3) is None
    for number in range(5):
        x = torch.full((2, 4), float(number), requires_grad=True)
        bank.add(x, x + 100)
    assert len(bank) == 6
    pairs = bank.pairs()
    assert pairs[:, 0, 0].tolist() == [2, 2, 3, 3, 4, 4]
    assert pairs[:, 1, 0].tolist() == [102, 102, 103, 103, 104, 104]
    assert not pairs.requires_grad
    drawn = bank.draw(4)
    assert drawn is not None
    assert len(drawn[0]) == 4
    assert torch.equal(drawn[1], drawn[0] + 100)
    again = MemoryBank(capacity=6, batch=2)
    again.restore(pairs)
    again.add(torch.zeros(2, 4), torch.zeros(2, 4))
    assert again.pairs()[:, 0, 0].tolist() == [3, 3, 4, 4, 0, 0]
    with pytest.raises(RecipeError, match="no multiple"):
        MemoryBank(capacity=7, batch=2)


@pytest.mark.shows("frami:6.8")
def test_cached_features_teach_the_head_and_nothing_else() -> None:
    torch.manual_seed(0)
    bank, head = MemoryBank(8, 4), ContrastiveHead(5, 3)
    cached = torch.randn(4, 5, requires_grad=True)
    bank.add(cached, cached)
    local, whole = (torch.randn(4, 5, requires_grad=True) for _ in range(2))
    config = ContrastConfig(tau=0.1, negatives=4)
    contrast(head, local, whole, bank, config).backward()
    assert cached.grad is None
    assert whole.grad is None  # the global side of a pair is a target
    assert local.grad is not None
    assert all(value.grad is not None for value in head.parameters())
    alone = ContrastiveHead(5, 3)
    alone.load_state_dict(head.state_dict())
    contrast(alone, local.detach(), whole.detach(), MemoryBank(8, 4), config).backward()
    pairs = zip(head.parameters(), alone.parameters(), strict=True)
    assert any(not torch.allclose(a.grad, b.grad) for a, b in pairs)  # the cached rows reach the head


# ---- views, generator, space


def test_a_head_is_as_wide_as_the_features_unless_told_or_refused() -> None:
    assert [tuple(w.shape) for w in ContrastiveHead(5, 3).parameters() if w.ndim == 2] == [(5, 5), (3, 5)]
    wide = ContrastiveHead(41_088, 3, hidden=4)
    assert [tuple(w.shape) for w in wide.parameters() if w.ndim == 2] == [(4, 41_088), (3, 4)]
    with pytest.raises(RecipeError, match="41088 features") as refused:
        ContrastiveHead(41_088, 3)
    assert "contrast.hidden" in str(refused.value)


def test_the_global_view_shifts_and_changes_gain_alone() -> None:
    torch.manual_seed(0)
    x = torch.randn(16, 1, 8, 12)
    space = InputSpace(torch.full((8, 1), -2.5), torch.full((8, 1), 2.5), torch.full((8, 1), 0.2))
    view = global_view(x, space, ViewsConfig(gain_db=3.0))
    assert view.shape == x.shape
    gains = set()
    for before, after in zip(x[:, 0], view[:, 0], strict=True):
        rolls = [after - before.roll(-k, 1) for k in range(12)]
        off = min(rolls, key=lambda rest: float(rest.std()))
        assert float(off.std()) < 1e-6
        assert abs(float(off.mean())) <= 0.6 + 1e-6
        gains.add(round(float(off.mean()), 4))
    assert len(gains) > 10


def test_the_local_view_is_a_crop_that_is_not_stretched() -> None:
    torch.manual_seed(0)
    x = torch.arange(40.0).expand(4, 1, 16, 40)
    lengths = set()
    for _ in range(60):
        view = local_view(x, ViewsConfig(crop=0.25, mask=0.0))
        lengths.add(view.shape[-1])
        steps = view.diff(dim=-1) % 40
        assert bool((steps == 1).all())  # neighbours stay neighbours, forwards in time
    assert min(lengths) >= 10
    assert max(lengths) <= 40
    assert len(lengths) > 15


def test_a_mask_hides_neighbouring_bands_up_to_its_width() -> None:
    torch.manual_seed(1)
    x = torch.randn(300, 1, 16, 5)
    hidden = (masked(x, 2) != x).all(-1)[:, 0]
    counts = hidden.sum(1)
    assert set(counts.tolist()) == {0, 1, 2}
    for row in hidden[counts == 2]:
        first, second = row.nonzero()[:, 0].tolist()
        assert second == first + 1
    assert bool(hidden.any(0).all())


def test_a_roll_is_bounded() -> None:
    torch.manual_seed(0)
    x = torch.arange(32.0).expand(200, 1, 1, 32)
    starts = set(shifted(x, most=4)[:, 0, 0, 0].tolist())
    assert starts == {*range(5), *range(28, 32)}


@pytest.mark.parametrize(("bands", "frames"), [(16, 24), (13, 30), (80, 100)])
def test_the_generator_fills_any_rectangle_within_the_range(bands: int, frames: int) -> None:
    space = InputSpace(torch.full((bands, 1), -4.0), torch.full((bands, 1), 1.0), torch.zeros(bands, 1))
    x = Generator(space, frames, z=8, width=8)(torch.randn(3, 8))
    assert x.shape == (3, 1, bands, frames)
    assert float(x.detach().min()) >= -4
    assert float(x.detach().max()) <= 1


def test_the_generator_is_the_published_one() -> None:
    space = InputSpace(torch.zeros(64, 1), torch.ones(64, 1), torch.zeros(64, 1))
    built = Generator(space, 100)
    linear = 257 * 128 * 16 * 25
    assert (
        sum(value.numel() for value in built.parameters())
        == linear + 256 + 128 * 128 * 9 + 256 + 128 * 64 * 9 + 128 + 64 * 9 + 1
    )
    assert float(built.enter.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert float(built.layers[0].weight.detach().mean()) == pytest.approx(1, abs=0.01)


def test_a_decibel_and_the_range_follow_from_the_front_end() -> None:
    built = NetworkConfig.model_validate(TEACHER).build()
    space = space_of(built, {"input_range": {"low": -2, "high": 3}}, None)
    assert float(space.per_db[0]) == pytest.approx(math.log(10) / 10 / 3)  # natural log of power, deviation 3
    assert (float(space.low[0]), float(space.high[0])) == (-2, 3)
    assert float(space_of(built, {}, RangeConfig(low=-9, high=9)).high[5]) == 9
    with pytest.raises(ModelError, match="input_range"):
        space_of(built, {}, None)
