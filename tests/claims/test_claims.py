"""Claims: sides that share nothing, arms that are recipes, verdicts that follow from intervals, runs that go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from earwitness.claims.catalogue import CLAIMS, find_claim
from earwitness.claims.judging import judge
from earwitness.claims.kept import HeardFrames
from earwitness.claims.learning import CROP, FrameBatches, Heard, recipe_of
from earwitness.claims.ledger import details, ledger, read_result
from earwitness.claims.material import PER_SPEAKER, ROTATIONS, DetectionMaterial
from earwitness.claims.plan import Arm, ArmRun, Expected, Figure, Plan
from earwitness.claims.recipes import RecipeClaim, base
from earwitness.claims.running import run_claim
from earwitness.claims.views import SECONDS
from earwitness.core.errors import DataError, UsageError

PLAN = Plan(
    name="tried",
    source="arXiv 0000.00000",
    statement="One | beats another.",
    arms=(Arm("good", "knows"), Arm("bad", "guesses")),
    expected=(Expected("good", "bad", "knowing beats guessing"), Expected("bad", "good", "guessing beats knowing")),
    notes=("a note",),
)
SEEDS = range(1, ROTATIONS + 1)


class Knowing:
    """The arm `good` scores by the label, blurred; `bad` by chance."""

    plan = PLAN

    def __init__(self) -> None:
        self.runs: list[tuple[str, int]] = []

    def read(self, manifest: str | Path, folder: str | Path) -> DetectionMaterial:
        return DetectionMaterial.read(manifest, folder)

    def run(self, arm: str, seed: int, material: DetectionMaterial, folder: Path) -> ArmRun:
        self.runs.append((arm, seed))
        rng = np.random.default_rng(seed)
        labels = material.labels[material.sides(seed).test]
        return ArmRun((3 * labels if arm == "good" else 0) + rng.normal(size=len(labels)), (Figure("seed", seed),))


def test_every_row_is_tested_once_and_never_learnt_from_by_the_same_seed(material: DetectionMaterial) -> None:
    table = material.rows.table
    tested = np.concatenate([material.sides(seed).test for seed in SEEDS])
    assert sorted(tested.tolist()) == list(range(len(table)))
    for seed in SEEDS:
        sides = material.sides(seed)
        for column in ("id", "family", "speaker"):
            train, dev, test = (
                set(table[places][column].drop_nulls()) for places in (sides.train, sides.dev, sides.test)
            )
            assert not train & dev, column
            assert not train & test, column
            assert not dev & test, column
    assert np.array_equal(material.sides(1).test, material.sides(1 + ROTATIONS).test)


def test_the_real_rows_keep_few_recordings_of_a_speaker(shared_data: Path, tmp_path: Path) -> None:
    from earwitness.corpora.readers import read_corpus
    from earwitness.corpora.splits import exclude_licences

    corpus = read_corpus("earwitness-data", shared_data).manifest
    corpus.write(tmp_path / "all.csv")
    material = DetectionMaterial.read(tmp_path / "all.csv", tmp_path)
    human = material.rows.table.filter(pl.col("label") == "bonafide")
    assert human.group_by(pl.coalesce("speaker", "id")).len()["len"].max() == PER_SPEAKER
    allowed = exclude_licences(corpus)
    assert (material.labels == 0).sum() == (allowed.table["label"] == "spoof").sum()
    for seed in SEEDS:
        for places in (material.sides(seed).train, material.sides(seed).dev, material.sides(seed).test):
            assert 0 < material.labels[places].mean() < 1


def test_what_is_better_is_seen_and_its_opposite_is_not(material: DetectionMaterial, tmp_path: Path) -> None:
    result = run_claim(Knowing(), SEEDS, material, tmp_path)
    for_it, against = result.judgement.differences
    assert (for_it.verdict, against.verdict) == ("seen", "not seen")
    assert for_it.difference == pytest.approx(-against.difference)
    assert 0 < for_it.smallest < for_it.difference
    assert result.judgement.arms[1].error == pytest.approx(50, abs=12)
    assert result.judgement.arms[0].figures == (Figure("seed", 3.0),)


def test_a_difference_that_noise_could_make_is_undecided(material: DetectionMaterial) -> None:
    rng = np.random.default_rng(0)
    chance = [ArmRun(rng.normal(size=len(material.sides(seed).test))) for seed in SEEDS]
    other = [ArmRun(rng.normal(size=len(run.scores))) for run in chance]
    found = judge(PLAN, {"good": chance, "bad": other}, material.tested(SEEDS), resamples=200)
    assert [difference.verdict for difference in found.differences] == ["undecided", "undecided"]


def test_runs_that_were_done_are_not_done_again(material: DetectionMaterial, tmp_path: Path) -> None:
    first, second = Knowing(), Knowing()
    before = run_claim(first, SEEDS, material, tmp_path)
    after = run_claim(second, SEEDS, material, tmp_path)
    assert len(first.runs) == 2 * ROTATIONS
    assert second.runs == []
    assert after.judgement == before.judgement
    other = Knowing()
    other.plan = replace(PLAN, notes=("another plan",))
    run_claim(other, SEEDS, material, tmp_path)
    assert len(other.runs) == 2 * ROTATIONS


def test_arms_with_a_dot_in_their_name_are_kept_apart(material: DetectionMaterial, tmp_path: Path) -> None:
    class Dotted(Knowing):
        plan = replace(
            PLAN,
            arms=(Arm("lambda-0.3", "knows"), Arm("lambda-0.5", "guesses")),
            expected=(Expected("lambda-0.3", "lambda-0.5", "knowing beats guessing"),),
        )

        def run(self, arm: str, seed: int, material: DetectionMaterial, folder: Path) -> ArmRun:
            return super().run("good" if arm == "lambda-0.3" else "bad", seed, material, folder)

    claim = Dotted()
    result = run_claim(claim, SEEDS, material, tmp_path)
    assert len(claim.runs) == 2 * ROTATIONS
    assert result.judgement.differences[0].verdict == "seen"


def test_scores_that_are_missing_or_no_numbers_are_refused(material: DetectionMaterial, tmp_path: Path) -> None:
    class Broken(Knowing):
        def run(self, arm: str, seed: int, material: DetectionMaterial, folder: Path) -> ArmRun:
            return ArmRun(np.full(len(material.sides(seed).test), np.nan))

    class Short(Knowing):
        def run(self, arm: str, seed: int, material: DetectionMaterial, folder: Path) -> ArmRun:
            return ArmRun(np.zeros(3))

    with pytest.raises(DataError, match="did not score all"):
        run_claim(Broken(), SEEDS, material, tmp_path / "broken")
    with pytest.raises(DataError, match="did not score all"):
        run_claim(Short(), SEEDS, material, tmp_path / "short")
    with pytest.raises(UsageError, match="show nothing"):
        run_claim(Knowing(), (1, 1, 2), material, tmp_path)


def test_the_ledger_tells_every_difference_and_escapes_what_it_is_given(
    material: DetectionMaterial, tmp_path: Path
) -> None:
    run_claim(Knowing(), SEEDS, material, tmp_path / "work").write(tmp_path / "tried.json")
    result = read_result(tmp_path / "tried.json")
    text = ledger([result])
    assert text.count("**seen**") == 1
    assert text.count("**not seen**") == 1
    assert "One \\| beats another." in details(result)
    assert "- a note" in details(result)
    (tmp_path / "tried.json").write_text("{}")
    with pytest.raises(DataError, match="is no result of a claim"):
        read_result(tmp_path / "tried.json")


def test_an_arm_that_is_a_recipe_learns_what_frames_tell(material: DetectionMaterial, tmp_path: Path) -> None:
    recipe = base(
        {"pooling": {"kind": "statistics"}},
        draws=640,
        loop={"epochs": 2, "batch_size": 16, "accelerator": "cpu", "select": {"metric": "eer"}},
        optimiser={"kind": "adamw", "lr": 0.02},
    )
    changes = ("network.branches.0.frontend.dim=16",)
    claim = RecipeClaim(PLAN, recipe, {"good": changes, "bad": (*changes, "optimiser.lr=1e-9")})
    good, bad = (claim.run(arm, 1, material, tmp_path / arm) for arm in ("good", "bad"))
    labels = material.labels[material.sides(1).test]
    assert _auc(good.scores, labels) > 0.95
    assert _auc(bad.scores, labels) < _auc(good.scores, labels)
    again = claim.run("good", 1, material, tmp_path / "again")
    assert np.array_equal(good.scores, again.scores)


def test_two_paths_hold_the_same_crops_clean_first(material: DetectionMaterial) -> None:
    recipe = recipe_of(base({"pooling": {"kind": "mean"}}, draws=32), (), 1)
    heard = Heard.of(material, 2, ("clean", 1, 2), paths=2)
    assert heard.drawn == (1, 2)
    batches = FrameBatches.of(recipe, heard, material, material.sides(1).train)
    (batch,) = batches.load(0, [0])
    frames = batch.waveforms.unflatten(1, (CROP, -1))
    clean, perturbed = frames.chunk(2)
    assert batch.paths == 2
    assert (clean - perturbed).std() == pytest.approx(0.3, abs=0.02)  # the same crops, and noise of 0.3
    assert batch.targets.label is not None
    assert batch.targets.label[:32].equal(batch.targets.label[32:])
    assert batch.ids[:32] == batch.ids[32:]
    (again,) = batches.load(0, [0])
    assert again.waveforms.equal(batch.waveforms)


def test_quality_levels_are_lower_where_a_perturbed_view_was_drawn(material: DetectionMaterial) -> None:
    from earwitness.corpora.quality import AugmentationLevels

    recipe = recipe_of(base({"pooling": {"kind": "mean"}}, draws=64), (), 1)
    levels = AugmentationLevels().levels(material.rows, {})
    heard = Heard.of(material, 2, ("clean", 1))
    (batch, *_) = FrameBatches.of(recipe, heard, material, material.sides(1).train, levels).load(0, [0])
    assert batch.targets.quality is not None
    assert set(batch.targets.quality.tolist()) == {0, 1}
    clean = Heard.of(material, 2, ("clean",))
    (batch, *_) = FrameBatches.of(recipe, clean, material, material.sides(1).train, levels).load(0, [0])
    assert batch.targets.quality is not None
    assert set(batch.targets.quality.tolist()) == {1}


def test_kept_frames_go_on_where_they_stopped(samples_folder: Path, tmp_path: Path) -> None:
    from earwitness.claims import kept
    from earwitness.corpora.manifest import Manifest

    paths = sorted(samples_folder.glob("*.flac"))[:3]
    rows = Manifest.from_table(pl.DataFrame({"path": [path.name for path in paths]}), samples_folder)
    hashes = [path.name for path in paths]
    whole = HeardFrames.of(rows, hashes, "clean", tmp_path / "a")
    assert whole.state(2).shape[:2] == (3, round(50 * SECONDS))
    (folder,) = (tmp_path / "a").iterdir()
    done = np.load(folder / "done.npy")
    assert done.all()
    done[1] = False
    np.save(folder / "done.npy", done)
    before = np.array(whole.short)
    np.lib.format.open_memmap(folder / "short.npy", "r+")[:2] = 0  # row 0 counts as done: it must not be heard again
    again = HeardFrames.of(rows, hashes, "clean", tmp_path / "a")
    assert not again.short[0].any()
    assert np.array_equal(again.short[1:], before[1:])
    assert kept.FRONTEND.frozen
    perturbed = HeardFrames.of(rows, hashes, 1, tmp_path / "a")
    assert not np.array_equal(perturbed.short, before)


def test_a_result_runs_again_and_tells_what_differs(
    material: DetectionMaterial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from earwitness.claims import reproducing

    class Read(Knowing):
        def read(self, manifest: str | Path, folder: str | Path) -> DetectionMaterial:
            return material

    monkeypatch.setattr(reproducing, "find_claim", lambda name: Read())
    path = tmp_path / "tried.json"
    run_claim(Knowing(), SEEDS, material, tmp_path / "work").write(path)
    assert reproducing.is_claim(path)
    assert reproducing.reproduce_claim(path).same
    text = path.read_text().replace('"verdict": "not seen"', '"verdict": "seen"')
    path.write_text(text)
    found = reproducing.reproduce_claim(path)
    assert [(d.place, d.before, d.after) for d in found.differences] == [
        ("judgement.differences.1.verdict", "seen", "not seen")
    ]
    path.write_text('{"a": 1}')
    assert not reproducing.is_claim(path)


def test_every_claim_has_arms_that_its_directions_name() -> None:
    for name in CLAIMS:
        plan = find_claim(name).plan
        assert plan.name == name
        names = [arm.name for arm in plan.arms]
        assert len(set(names)) == len(names) >= 2
        assert {part for e in plan.expected for part in (e.better, e.worse)} <= set(names)
    with pytest.raises(UsageError, match="Did you mean"):
        find_claim("nes2nets")


def _auc(scores: np.ndarray, labels: np.ndarray) -> float:  # type: ignore[type-arg]
    return float(np.mean(scores[labels == 1][:, None] > scores[labels == 0]))
