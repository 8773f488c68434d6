"""Mixtures of which is known who is in them and when: their build, their lists, and what a killed run leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile

from earwitness.cli.main import exit_code
from earwitness.core.errors import AudioError, DataError, UsageError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.mixtures import (
    MixtureOptions,
    MixtureTrial,
    Scene,
    mix,
    mixed_trial,
    plan,
    read_trials,
    write_trials,
)

RATE = 16_000
Maker = Callable[..., Any]


def tone(hertz: float, seconds: float = 3.0) -> Any:
    time = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def power(samples: Any, hertz: float) -> float:
    """Over stretches of 20 ms: pieces of a tone meet at any phase."""
    stretches = samples[: len(samples) // 320 * 320].reshape(-1, 320)
    wave = np.exp(-2j * np.pi * hertz * np.arange(320) / RATE)
    return float(np.mean(np.abs((stretches * wave).mean(axis=1)) ** 2))


@pytest.fixture
def manifest(tmp_path: Path, speechlike: Maker) -> Path:
    """Two corpora: four speakers with two recordings each, and two speakers with one."""
    rows = []
    for speaker in range(6):
        for part in range(2 if speaker < 4 else 1):
            name = f"s{speaker}-{part}.wav"
            soundfile.write(tmp_path / name, speechlike(1.5, seed=10 * speaker + part), RATE)
            rows.append({"path": name, "speaker": f"s{speaker}", "corpus": "a" if speaker < 4 else "b"})
    pl.DataFrame(rows).write_csv(tmp_path / "corpus.csv")
    return tmp_path / "corpus.csv"


@pytest.mark.parametrize("rho", [0.3, 0.5, 0.8])
def test_in_turn_a_voice_has_its_share_of_the_time(rho: float) -> None:
    made = mix(tone(300), [tone(900)], Scene("concat", rho, 4.0, silence=0.25), RATE, np.random.default_rng(3))
    assert len(made.samples) == 4 * RATE
    assert made.lead.mean() == pytest.approx(0.75 * rho, abs=0.03)
    assert made.others.mean() == pytest.approx(0.75 * (1 - rho), abs=0.03)
    alone = made.lead & ~made.others
    assert (made.lead & made.others).mean() < 0.02  # cross-fades alone
    assert power(made.samples[alone], 300) > 100 * power(made.samples[made.others & ~made.lead], 300)
    quiet = made.samples[~made.lead & ~made.others]
    assert 0 < np.sqrt(np.mean(quiet**2)) < 0.1 * np.sqrt(np.mean(made.samples[alone] ** 2))  # a floor, not zeros


def test_at_once_others_cover_the_rest_at_their_ratio() -> None:
    scene = Scene("overlap", 0.4, 4.0, sir_db=6.0)
    made = mix(tone(300), [tone(900)], scene, RATE, np.random.default_rng(1))
    assert made.lead.mean() > 0.97
    assert made.others.mean() == pytest.approx(0.6, abs=0.03)
    both = made.samples[made.lead & made.others]
    ratio = 10 * np.log10(power(both, 300) / power(both, 900))
    assert ratio == pytest.approx(6.0, abs=0.5)


def test_noise_has_its_ratio_and_the_whole_stays_in_range() -> None:
    quiet, noisy = (
        mix(tone(300), [], Scene("concat", 1.0, 2.0, snr_db=snr), RATE, np.random.default_rng(1)).samples
        for snr in (None, 10.0)
    )
    noise = noisy - quiet
    assert 10 * np.log10(np.mean(quiet**2) / np.mean(noise**2)) == pytest.approx(10, abs=0.1)
    assert np.abs(noisy).max() < 1


def test_the_build_does_not_depend_on_who_speaks(speechlike: Maker) -> None:
    """Twins: other voices of other lengths, the same places."""
    scene = Scene("concat", 0.5, 3.0, silence=0.2)
    one = mix(tone(300), [tone(900)], scene, RATE, np.random.default_rng(9))
    two = mix(tone(500, 1.0), [tone(700, 5.0)], scene, RATE, np.random.default_rng(9))
    assert np.array_equal(one.lead, two.lead)
    assert np.array_equal(one.others, two.others)


def test_frames_are_told_at_their_middles() -> None:
    made = mix(tone(300), [tone(900)], Scene("concat", 0.5, 2.0), RATE, np.random.default_rng(2))
    lead, others = made.frames(198, 160, 400)
    assert lead.shape == others.shape == (198,)
    assert lead[10] == made.lead[10 * 160 + 200]


def test_refuses_what_cannot_be_mixed() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(UsageError, match="another voice"):
        mix(tone(300), [], Scene("concat", 0.5, 2.0), RATE, rng)
    with pytest.raises(AudioError, match="silent"):
        mix(np.zeros(RATE, np.float32), [], Scene("concat", 1.0, 2.0), RATE, rng)
    with pytest.raises(UsageError, match="rho"):
        Scene("concat", 0.0, 2.0)
    with pytest.raises(UsageError, match="ratio"):
        Scene("overlap", 0.5, 2.0)


def test_targets_and_nontargets_are_matched(manifest: Path) -> None:
    options = MixtureOptions(pairs=3, seconds=(1.0, 2.0), seed=4)
    trials = plan(Manifest.read(manifest), options, manifest.parent)
    assert len(trials) == 2 * 3 * 5 * 2 * 4
    speaker = {row.path: row.speaker for row in Manifest.read(manifest).rows()}
    for target, other in zip(trials[::2], trials[1::2], strict=True):
        assert (target.label, other.label) == (True, False)
        assert replace(target, label=False, target=None, others=()) == replace(other, others=())
        assert len(target.voices) == len(other.voices) == (1 if target.rho == 1 else 2)
        assert speaker[target.enrol] == speaker[str(target.target)]
        assert target.enrol != target.target
        assert speaker[target.enrol] not in {speaker[name] for name in other.voices}
        assert len({speaker[name] for name in (*target.voices, *other.voices)}) == len(target.voices) + 1
    assert {speaker[trial.enrol] for trial in trials} <= {"s0", "s1", "s2", "s3"}  # corpus b has too few voices
    first, second = (mixed_trial(trial, manifest.parent) for trial in trials[2:4])
    assert len(first.samples) == len(second.samples) == round(trials[2].seconds * RATE)


def test_a_list_comes_back_and_makes_the_same_bytes(manifest: Path, tmp_path: Path) -> None:
    trials = plan(Manifest.read(manifest), MixtureOptions(pairs=1, seconds=(1.0, 2.0)), tmp_path)
    write_trials(tmp_path / "svvad_trials.tsv", trials)
    again = read_trials(tmp_path / "svvad_trials.tsv")
    assert again == trials
    for trial in trials[::9]:
        one, two = mixed_trial(trial, tmp_path), mixed_trial(again[trials.index(trial)], tmp_path)
        assert one.samples.tobytes() == two.samples.tobytes()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("2\ta\tb\tc\t1\tconcat\t-\t-\t0", "label '2'"),
        ("1\ta\t-\tc\t1\tconcat\t-\t-\t0", "contradict"),
        ("0\ta\tb\tc\t1\tconcat\t-\t-\t0", "contradict"),
        ("1\ta\tb\tc\tx\tconcat\t-\t-\t0", "rho 'x'"),
        ("1\ta\tb\tc\t2\tconcat\t-\t-\t0", "rho 2"),
        ("1\ta\tb\t-\t0.5\tconcat\t-\t-\t0", "another voice"),
        ("1\ta\tb\tc\t0.5\toverlap\t-\t-\t0", "ratio"),
        ("1\ta\tb\tc\t1\tconcat\t-\t-\t-3", "seed"),
        ("1\ta\tb", "3 columns"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    head = "label\tenrol_wav\ttarget_wav\tother_wavs\trho\tmode\tsir_db\tsnr_db\tseed\n"
    (tmp_path / "t.tsv").write_text(head + line + "\n")
    with pytest.raises(DataError, match=said) as error:
        read_trials(tmp_path / "t.tsv")
    assert "line 2" in str(error.value)


def test_a_list_without_lengths_draws_them(tmp_path: Path) -> None:
    head = "label\tenrol_wav\ttarget_wav\tother_wavs\trho\tmode\tsir_db\tsnr_db\tseed\n"
    (tmp_path / "t.tsv").write_text(head + "1\ta\tb\tc;d\t0.5\tconcat\t-\t10\t7\n")
    (trial,) = read_trials(tmp_path / "t.tsv")
    assert trial.others == ("c", "d")
    assert 4 <= trial.seconds <= 8
    assert trial == MixtureTrial(True, "a", "b", ("c", "d"), 0.5, "concat", None, 10.0, 7, trial.seconds)


def test_the_command_writes_list_and_recordings(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "mixed" / "svvad_trials.tsv"
    words = ["corpus", "mix", str(manifest), "-o", str(out), "--pairs", "1", "--rho", "0.5", "--snr", "clean"]
    assert exit_code([*words, "--seconds", "1", "1.5", "--audio", str(tmp_path / "audio")]) == 0
    assert len(read_trials(out)) == 4
    made = Manifest.read(tmp_path / "audio" / "manifest.csv")
    assert len(made) == 4
    before = {row.path: made.resolve(row).read_bytes() for row in made.rows()}
    assert {line.split()[7] for line in (tmp_path / "audio" / "mixtures.rttm").read_text().splitlines()} == {
        "target",
        "stand-in",
        "other",
    }
    made.resolve(made.row(0)).unlink()  # as a killed run leaves it
    assert exit_code([*words, "--seconds", "1", "1.5", "--audio", str(tmp_path / "audio")]) == 0
    assert {row.path: made.resolve(row).read_bytes() for row in made.rows()} == before
    assert exit_code([*words, "--mode", "both"]) == 2
    assert exit_code([*words, "--snr", "loud"]) == 2
