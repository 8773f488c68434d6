"""The benchmark of few women and many, on drawn spectra: who is in a set, what is drawn, and what is said of errors."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest

from earwitness.claims.invented import Invented
from earwitness.claims.speakers import SpeakerMaterial
from earwitness.claims.store import Halves
from earwitness.claims.views import View
from earwitness.core.errors import DataError, LeakError
from earwitness.corpora.manifest import Manifest
from earwitness.speaker.identity_expansion.pairs import Pair

ROOT = Path(__file__).resolve().parents[3]
SPEAKERS, TAKES = 40, 3


def energies(sex: str, name: str, rng: np.random.Generator) -> Any:
    """Frames [T, F] that tell the sex and the voice."""
    own = np.random.default_rng(sum(map(ord, name))).normal(size=80)
    own[:20] += 3.0 if sex == "m" else -3.0
    return rng.normal(size=(240, 80)) + own * rng.uniform(0, 2, size=(240, 1))


KEPT: dict[Any, Halves] = {}


def drawn_spectra(rows: Manifest, hashes: Any, view: View, folder: Path) -> Halves:
    """Of the rows in a view; drawn once. New voices are women's."""
    key = tuple(rows.table["id"]), view
    if key not in KEPT:
        rng = np.random.default_rng([0 if view == "clean" else int(view)])
        sexes = rows.table["sex"].fill_null("f")
        frames = [energies(*both, rng) for both in zip(sexes, rows.table["speaker"], strict=True)]
        KEPT[key] = np.stack(frames).astype(np.float16)
    return KEPT[key]


@pytest.fixture(scope="module")
def benchmark() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("sex_balance_benchmark", ROOT / "benchmarks" / "sex_balance.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def sizes(benchmark: ModuleType) -> Any:
    return benchmark.Sizes(
        speakers=16, few=4, identities=6, utterances=12, steps=4, batch=16, channels=16, resamples=20
    )


@pytest.fixture
def material(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Forty speakers of a corpus with both sexes, and one more of a corpus of women."""
    rows = [
        {"id": f"s{speaker}-{take}", "speaker": f"s{speaker}", "sex": "fm"[speaker % 2], "corpus": "speechocean762"}
        for speaker in range(SPEAKERS)
        for take in range(TAKES)
    ]
    rows.append({"id": "t-0", "speaker": "t", "sex": "f", "corpus": "telephone_prompts"})
    table = pl.DataFrame(rows).with_columns(path=pl.col("id"), label=pl.lit("bonafide"), stratum=pl.col("corpus"))
    manifest = Manifest.from_table(table, ".")
    monkeypatch.setattr("earwitness.claims.speakers.spectra", lambda *given: drawn_spectra(*given[:4]))
    monkeypatch.setattr(benchmark, "spectra", drawn_spectra)
    return benchmark.SexMaterial.of(SpeakerMaterial(manifest, tuple(table["id"]), "drawn", Path("nowhere")))


def drawn_voices(material: Any, seed: int, control: str, config: Any) -> Invented:
    women = sorted(material.learnt)
    parents = [(women[k % len(women)], women[(k + (control == "none")) % len(women)]) for k in range(config.identities)]
    pairs = tuple(Pair(f"{control}{k}", a, b, "f", 0.8, 0.5, 37.0) for k, (a, b) in enumerate(parents))
    ids = [f"{pair.new_id}/{take}" for pair in pairs for take in range(config.utterances)]
    table = pl.DataFrame({"id": ids, "path": ids, "speaker": [name.split("/")[0] for name in ids]})
    rows = Manifest.from_table(table.with_columns(label=pl.lit("spoof"), system=pl.lit("drawn")), ".")
    return Invented(rows, tuple(ids), pairs, 0, Path("nowhere"))


def test_sets_have_as_many_speakers_and_nobody_who_is_tested(benchmark: ModuleType, material: Any, sizes: Any) -> None:
    assert len(material.rows) == SPEAKERS * TAKES
    for seed in (1, 2):
        women, men = {}, {}
        for which in benchmark.SETS:
            chosen = material.set_of(which, sizes, seed)
            women[which], men[which] = (set(chosen.learnt_of(sex, seed)) for sex in (benchmark.F, benchmark.M))
            sides = chosen.sides(seed)
            assert not set(material.speakers[sides.test]) & chosen.learnt
            assert sorted(np.concatenate([sides.train, sides.dev, sides.test])) == list(range(len(material.rows)))
            assert np.array_equal(sides.test, material.sides(seed).test)
        assert (len(women["balanced"]), len(men["balanced"])) == (8, 8)
        assert (len(women["few women"]), len(men["few women"])) == (4, 12)
        assert women["few women"] < women["balanced"]
        assert men["balanced"] < men["few women"]
    with pytest.raises(DataError, match="are needed"):
        material.set_of("balanced", benchmark.Sizes(), 1)
    with pytest.raises(LeakError):
        material.only([str(material.speakers[material.sides(1).test[0]])]).sides(1)


@pytest.mark.parametrize("task", ["classify", "verify"])
def test_arms_draw_as_much_and_synthetic_speech_is_women(
    benchmark: ModuleType, material: Any, sizes: Any, task: Any
) -> None:
    chosen = material.set_of("few women", sizes, 1)
    made = {}
    for arm, control in benchmark.ARMS.items():
        new = None if control is None else benchmark.new_voices(chosen, 1, control, sizes, drawn_voices)
        train = benchmark.batches_of(task, chosen, 1, new, sizes)
        batches = list(train.load(0, range(train.count(0))))
        drawn = [(i, int(t)) for b in batches for i, t in zip(b.ids, b.targets.speaker.tolist(), strict=True)]
        assert len(drawn) == sizes.draws(task)
        synthetic = [target for name, target in drawn if "/" in name]
        made[arm] = len(synthetic)
        if task == "classify":
            assert Counter(target for _, target in drawn) == {0: len(drawn) // 2, 1: len(drawn) // 2}
            assert set(synthetic) <= {benchmark.F}
        else:
            fresh = 6 if control == "none" else 0
            assert len(train.classes) == sizes.speakers + fresh
            women = {train.classes.index(name) for name in chosen.learnt_of(benchmark.F, 1)}
            known = set(range(sizes.speakers, sizes.speakers + fresh)) if fresh else women
            assert set(synthetic) <= known
            for name, target in drawn:
                assert "/" in name or train.classes.index(name.split("-")[0]) == target
    assert made["as it is"] == 0
    assert made["invented women"] == made["women made anew"] == sizes.synthetic(task) > 0
    assert len(benchmark.new_voices(chosen, 1, "resynthesis", sizes, drawn_voices).rows) == sizes.utterances


def test_a_run_learns_is_kept_and_judged(benchmark: ModuleType, material: Any, sizes: Any, tmp_path: Path) -> None:
    lines: list[str] = []
    found = benchmark.run(material, (1,), sizes, tmp_path, lines.append, drawn_voices)
    assert len(lines) == len(benchmark.TASKS) * len(benchmark.CELLS)
    again = benchmark.run(material, (1,), sizes, tmp_path, lines.append, drawn_voices)
    assert len(lines) == 12  # nothing was done again
    for place, said in found.items():
        assert all(np.array_equal(a.scores, b.scores) for a, b in zip(said, again[place], strict=True))
    for task in benchmark.TASKS:
        of_task = {cell: found[task, cell] for cell in benchmark.CELLS}
        told = benchmark.judge(benchmark.Tested.of(task, material, (1,)), of_task, sizes.resamples)
        assert [row["arm"] for row in told["arms"]] == list(benchmark.ARMS) * 2
        assert len(told["differences"]) == 7
        assert len(told["gains"]) == 4
        assert told["arms"][1]["identities"] == [6]
        for row in told["arms"]:
            assert row["gap"][0] == pytest.approx(row["women"][0] - row["men"][0], abs=0.002)
            assert row["women"][1] <= row["women"][0] <= row["women"][2]
    assert told["arms"][0]["mean"][0] < 50


def test_errors_are_of_each_sex_and_differences_are_paired(benchmark: ModuleType, material: Any) -> None:
    tested = benchmark.Tested.of("classify", material, (1,))
    women = tested.sex == benchmark.F
    assert tested.units.blocks == (len(set(material.speakers[material.sides(1).test][women])),) * 2
    right = np.where(women, -1.0, 1.0)
    wrong = right.copy()
    wrong[np.flatnonzero(women)[:TAKES]] *= -1  # one woman in four is taken for a man
    ones = np.ones(tested.units.count)
    assert tested.errors(right)(ones).tolist() == [0, 0, 0, 0, 0]
    assert tested.errors(wrong)(ones).tolist()[:4] == [25, 0, 12.5, 25]
    leaning = tested.errors(right + 2)(ones)  # everybody is called a man, and both are still told apart
    assert leaning.tolist() == [100, 0, 50, 100, 0]
    assert benchmark.relative_gain(np.array([0, 0, 20.0, 0]), np.array([0, 0, 15.0, 0])) == pytest.approx(25)
    assert benchmark.relative_gain(np.zeros(4), np.ones(4)) == 0
    trials = benchmark.Tested.of("verify", material, (1,))
    scores = np.where(trials.same, 1.0, 0.0)
    assert trials.errors(scores)(np.ones(trials.units.count)).tolist() == [0, 0, 0, 0]
    men = trials.sex == benchmark.M
    guessed = np.where(men, np.random.default_rng(0).normal(size=len(scores)), scores)
    of_women, of_men = trials.errors(guessed)(np.ones(trials.units.count))[:2]
    assert of_women == 0
    assert of_men > 20
