"""What is told of a personal VAD: systems beside it, the grid, its safety tests, and ablations."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
import torch

from earwitness.cli.main import exit_code
from earwitness.core.errors import DataError, ModelError, UsageError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.mixtures import MixtureOptions, MixtureTrial, mixed_trial, plan, write_trials
from earwitness.evaluation.loading import load
from earwitness.evaluation.personal_vad import safety
from earwitness.evaluation.personal_vad.grid import cells, gains, gamma_figures
from earwitness.evaluation.personal_vad.safety import enrolled_voices, injections, others_only, swapped
from earwitness.evaluation.personal_vad.scoring import Enrolled, score_mixtures
from earwitness.evaluation.personal_vad.systems import (
    ENERGY,
    GAMMA,
    NO_VAD,
    ORACLE,
    ORACLE_GAMMA,
    ORACLE_TARGET,
    POOLED,
    SVVAD,
    SYSTEMS,
    TWO_STEP,
    frame_flags,
    loud_frames,
    measure,
)
from earwitness.nn.types import Frames
from earwitness.speaker.comparison import Vectors, unit
from earwitness.speaker.personal_vad.backbone import Gated
from earwitness.speaker.personal_vad.hearing import PersonalVerifier, gated_by
from earwitness.speaker.personal_vad.training import train_personal_vad
from tiny_personal_vad import make_verifier, tiny_recipe

RATE = 16_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, speechlike: Any) -> Path:
    """Eight speakers with two recordings each, runs of three settings, and a list of mixtures of all of them."""
    folder = tmp_path_factory.mktemp("personal")
    rows = []
    for speaker in range(8):
        for part in range(2):
            name = f"s{speaker}-{part}.wav"
            soundfile.write(folder / name, speechlike(1.2, seed=10 * speaker + part), RATE, subtype="FLOAT")
            rows.append({"path": name, "speaker": f"s{speaker}", "corpus": "made", "licence": "CC0-1.0"})
    pl.DataFrame(rows).write_csv(folder / "manifest.csv")
    verifier = make_verifier(folder / "verifier")
    recipe = tiny_recipe(folder / "manifest.csv", verifier)
    once = recipe.loop.model_copy(update={"epochs": 1})
    for name, changes in (
        ("gamma-beta", {}),
        ("gamma-only", {"network": recipe.network.model_copy(update={"beta": "off"})}),
        ("no-negative", {"losses": recipe.losses.model_copy(update={"negative": 0.0})}),
    ):
        train_personal_vad(recipe.model_copy(update={"loop": once, **changes}), folder / "runs" / name)
    options = MixtureOptions(rho=(1.0, 0.5), snr_db=(None,), pairs=2, seconds=(0.8, 1.0))
    write_trials(folder / "svvad_trials.tsv", plan(Manifest.read(folder / "manifest.csv"), options, folder))
    return folder


@pytest.fixture(scope="module")
def ear(home: Path) -> PersonalVerifier:
    found = load(home / "runs" / "gamma-beta" / "model")
    assert isinstance(found, PersonalVerifier)
    return found


@pytest.fixture(scope="module")
def trials(home: Path) -> tuple[MixtureTrial, ...]:
    options = MixtureOptions(rho=(1.0, 0.5), snr_db=(None,), pairs=2, seconds=(0.8, 1.0))
    return plan(Manifest.read(home / "manifest.csv"), options, home)


class Scripted(PersonalVerifier):
    """A verifier whose gamma and vectors a test writes."""

    @classmethod
    def of(cls, ear: PersonalVerifier) -> Scripted:
        return cls(ear.vad, ear.verifier, ear.info, ear.cohort)


class Injecting(Scripted):
    """Writes the voice that it is conditioned on into whatever it hears."""

    def gate(self, frames: Frames, voices: Vectors) -> Gated:
        self.conditions = voices
        return super().gate(frames, voices)

    def embed(self, gated: Gated) -> torch.Tensor:
        return torch.from_numpy(self.conditions)


class Finding(Scripted):
    """Opens its gate where the conditioned voice speaks, which a test tells it."""

    track: np.ndarray[Any, Any]
    first: Vectors
    constant = False

    def gate(self, frames: Frames, voices: Vectors) -> Gated:
        count = frames.values.shape[1]
        made = torch.zeros(len(voices), count, 2)
        for place, voice in enumerate(voices):
            wanted = self.track if np.allclose(voice, self.first) else ~self.track
            noise = 0.05 * np.random.default_rng(place).random(count)
            made[place, :, 0] = 0.9 if self.constant else torch.from_numpy(0.1 + 0.8 * wanted + noise)
        return gated_by(frames, made)


def made_up(targets: dict[str, list[float]], others: dict[str, list[float]], rho: float = 1.0) -> pl.DataFrame:
    rows = []
    for label, scores in ((True, targets), (False, others)):
        count = len(next(iter(scores.values())))
        for number in range(count):
            row: dict[str, Any] = {"label": label, "enrol": f"e{number}", "mode": "concat", "rho": rho, "snr_db": None}
            row |= {system: scores.get(system, scores[NO_VAD])[number] for system in SYSTEMS}
            row |= {"auc_other": 0.9, "auc_rest": 0.8, "error": None}
            rows.append(row | {"gamma_lead": 0.9, "gamma_others": 0.2, "gamma_silence": 0.1})
    return pl.DataFrame(rows, schema_overrides={"snr_db": pl.Float64, "error": pl.String})


@pytest.mark.shows("svvad:6.6")
def test_a_network_that_writes_the_voice_into_noise_is_caught(ear: PersonalVerifier) -> None:
    voices = unit(np.random.default_rng(0).standard_normal((60, 12)).astype(np.float32))
    table = made_up({NO_VAD: [0.8, 0.9]}, {NO_VAD: [0.1, 0.3, 0.5]})
    found = injections(Injecting.of(ear), voices, table)
    assert [one.sound for one in found] == ["white noise", "silence"]
    for one in found:
        assert one.voices == 50
        assert one.gated_mean == pytest.approx(1.0, abs=1e-5)
        assert one.gated_99 == pytest.approx(1.0, abs=1e-5)
        assert one.nontarget_99 == pytest.approx(np.quantile([0.1, 0.3, 0.5], 0.99))
        assert not one.within


@pytest.mark.shows("svvad:6.6")
def test_a_network_at_the_identity_writes_nothing(ear: PersonalVerifier) -> None:
    voices = unit(np.random.default_rng(0).standard_normal((50, 12)).astype(np.float32))
    torch.manual_seed(0)
    fresh = ear.vad.config.build(20, ear.vad.projection)
    table = made_up({NO_VAD: [0.8, 0.9]}, {NO_VAD: [0.3, 0.4, 0.5]})
    for one in injections(PersonalVerifier(fresh, ear.verifier, ear.info), voices, table):
        assert one.gated_mean == pytest.approx(one.plain_mean, abs=0.02)
        assert one.within


@pytest.mark.shows("svvad:6.6")
def test_others_alone_are_counted_at_the_plain_threshold() -> None:
    targets, others = {NO_VAD: [0.6, 0.7, 0.8, 0.9]}, {NO_VAD: [0.1, 0.2, 0.3, 0.4], SVVAD: [0.9, 0.9, 0.1, 0.0]}
    found = others_only(made_up(targets, others))
    assert found.trials == 4
    assert 0.4 < found.threshold <= 0.6
    assert (found.plain, found.gated) == (0.0, 0.5)


@pytest.mark.shows("svvad:6.7")
def test_swapped_conditions_are_told_from_gates_that_do_not_listen(
    ear: PersonalVerifier, home: Path, trials: tuple[MixtureTrial, ...]
) -> None:
    some = [trial for trial in trials if trial.label and trial.mode == "concat" and trial.rho < 1][:1]
    mixture = mixed_trial(some[0], home)
    finding = Finding.of(ear)
    finding.track = frame_flags(ear, mixture, ear.features(mixture.samples))[0]
    finding.first = Enrolled(ear, home).of(some[0].enrol)
    found = swapped(finding, some, home)
    assert found.mixtures == 1
    assert found.correlation is not None
    assert found.correlation < -0.9
    assert found.share_below_zero == 1.0
    finding.constant = True
    assert swapped(finding, some, home).correlation is None
    only = [trial for trial in trials if trial.rho == 1 or trial.mode == "overlap" or not trial.label]
    assert swapped(ear, only, home).mixtures == 0


def test_systems_hear_what_they_say(ear: PersonalVerifier, home: Path, trials: tuple[MixtureTrial, ...]) -> None:
    trial = next(one for one in trials if one.label and one.mode == "concat" and one.rho < 1)
    mixture, voice = mixed_trial(trial, home), Enrolled(ear, home).of(trial.enrol)
    found = measure(ear, mixture, voice)
    assert tuple(found.scores) == SYSTEMS
    heard = ear.hear(mixture.samples, RATE, voice[None])
    assert found.scores[NO_VAD] == pytest.approx(float(heard.plain[0]), abs=1e-6)
    assert found.scores[SVVAD] == pytest.approx(float(heard.scores[0]), abs=1e-6)
    frames = ear.features(mixture.samples)
    lead, others = frame_flags(ear, mixture, frames)
    for system, flags in ((ORACLE_TARGET, lead), (ORACLE, lead | others)):
        kept = frames.values[:, torch.from_numpy(flags)]
        vector = ear.verifier.embed(Frames(kept - kept.mean(1, keepdim=True)))[0].detach().numpy()
        assert found.scores[system] == pytest.approx(float(vector @ voice), abs=1e-5)
    values = [found.scores[name] for name in (NO_VAD, ENERGY, ORACLE_TARGET, TWO_STEP, SVVAD, POOLED)]
    assert len({round(value, 6) for value in values}) >= 5
    assert found.gamma[0] == pytest.approx(float(heard.gamma[0][lead].mean()), abs=1e-6)
    lying = replace(mixture, lead=~mixture.lead, others=np.zeros_like(mixture.others))
    wrong = measure(ear, lying, voice).scores
    same = (NO_VAD, ENERGY, TWO_STEP, GAMMA, SVVAD, POOLED)
    assert {name: wrong[name] for name in same} == {name: found.scores[name] for name in same}
    assert wrong[ORACLE_TARGET] != found.scores[ORACLE_TARGET]
    assert wrong[ORACLE_GAMMA] != found.scores[ORACLE_GAMMA]
    muted = Frames(frames.values * torch.from_numpy(lead.astype(np.float32))[None, :, None])
    vector = ear.verifier.embed(muted)[0].detach().numpy()
    assert found.scores[ORACLE_GAMMA] == pytest.approx(float(vector @ voice), abs=1e-5)


def test_loud_frames_are_within_30_db(ear: PersonalVerifier) -> None:
    samples = 0.1 * np.ones(RATE, np.float32)
    samples[RATE // 2 :] = 0.1 * 10 ** (-25 / 20)
    samples[3 * RATE // 4 :] = 0.1 * 10 ** (-35 / 20)
    flags = loud_frames(ear, samples, ear.features(samples))
    assert flags[:70].all()
    assert not flags[78:].any()


def test_the_grid_gives_rates_shifts_and_gains() -> None:
    whole = made_up({NO_VAD: [0.6, 0.7, 0.8]}, {NO_VAD: [0.1, 0.2, 0.3]})
    half = made_up(
        {NO_VAD: [0.1, 0.4, 0.5], SVVAD: [0.5, 0.6, 0.7]}, {NO_VAD: [0.0, 0.2, 0.3], SVVAD: [0.0, 0.1, 0.2]}, rho=0.5
    )
    table = pl.concat([half, whole])
    first, second = cells(table)
    assert [(one.mode, one.rho, one.snr_db, one.targets, one.nontargets) for one in (first, second)] == [
        ("concat", 1.0, None, 3, 3),
        ("concat", 0.5, None, 3, 3),
    ]
    plain = {one.system: one for one in second.systems}[NO_VAD]
    gated = {one.system: one for one in second.systems}[SVVAD]
    assert plain.eer == pytest.approx(1 / 3)
    assert gated.eer == 0
    base = {one.system: one for one in first.systems}[NO_VAD].threshold
    assert plain.shift == pytest.approx(plain.threshold - base)
    assert {one.system: one for one in first.systems}[NO_VAD].shift == 0
    found = list(gains(table, 50, 0))
    assert [one.rho for one in found] == [1.0, 0.5]
    assert found[1].eer.first.value == 0
    assert found[1].eer.difference.value == pytest.approx(-1 / 3)
    gamma = gamma_figures(table)
    assert (gamma.auc_other, gamma.lead, gamma.others) == pytest.approx((0.9, 0.9, 0.2))
    with pytest.raises(DataError, match="no cell"):
        cells(table.filter("label"))


def test_a_killed_run_goes_on_and_other_models_rows_are_refused(
    ear: PersonalVerifier, home: Path, trials: tuple[MixtureTrial, ...], tmp_path: Path
) -> None:
    some = trials[:4]
    whole = score_mixtures(ear, some, home)
    table, done = tmp_path / "scores.csv", 0

    def killed() -> None:
        nonlocal done
        done += 1
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_mixtures(ear, some, home, table, killed)
    steps: list[int] = []
    again = score_mixtures(ear, some, home, table, lambda: steps.append(1))
    assert len(steps) == 2
    assert again.select("trial", *SYSTEMS).equals(whole.select("trial", *SYSTEMS))
    other = replace_info(ear, "another")
    with pytest.raises(UsageError, match="another"):
        score_mixtures(other, some, home, table)


def replace_info(ear: PersonalVerifier, name: str) -> PersonalVerifier:
    return PersonalVerifier(ear.vad, ear.verifier, ear.info.model_copy(update={"name": name}), ear.cohort)


def test_a_voice_that_cannot_be_read_is_a_row_with_an_error(
    ear: PersonalVerifier, home: Path, trials: tuple[MixtureTrial, ...]
) -> None:
    bad = replace(trials[0], target="missing.wav")
    table = score_mixtures(ear, [bad, *trials[:2]], home)
    assert table["error"].null_count() == 2
    assert "missing.wav" in table["error"][0]
    assert table[SVVAD].null_count() == 1


@pytest.mark.shows("svvad:6.8")
def test_ablations_are_printed_beside_each_other(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "personal-vad", str(home / "runs"), "--key", str(home / "svvad_trials.tsv")]
    assert exit_code([*words, "--resamples", "20", "--json", str(tmp_path / "out.json")]) == 0
    said = capsys.readouterr().out
    beside = said[said.index("beside each other") :]
    for name in ("gamma-beta", "gamma-only", "no-negative"):
        assert re.search(rf"^  {name} +[\d.]+ % \(rho 0.5\) +[\d.]+ %", beside, re.MULTILINE)
    assert all(system in said for system in SYSTEMS)
    for what in ("white noise", "silence", "condition swapped", "others alone", "threshold minus", "AUC"):
        assert said.count(what) >= 3
    assert said.count("concat rho 0.5 clean (2+2)") == 9
    data = json.loads((tmp_path / "out.json").read_text())
    betas = {one["name"]: one["beta"] for one in data["outcomes"]}
    assert betas == {"gamma-beta": "on", "gamma-only": "off", "no-negative": "on"}
    for one in data["outcomes"]:
        line = next(line for line in beside.splitlines() if one["name"] in line)
        assert f"{100 * one['gains'][-1]['eer']['first']['value']:.2f} %" in line
    again = tmp_path / "out.scores" / "gamma-only.csv"
    before = again.read_bytes()
    assert exit_code([*words, "--resamples", "20", "--json", str(tmp_path / "out.json")]) == 0
    assert again.read_bytes() == before


def test_wrong_use_is_one_line(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(home / "runs" / "gamma-beta")
    assert exit_code(["evaluate", "personal-vad", model]) == 2
    assert "--key" in capsys.readouterr().err
    key = ["--key", str(home / "svvad_trials.tsv")]
    assert exit_code(["evaluate", "personal-vad", str(tmp_path), *key]) == 2
    assert "no personal VAD" in capsys.readouterr().err
    assert exit_code(["evaluate", "personal-vad", model, *key, "--negate"]) == 2
    assert "says nothing about personal-vad" in capsys.readouterr().err
    with pytest.raises(ModelError, match="answers 'speaker'"):
        PersonalVerifier.load(home / "verifier")


def test_voices_are_those_of_the_list_and_then_the_cohorts(
    ear: PersonalVerifier, home: Path, trials: tuple[MixtureTrial, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safety, "MOST_VOICES", 10)
    found = enrolled_voices(ear, trials, home)
    listed = list(dict.fromkeys(trial.enrol for trial in trials))
    assert found.shape == (10, 12)
    assert found[0] == pytest.approx(Enrolled(ear, home).of(listed[0]))
    assert ear.cohort is not None
    assert found[len(listed)] == pytest.approx(ear.cohort[0])
