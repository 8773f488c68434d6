"""SVVAD as a claim: fair mixtures of the test speakers, a verifier that is held, and arms that learn from the same."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
import torch

from earwitness.audio.reading import load
from earwitness.claims import mixed, svvad
from earwitness.claims.mixed import MODES, SHARES, THINNED, MixedMaterial
from earwitness.claims.speaker_learning import learn_from
from earwitness.claims.spectra import FRONTEND
from earwitness.claims.store import Halves
from earwitness.claims.svvad import CLAIM, TRAINED, UNTRAINED, SvvadClaim, muted
from earwitness.claims.views import SECONDS, View
from earwitness.corpora.manifest import Manifest

SPEAKERS, TAKES, PAIRS = 15, 3, 2
CELLS = len(MODES) * (len(SHARES) - 1) + 1


class Spoken(MixedMaterial):
    """Every view is the recording as it is, repeated to 4 s."""

    def spectra(self, view: View = "clean", speed: float = 1.0) -> Halves:
        return self._energies[:, ::THINNED]

    @cached_property
    def _energies(self) -> Halves:
        paths = [self.rows.resolve(row) for row in self.rows.rows()]
        heard = np.stack(
            [np.resize(load(path, FRONTEND.rate).samples, round(SECONDS * FRONTEND.rate)) for path in paths]
        )
        with torch.inference_mode():
            return FRONTEND.build().features(torch.from_numpy(heard)).half().numpy()


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory, speechlike: Any) -> MixedMaterial:
    folder = tmp_path_factory.mktemp("spoken")
    rows = []
    for speaker in range(SPEAKERS):
        for take in range(TAKES):
            name = f"s{speaker}-{take}.wav"
            soundfile.write(folder / name, speechlike(1.5, seed=10 * speaker + take), 16_000)
            rows.append({"id": name, "path": name, "speaker": f"s{speaker}", "corpus": "c", "stratum": "c"})
    table = pl.DataFrame(rows).with_columns(label=pl.lit("bonafide"), sex=pl.lit(None, pl.String))
    return Spoken(Manifest.from_table(table, folder), tuple(table["id"]), "drawn", folder)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixed, "PAIRS", PAIRS)


def tiny() -> SvvadClaim:
    """A few steps of small networks."""
    speaker = {**CLAIM.speaker, "draws": 32, "loop": {**CLAIM.speaker["loop"], "epochs": 2, "batch_size": 16}}
    branch = speaker["network"]["branches"][0]
    encoder = {**branch["encoder"], "channels": 16, "outputs": 24, "se_hidden": 8}
    speaker["network"] = {"branches": [{**branch, "encoder": encoder}], "embedding": {"dim": 12}}
    network = {**CLAIM.recipe["network"], "dim": 8, "condition": 8, "heads": 2, "hidden": 8}
    return replace(CLAIM, speaker=speaker, recipe={**CLAIM.recipe, "network": network, "draws": 16})


def test_every_arm_is_named() -> None:
    assert [*UNTRAINED, *TRAINED] == [arm.name for arm in CLAIM.plan.arms]


def test_mixtures_are_of_test_speakers_and_matched(spoken: MixedMaterial) -> None:
    trials = spoken.mixtures(1)
    assert len(trials) == 2 * PAIRS * CELLS
    assert Counter((trial.rho, trial.mode) for trial in trials) == {
        (rho, mode): 2 * PAIRS for rho in SHARES for mode in MODES if rho < 1 or mode == MODES[0]
    }
    speaker = dict(zip(spoken.rows.table["path"], spoken.speakers, strict=True))
    tested = set(spoken.speakers[spoken.sides(1).test])
    led = spoken.speakers[spoken.led(trials)]
    for target, other in zip(trials[::2], trials[1::2], strict=True):
        assert {speaker[name] for name in (target.enrol, *target.voices, *other.voices)} <= tested
        assert (target.label, other.label) == (True, False)
        assert speaker[target.enrol] == speaker[target.voices[0]]
        assert target.enrol != target.voices[0]
        assert speaker[target.enrol] not in {speaker[name] for name in other.voices}
        assert len(target.voices) == len(other.voices) == (2 if target.rho < 1 else 1)
        assert (target.scene(), target.seed) == (other.scene(), other.seed)
    assert np.array_equal(led[:, 0] == led[:, 1], [trial.label for trial in trials])


def test_the_error_is_of_shared_recordings_alone(spoken: MixedMaterial) -> None:
    seeds = (1, 2, 3)
    tested = spoken.tested(seeds)
    counts = np.ones(tested.units.count)
    trials = spoken.mixtures(2)
    label = np.array([trial.label for trial in trials], float)
    alone = np.array([trial.rho == 1 for trial in trials])
    assert tested.count(1) == len(trials)
    assert tested.error(1, label)(counts) == 0
    assert tested.error(1, np.where(alone, -label, label))(counts) == 0
    assert tested.error(1, np.where(alone, label, -label))(counts) == 100
    worst = np.array([trial.rho == SHARES[-1] and trial.mode == MODES[0] for trial in trials])
    assert tested.error(1, np.where(worst, -label, label))(counts) == pytest.approx(100 / (CELLS - 1))


def test_muted_crops_keep_a_stretch_and_the_mean_of_both_voices() -> None:
    crops = np.random.default_rng(0).normal(size=(40, 50, 4)).astype(np.float32)
    found = muted(crops, np.random.default_rng(1))
    assert np.array_equal(found, muted(crops, np.random.default_rng(1)))
    silent = (found == 0).all(axis=2)
    changed = np.array([not np.allclose(one, crop - crop.mean(axis=0)) for one, crop in zip(found, crops, strict=True)])
    assert 10 < changed.sum() < 30
    assert silent.mean(axis=1).max() <= 0.7
    assert not silent[~changed].any()
    for place in np.flatnonzero(changed):
        kept = np.flatnonzero(~silent[place])
        assert np.array_equal(kept, np.arange(kept[0], kept[-1] + 1))
        both = crops[place - 1].copy()
        both[kept] = crops[place, kept]
        assert np.allclose(found[place, kept], crops[place, kept] - both.mean(axis=0), atol=1e-6)


def test_arms_learn_from_the_same_and_tell_what_gates_do(
    spoken: MixedMaterial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt: list[int] = []

    def counted(*given: Any) -> Any:
        learnt.append(1)
        return learn_from(*given)

    monkeypatch.setattr(svvad, "learn_from", counted)
    claim = tiny()
    arms = ("none", "oracle-gamma", "svvad", "gamma", "no-identity")
    runs = {arm: claim.run(arm, 1, spoken, tmp_path / arm) for arm in arms}
    assert len(learnt) == 1
    for run in runs.values():
        assert run.scores.shape == (2 * PAIRS * CELLS,)
        assert np.isfinite(run.scores).all()
        told = {figure.name: figure.value for figure in run.figures}
        assert all(0 <= told[f"EER % at {rho:g}"] <= 100 for rho in SHARES)
    assert len({run.scores.tobytes() for run in runs.values()}) == len(runs)
    assert np.corrcoef(runs["none"].scores, runs["gamma"].scores)[0, 1] > 0.9  # two steps from the identity
    told = {figure.name: figure.value for figure in runs["svvad"].figures}
    assert 0 <= told["gamma AUC"] <= 1
    assert {"white noise, 99 %", "silence, 99 %", "false accepts % before", "false accepts % after"} <= set(told)
    again = tiny().run("svvad", 1, spoken, tmp_path / "again")
    assert np.array_equal(again.scores, runs["svvad"].scores)
    assert again.figures == runs["svvad"].figures
