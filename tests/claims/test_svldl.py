"""SVLDL's claim on drawn features: what its arms are, whose labels become noisy, and what is told of widths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from earwitness.claims import svldl, svldl_likelihood
from earwitness.claims.ages import AgeMaterial
from earwitness.claims.ledger import details, read_result
from earwitness.claims.plan import ArmRun, Plan
from earwitness.claims.running import run_claim
from earwitness.claims.store import Halves
from earwitness.core.config import parse_config
from earwitness.corpora.manifest import Manifest
from earwitness.metrics.regression import mae
from earwitness.nn.losses.label_distribution import GridConfig, ValueLossConfig
from earwitness.training.recipe import assign

SPEAKERS, TAKES, WIDTH, FRAMES = 60, 6, 8, 10
CLAIM = svldl.CLAIM


class Drawn(AgeMaterial):
    """Kept features turn with the age; two channels say who of each two neighbours in age is noisy with seed 1."""

    def features(self) -> Halves:
        rng = np.random.default_rng(5)
        marked = svldl.Labels.drawn(self, 1, GridConfig()).noisy
        columns = [np.cos(self.ages / 15), np.sin(self.ages / 15), marked, ~marked]
        values = np.repeat(np.stack(columns, axis=1)[:, None, None], FRAMES, axis=2) @ rng.normal(size=(4, WIDTH))
        return (values + 0.1 * rng.normal(size=values.shape)).astype(np.float16)


class DrawnLikelihoods(Drawn, svldl_likelihood.LikelihoodMaterial):
    """The same, judged by the likelihood."""


@pytest.fixture(scope="module")
def material() -> AgeMaterial:
    rng = np.random.default_rng(0)
    ages = rng.choice([7.0, 12.0, 21.0, 27.0, 33.0, 41.0], SPEAKERS)
    rows = [
        {"id": f"s{speaker}-{take}", "path": f"s{speaker}-{take}.wav", "speaker": f"s{speaker}", "age": ages[speaker]}
        for speaker in range(SPEAKERS)
        for take in range(TAKES)
    ]
    table = pl.DataFrame(rows).with_columns(licence=pl.lit("CC0-1.0"), corpus=pl.lit("speechocean762"))
    manifest = Manifest.from_table(table, ".")
    return Drawn(manifest, tuple(manifest.table["id"]), "drawn", Path("nowhere"))


def small(plan: Plan = CLAIM.plan, epochs: int = 8) -> svldl.SvldlClaim:
    recipe: dict[str, Any] = CLAIM.recipe
    for change in (
        "network.branches.0.frontend.dim=8",
        "network.branches.0.encoder.widths=[16]",
        "network.embedding.dim=16",
        "draws=256",
        f"loop.epochs={epochs}",
        "optimiser.lr=0.02",
    ):
        recipe = assign(recipe, change)
    return svldl.SvldlClaim(plan, recipe, CLAIM.losses)


def figures(run: ArmRun) -> dict[str, float]:
    return {figure.name: figure.value for figure in run.figures}


def test_arms_are_losses_of_one_recipe_that_end_with_their_last_weights() -> None:
    names = [arm.name for arm in CLAIM.plan.arms]
    assert set(names) == {*CLAIM.losses, "ce-noisy", "svldl-0.02-noisy", "median"}
    assert all({found.better, found.worse} <= set(names) for found in CLAIM.plan.expected)
    assert ("svldl-0.02", "ce") in {(found.better, found.worse) for found in CLAIM.plan.expected}
    losses: dict[str, Any] = {
        name: parse_config(ValueLossConfig, assign({}, f"loss={text}")["loss"]) for name, text in CLAIM.losses.items()
    }
    weights = [losses[f"svldl-{weight}"].variance_weight for weight in svldl.WEIGHTS]
    assert weights == [0, 0.005, 0.02, 0.1]
    assert losses["svldl-no-difference"].difference_weight == 0
    assert {loss.outputs for loss in losses.values()} == {101}  # so the first weights are the same
    assert "select" not in CLAIM.recipe["loop"]


def test_one_of_two_neighbours_in_age_is_noisy_on_the_training_side_alone(material: AgeMaterial) -> None:
    train = material.sides(2).train
    found = svldl.Labels.drawn(material, 2, GridConfig())
    wrong = found.ages - material.ages
    assert not wrong[~found.noisy].any()
    assert set(np.flatnonzero(found.noisy)) < set(train)
    noisy = set(material.speakers[found.noisy])
    assert len(noisy) == len(set(material.speakers[train])) // 2
    assert found.noisy.sum() == TAKES * len(noisy)
    clean = set(material.speakers[train]) - noisy
    means = [np.mean([material.age_of[name] for name in half]) for half in (noisy, clean)]
    assert means[0] == pytest.approx(means[1], abs=1.0)
    assert np.array_equal(found.ages, np.rint(found.ages))
    assert found.ages.min() >= 0
    adults = found.noisy & (material.ages > 20)  # no error is cut off at the grid's end
    assert wrong[adults].std() == pytest.approx(svldl.NOISE_YEARS, rel=0.2)
    assert all(len(set(wrong[material.speakers == name])) > 1 for name in noisy)  # not one error for a speaker
    again, other = (svldl.Labels.drawn(material, seed, GridConfig()) for seed in (2, 3))
    assert np.array_equal(again.ages, found.ages)
    assert not np.array_equal(other.ages, found.ages)


def test_arms_are_judged_by_their_mae_beside_figures_of_their_distributions(
    material: AgeMaterial, tmp_path: Path
) -> None:
    """Here two arms and three seeds; on real speech it is `earwitness claim run svldl`."""
    plan = CLAIM.plan
    tried = ("svldl-0.02", "median")
    arms = tuple(arm for arm in plan.arms if arm.name in tried)
    expected = tuple(one for one in plan.expected if {one.better, one.worse} <= set(tried))
    claim = small(Plan(plan.name, plan.source, plan.statement, arms, expected))
    result = run_claim(claim, (1, 2, 3), material, tmp_path)
    (difference,) = result.judgement.differences
    assert difference.verdict == "seen"
    assert result.judgement.measure == "MAE in years"
    ours, median = result.judgement.arms
    assert ours.error < 0.6 * median.error
    for number, seed in enumerate((1, 2, 3)):
        sides = material.sides(seed)
        constant = np.full(len(sides.test), np.median(material.ages[sides.train]))
        assert median.seeds[number] == pytest.approx(mae(material.ages[sides.test], constant))
    told = {figure.name: figure.value for figure in ours.figures}
    assert not median.figures
    assert 0 < told["NLL"] < np.log(101)
    assert 0 < told["CRPS"] < ours.error
    assert 50 < told["coverage of the 80 % interval, %"] <= 100
    result.write(tmp_path / "svldl.json")
    assert "MAE in years [95 % interval]" in details(read_result(tmp_path / "svldl.json"))


def test_widths_grow_where_labels_are_noisy_and_a_voice_tells_whose(material: AgeMaterial, tmp_path: Path) -> None:
    claim = small()
    noisy, clean, ce = (
        figures(claim.run(arm, 1, material, tmp_path / arm)) for arm in ("svldl-0.02-noisy", "svldl-0.02", "ce-noisy")
    )
    for name in ("SD", "selected width"):  # by the square root of what labels scatter, so not by much
        assert noisy[f"{name}, noisy half"] > 1.15 * noisy[f"{name}, other half"]
        assert ce[f"{name}, noisy half"] > 1.15 * ce[f"{name}, other half"]
        assert clean[f"{name}, noisy half"] == pytest.approx(clean[f"{name}, other half"], rel=0.1)
    assert noisy["noisy is the wider, %"] > 75
    assert 25 < clean["noisy is the wider, %"] < 75


def test_without_the_variance_loss_widths_drift(material: AgeMaterial, tmp_path: Path) -> None:
    claim = small(epochs=16)
    drifted, held = (figures(claim.run(arm, 2, material, tmp_path / arm)) for arm in ("svldl-0", "svldl-0.1"))
    for half in ("noisy", "other"):
        assert drifted[f"selected width, {half} half"] > 1.5 * held[f"selected width, {half} half"]
    assert drifted["temperature"] < 1  # too wide as learnt
    assert drifted["NLL"] < drifted["NLL as learnt"]


def test_a_run_does_the_same_again(material: AgeMaterial, tmp_path: Path) -> None:
    one, two = (small(epochs=3).run("svldl-0.02-noisy", 2, material, tmp_path / name) for name in ("one", "two"))
    assert np.array_equal(one.scores, two.scores)
    assert one.figures == two.figures
    right = small(epochs=3).run("svldl-0.02", 2, material, tmp_path / "right")
    assert not np.array_equal(one.scores, right.scores)


def test_likelihoods_are_judged_by_the_mean_over_recordings(material: AgeMaterial, tmp_path: Path) -> None:
    """The claim `svldl-likelihood`: the same arms, and the figure that `svldl` tells as NLL is the error here."""
    like = svldl_likelihood.LikelihoodClaim(svldl_likelihood.CLAIM.plan, small(epochs=3).recipe, CLAIM.losses)
    drawn = DrawnLikelihoods(material.rows, material.hashes, material.source, material.folder)
    run = like.run("dldl", 1, drawn, tmp_path / "a")
    told = figures(small(epochs=3).run("dldl", 1, material, tmp_path / "b"))
    tested = drawn.tested([1, 2])
    error = tested.error(0, run.scores)
    assert error(np.ones(tested.units.count)) == pytest.approx(told["NLL"], abs=1e-6)
    assert tested.measure == "NLL in nats"
    arms = [arm.name for arm in svldl_likelihood.CLAIM.plan.arms]
    assert arms == [arm.name for arm in CLAIM.plan.arms if arm.name != "median"]
    assert all({found.better, found.worse} <= set(arms) for found in svldl_likelihood.CLAIM.plan.expected)
    assert len(svldl_likelihood.CLAIM.plan.expected) == 6
