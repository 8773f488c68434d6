"""ACCon's claim on drawn features: who is tested and learnt from in which setting, and what its arms tell."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from earwitness.claims import accon
from earwitness.claims.age_learning import AgeBatches, Utterances
from earwitness.claims.ages import SETTINGS, SHARES, TAILED, AgeMaterial
from earwitness.claims.ledger import details, ledger, read_result
from earwitness.claims.material import ROTATIONS
from earwitness.claims.running import run_claim
from earwitness.claims.store import Halves
from earwitness.core.config import parse_config
from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.metrics.bootstrap import Units
from earwitness.paralinguistic.age_recipe import AgeRecipe
from earwitness.training.recipe import assign

SPEAKERS, TAKES, WIDTH, FRAMES = 80, 2, 6, 12
SEEDS = range(1, ROTATIONS + 1)


class Drawn(AgeMaterial):
    """Kept features turn with the age, and are noisy."""

    def features(self) -> Halves:
        rng = np.random.default_rng(5)
        turn = np.stack([np.cos(self.ages / 15), np.sin(self.ages / 15)], axis=1)
        values = np.repeat(turn[:, None, None], FRAMES, axis=2) @ rng.normal(size=(2, WIDTH))
        return (values + 0.3 * rng.normal(size=values.shape)).astype(np.float16)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def material() -> AgeMaterial:
    rng = np.random.default_rng(0)
    ages = rng.choice([7.0, 12.0, 21.0, 27.0, 33.0, 41.0], SPEAKERS, p=[0.2, 0.15, 0.35, 0.15, 0.1, 0.05])
    rows = [
        {"id": f"s{speaker}-{take}", "path": f"s{speaker}-{take}.wav", "speaker": f"s{speaker}", "age": ages[speaker]}
        for speaker in range(SPEAKERS)
        for take in range(TAKES)
    ]
    table = pl.DataFrame(rows).with_columns(licence=pl.lit("CC0-1.0"), corpus=pl.lit("speechocean762"))
    manifest = Manifest.from_table(table, ".")
    return Drawn(manifest, tuple(manifest.table["id"]), "drawn", Path("nowhere"))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe: dict[str, Any] = accon.CLAIM.recipe
    for change in ("network.branches.0.frontend.dim=6", "network.branches.0.encoder.widths=[16]", "draws=64"):
        recipe = assign(recipe, change)
    for change in ("network.embedding.dim=8", "loop.epochs=3", "optimiser.lr=0.02"):
        recipe = assign(recipe, change)
    monkeypatch.setattr(accon, "CLAIM", accon.AcconClaim(accon.CLAIM.plan, recipe, accon.CLAIM.methods))


def test_every_speaker_is_tested_once_and_never_learnt_from_by_the_same_seed(material: AgeMaterial) -> None:
    tested = np.concatenate([material.sides(seed).test for seed in SEEDS])
    assert sorted(tested.tolist()) == list(range(len(material.rows)))
    for seed in SEEDS:
        for setting in SETTINGS:
            sides = material.sides(seed, setting)
            train, dev, test = (set(material.speakers[places]) for places in (sides.train, sides.dev, sides.test))
            assert train
            assert not (train & dev) | (train & test) | (dev & test)
            assert np.array_equal(sides.test, material.sides(seed).test)
            assert np.array_equal(sides.dev, material.sides(seed).dev)


@pytest.mark.shows("accon:7.7")
def test_settings_learn_from_nested_shares_of_the_speakers_and_from_a_long_tail(material: AgeMaterial) -> None:
    names = [set(material.speakers[material.sides(1, setting).train]) for setting in SHARES]
    assert list(SHARES.values()) == [1, 3 / 4, 1 / 2, 1 / 4, 1 / 8]
    assert [len(found) / len(names[0]) for found in names] == pytest.approx(list(SHARES.values()), abs=0.02)
    assert all(smaller < larger for larger, smaller in pairwise(names))
    whole, tail = (
        np.unique([material.age_of[name] // 5 for name in found], return_counts=True)
        for found in (names[0], set(material.speakers[material.sides(1, TAILED).train]))
    )
    assert whole[0].tolist() == tail[0].tolist()  # no age is lost
    by_size = sorted(range(len(whole[0])), key=lambda band: (-whole[1][band], whole[0][band]))
    assert [int(tail[1][band]) for band in by_size] == [
        max(1, int(whole[1][band]) >> rank) for rank, band in enumerate(by_size)
    ]
    with pytest.raises(DataError, match="no setting"):
        material.sides(1, "2of3")


@pytest.mark.shows("accon:7.7")
def test_all_methods_are_tried_in_all_settings_and_compared_by_paired_intervals_over_speakers(
    material: AgeMaterial, tmp_path: Path
) -> None:
    """Here with three seeds, two methods and two settings; on real speech it is `earwitness claim run accon`."""
    plan = accon.CLAIM.plan
    names = [arm.name for arm in plan.arms]
    assert {tuple(name.split("-")) for name in names} == {
        (method, setting) for method in ("l1", "supcon", "accon", "lds", "ranksim") for setting in SETTINGS
    }
    assert {(expected.better, expected.worse) for expected in plan.expected} >= {
        (f"accon-{setting}", f"{other}-{setting}") for setting in SETTINGS for other in ("l1", "supcon")
    }
    tried = ("l1-all", "accon-all", "l1-1of8", "accon-1of8")
    small = accon.Plan(
        plan.name,
        plan.source,
        plan.statement,
        tuple(arm for arm in plan.arms if arm.name in tried),
        tuple(one for one in plan.expected if one.better in tried and one.worse in tried),
    )
    claim = accon.AcconClaim(small, accon.CLAIM.recipe, accon.CLAIM.methods)
    result = run_claim(claim, (1, 2, 3), material, tmp_path)
    assert len(result.judgement.differences) == 2
    assert result.judgement.measure == "MAE in years"
    errors = {arm.name: arm for arm in result.judgement.arms}
    figures = {name: {one.name: one.value for one in arm.figures} for name, arm in errors.items()}
    assert errors["l1-all"].error < 0.6 * figures["l1-all"]["MAE of the median"]
    assert errors["l1-all"].error < errors["l1-1of8"].error
    assert errors["l1-all"].low < errors["l1-all"].error < errors["l1-all"].high
    assert figures["accon-all"]["angle with age distance, r"] > figures["l1-all"]["angle with age distance, r"]
    assert {"MAE, many", "MAE, medium", "balanced MAE"} <= set(figures["l1-all"])
    assert "MAE, many" not in figures["l1-1of8"]  # nobody has ten speakers of eight
    result.write(tmp_path / "accon.json")
    told = read_result(tmp_path / "accon.json")
    assert "MAE in years [95 % interval]" in details(told)
    assert " years |" in ledger([told])


@pytest.mark.parametrize("method", ["supcon", "lds", "ranksim"])
def test_other_methods_learn_and_do_the_same_again(method: str, material: AgeMaterial, tmp_path: Path) -> None:
    run, again = (accon.CLAIM.run(f"{method}-tailed", 2, material, tmp_path / name) for name in ("one", "two"))
    assert np.array_equal(run.scores, again.scores)
    truth = material.ages[material.sides(2).test]
    figures = {figure.name: figure.value for figure in run.figures}
    assert np.abs(run.scores - truth).mean() < figures["MAE of the median"]
    plain = accon.CLAIM.run("l1-tailed", 2, material, tmp_path / "plain")
    assert not np.array_equal(run.scores, plain.scores)


def test_views_are_other_crops_of_the_same_utterances(material: AgeMaterial) -> None:
    recipe: AgeRecipe = parse_config(AgeRecipe, accon.CLAIM.recipe)
    train = material.sides(1).train
    heard = Utterances.of(material.features(), train)
    assert heard.whole(train).mean(0).abs().max() < 1e-4
    batches = AgeBatches.of(recipe, heard, material, train)
    (batch,) = batches.load(0, [0])
    first, second = batch.waveforms.chunk(2)
    assert batch.ids[:32] == batch.ids[32:]
    assert batch.targets.age is not None
    assert batch.targets.age[:32].equal(batch.targets.age[32:])
    assert 0 < (first - second).abs().mean() < first.std()
    (same,) = batches.load(0, [0])
    assert same.waveforms.equal(batch.waveforms)


def test_the_error_is_a_weighted_mean_over_drawn_speakers(material: AgeMaterial) -> None:
    tested = material.tested((1, 2))
    error = tested.error(1, tested.ages[1] + np.where(np.arange(tested.count(1)) < 4, 6.0, 2.0))
    everybody = np.ones(tested.units.count)
    assert error(everybody) == pytest.approx(2 + 4 * 4 / tested.count(1))
    one = np.zeros(tested.units.count)
    start = tested.count(0)
    one[tested.units.codes[start]] = 3
    assert error(one) == pytest.approx(6)
    assert isinstance(tested.units, Units)


def test_speakers_without_ages_are_refused(tmp_path: Path) -> None:
    table = pl.DataFrame({"path": ["a.wav"], "speaker": ["a"], "corpus": ["speechocean762"], "label": ["bonafide"]})
    Manifest.from_table(table, tmp_path).write(tmp_path / "rows.csv")
    with pytest.raises(DataError, match="speakers of known age"):
        AgeMaterial.read(tmp_path / "rows.csv", tmp_path)
