"""Claims about voices: nobody is tested who was learnt from, trials are fair, and an arm learns who speaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile

from earwitness.claims import acorl, spectra
from earwitness.claims.judging import judge
from earwitness.claims.material import ROTATIONS
from earwitness.claims.plan import Arm, ArmRun, Expected, Plan
from earwitness.claims.speaker_learning import SpeakerClaim, speaker_base
from earwitness.claims.speakers import MOST_DIFFERENT, PER_SPEAKER, SpeakerMaterial, _drawn
from earwitness.claims.store import Halves
from earwitness.claims.views import View
from earwitness.claims.xi_plus import CLAIM
from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest

SEEDS = (1, 2, 3)
SPEAKERS, TAKES = 36, 3


class Spoken(SpeakerMaterial):
    """Spectra are drawn: every speaker has a spectrum of its own that comes and goes."""

    def spectra(self, view: View = "clean", speed: float = 1.0) -> Halves:
        rng = np.random.default_rng([0 if view == "clean" else int(view)])
        frames = rng.normal(size=(len(self.rows), 240, 80))
        for row, name in enumerate(self.speakers):
            own = np.random.default_rng(int(name[1:])).normal(size=80)
            frames[row] += 3 * own * rng.uniform(0, 1, size=(240, 1))
        return frames.astype(np.float16)


def manifest() -> Manifest:
    rows = [
        {
            "id": f"s{speaker}-{take}",
            "path": f"s{speaker}-{take}.wav",
            "label": "bonafide",
            "speaker": f"s{speaker}",
            "corpus": ("speechocean762", "speechocean762_more", "emodb")[speaker % 3],
            "sex": "mf"[speaker // 3 % 2],
            "licence": "CC0-1.0",
        }
        for speaker in range(SPEAKERS)
        for take in range(TAKES)
    ]
    stratum = pl.col("corpus").replace("speechocean762_more", "speechocean762").alias("stratum")
    return Manifest.from_table(pl.DataFrame(rows).with_columns(stratum), ".")


@pytest.fixture(scope="module")
def spoken() -> SpeakerMaterial:
    rows = manifest()
    return Spoken(rows, tuple(rows.table["id"]), "drawn", Path("nowhere"))


def small(recipe: dict[str, Any]) -> dict[str, Any]:
    """Two epochs of a few steps, of a tiny network."""
    recipe["loop"] = {**recipe["loop"], "epochs": 2, "batch_size": 16}
    recipe["network"]["branches"][0]["encoder"] |= {"channels": 16, "outputs": 24, "se_hidden": 8}
    recipe["network"]["embedding"] = {"dim": 12}
    return recipe


def test_speakers_are_tested_once_and_never_learnt_from_by_the_same_seed(spoken: SpeakerMaterial) -> None:
    tested = np.concatenate([spoken.sides(seed).test for seed in range(1, ROTATIONS + 1)])
    assert sorted(tested.tolist()) == list(range(len(spoken.rows)))
    for seed in range(1, ROTATIONS + 1):
        sides = spoken.sides(seed)
        train, dev, test = (set(spoken.speakers[places]) for places in (sides.train, sides.dev, sides.test))
        assert train
        assert not train & (dev | test)
        assert not dev & test


def test_trials_stay_within_a_corpus_and_a_sex(spoken: SpeakerMaterial) -> None:
    table = spoken.rows.table
    for seed in SEEDS:
        pairs = spoken.trials(seed)
        same = spoken.same(pairs)
        assert same[: same.sum()].all()
        assert 0 < (~same).sum() <= MOST_DIFFERENT
        for column in ("stratum", "sex"):
            values = table[column].to_numpy()[pairs]
            assert (values[:, 0] == values[:, 1]).all()
        assert set(np.unique(pairs)) <= set(spoken.sides(seed).test.tolist())
    assert np.array_equal(spoken.trials(1), spoken.trials(1))


def test_what_tells_speakers_apart_has_the_lower_error(spoken: SpeakerMaterial) -> None:
    rng = np.random.default_rng(0)
    knows = [
        ArmRun(3.0 * spoken.same(spoken.trials(seed)) + rng.normal(size=len(spoken.trials(seed)))) for seed in SEEDS
    ]
    guesses = [ArmRun(rng.normal(size=len(run.scores))) for run in knows]
    plan = Plan("p", "s", "w", (Arm("a", ""), Arm("b", "")), (Expected("a", "b", "a is better"),))
    found = judge(plan, {"a": knows, "b": guesses}, spoken.tested(SEEDS), resamples=100)
    assert found.measure == "EER"
    assert "speakers" in found.tested
    assert found.arms[0].error < 20 < found.arms[1].error
    assert found.differences[0].verdict == "seen"


def test_an_arm_learns_who_speaks_and_tells_of_its_variance(spoken: SpeakerMaterial, tmp_path: Path) -> None:
    recipe = small(speaker_base({"kind": "statistics"}, draws=32))
    assert all(len(CLAIM.arms[arm.name]) < 4 for arm in CLAIM.plan.arms)
    claim = replace(CLAIM, recipe=recipe)
    runs = {arm: claim.run(arm, 1, spoken, tmp_path / arm) for arm in ("statistics", "xi-plus", "xi-plus-conservative")}
    trials = spoken.trials(1)
    for run in runs.values():
        assert run.scores.shape == (len(trials),)
        assert np.isfinite(run.scores).all()
    same = spoken.same(trials)
    plain = runs["statistics"].scores
    assert plain[same].mean() > plain[~same].mean()
    assert runs["statistics"].figures == ()
    told = {figure.name: figure.value for figure in runs["xi-plus"].figures}
    assert told["variance of 1 s over that of 4 s"] > 1
    assert all(np.isfinite(value) for value in told.values())
    both = runs["xi-plus"].scores, runs["xi-plus-conservative"].scores
    assert (np.abs(both[1]) <= np.abs(both[0]) + 1e-9).all()
    assert isinstance(claim, SpeakerClaim)


def test_rows_are_drawn_from_corpora_whose_speakers_are_known(tmp_path: Path) -> None:
    rows = [
        {
            "id": f"{corpus}-{take}",
            "path": f"{corpus}-{take}.wav",
            "label": "bonafide",
            "speaker": corpus,
            "corpus": corpus,
        }
        for corpus in ("speechocean762", "klettres_letters")
        for take in range(PER_SPEAKER + 3)
    ]
    found = _drawn(Manifest.from_table(pl.DataFrame(rows), tmp_path))
    assert found.table["speaker"].to_list() == ["speechocean762"] * PER_SPEAKER
    with pytest.raises(DataError, match="no corpus whose speakers are known"):
        _drawn(Manifest.from_table(pl.DataFrame(rows[-2:]), tmp_path))


def test_spectra_are_kept_and_not_computed_again(tmp_path: Path, speechlike: object) -> None:
    for take in range(2):
        soundfile.write(tmp_path / f"{take}.wav", speechlike(1.5, 16_000, take), 16_000)  # type: ignore[operator]
    rows = Manifest.from_table(pl.DataFrame({"id": ["a", "b"], "path": ["0.wav", "1.wav"]}), tmp_path)
    first = spectra.spectra(rows, ("1", "2"), "clean", tmp_path / "kept")
    assert first.shape == (2, 398, 80)
    assert np.isfinite(np.asarray(first, np.float32)).all()
    (tmp_path / "0.wav").unlink()  # what is kept needs no recording any more
    assert np.array_equal(first, spectra.spectra(rows, ("1", "2"), "clean", tmp_path / "kept"))
    soundfile.write(tmp_path / "0.wav", speechlike(1.5, 16_000, 0), 16_000)  # type: ignore[operator]
    assert not np.array_equal(first, spectra.spectra(rows, ("1", "2"), 1, tmp_path / "kept"))


def test_a_second_model_joins_the_first_and_is_told_of(spoken: SpeakerMaterial, tmp_path: Path) -> None:
    recipe = small(speaker_base({"kind": "statistics"}, draws=32))
    claim = replace(acorl.CLAIM, recipe=recipe)
    assert list(claim.seconds) == [arm.name for arm in claim.plan.arms]
    runs = {arm: claim.run(arm, 1, spoken, tmp_path / arm) for arm in ("one", "independent", "alliance-1")}
    same = spoken.same(spoken.trials(1))
    for run in runs.values():
        assert np.isfinite(run.scores).all()
        assert run.scores[same].mean() > run.scores[~same].mean()
    assert runs["one"].figures == ()
    told = [{figure.name: figure.value for figure in runs[arm].figures} for arm in ("independent", "alliance-1")]
    assert told[0] != told[1]  # the first model is the same; what opposed the second moved it
    assert all(0 <= one["linear CKA"] <= 1 for one in told)
