"""Twins: the same words, voice, length and level, made anew; the same from run to run, also from killed ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile as sf
from numpy.typing import NDArray
from typer.testing import CliRunner

from earwitness.audio.facts import signal_facts
from earwitness.core.errors import DataError, MissingPartError, UsageError
from earwitness.core.hashing import sha256_file
from earwitness.corpora.leaks import find_leaks
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splits import DetectionSplit, split
from earwitness.corpora.twins import VOCODERS, TwinOptions, Vocoder, expand
from earwitness.corpora.twins.codec2 import Codec2
from earwitness.corpora.twins.griffin_lim import Frames, GriffinLim, mel_filters
from earwitness.corpora.twins.lpc import Lpc, pitch_period, predictor
from earwitness.corpora.twins.making import matched
from earwitness.corpora.twins.world import World

Speechlike = Callable[..., NDArray[np.float32]]
Signal = NDArray[np.float64]
QUICK = TwinOptions(vocoders=("griffin-lim", "lpc"), seed=3)
SETTINGS: list[Vocoder] = [
    World("harvest", 5.0),
    World("dio", 10.0, 24, True, True),
    GriffinLim(32, 40, 16),
    GriffinLim(64, 80, 32),
    GriffinLim(128, None, 16),
    Codec2("3200"),
    Codec2("1300"),
    Codec2("700C"),
    Lpc(),
]


def usable(vocoder: Vocoder) -> Vocoder:
    try:
        vocoder.require()
    except MissingPartError as error:
        pytest.skip(str(error))
    return vocoder


def log_spectra(samples: NDArray[Any], rate: int) -> Signal:
    """dB [frames, bands of 125 Hz to 3.5 kHz], windows of 32 ms."""
    size = round(0.032 * rate)
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), size)[:: size // 2]
    power = np.abs(np.fft.rfft(frames * np.hanning(size), axis=1)) ** 2
    return 10 * np.log10(power[:, 4:112].reshape(len(power), -1, 4).mean(axis=2) + 1e-6)


@pytest.fixture
def corpus(tmp_path: Path, speechlike: Speechlike) -> Path:
    """A manifest on disk: five human recordings of 0.4 s by three voices at two rates, and a spoof."""
    rows: list[dict[str, Any]] = []
    for i in range(6):
        rate = 8000 if i % 2 else 16000
        file = tmp_path / "data" / f"folder{i % 2}" / f"{i // 2}.wav"  # equal stems in two folders
        file.parent.mkdir(parents=True, exist_ok=True)
        sf.write(file, speechlike(0.4, rate, seed=i), rate)
        row = {"path": file.relative_to(tmp_path / "data").as_posix(), "speaker": f"s{i % 3}", "sample_rate": rate}
        made = {"label": "spoof", "system": "k"} if i == 5 else {"label": "bonafide", "language": "de"}
        rows.append({**row, **made, "licence": "CC0-1.0", "corpus": "made", "duration_s": 0.4})
    Manifest(pl.DataFrame(rows, infer_schema_length=None), tmp_path / "data").write(tmp_path / "data" / "m.csv")
    return tmp_path / "data" / "m.csv"


@pytest.mark.parametrize("vocoder", SETTINGS, ids=repr)
@pytest.mark.parametrize("rate", [8000, 22050])
def test_a_twin_is_near_its_original_and_not_it(vocoder: Vocoder, rate: int, speechlike: Speechlike) -> None:
    usable(vocoder)
    original = speechlike(1.0, rate, seed=4)
    made = vocoder.resynthesise(original.astype(np.float64), rate, np.random.default_rng(1))
    twin = matched(original, made, rate)
    assert (twin.shape, twin.dtype) == (original.shape, np.float32)
    facts, before = signal_facts(twin, rate), signal_facts(original, rate)
    assert facts.level_dbfs == pytest.approx(before.level_dbfs, abs=0.3)
    spectra, wanted = log_spectra(twin, rate), log_spectra(original, rate)
    loud = wanted > wanted.max() - 50
    distance = float(np.sqrt(np.mean((spectra - wanted)[loud] ** 2)))
    assert 0.5 < distance < 14  # noise of the same level is at 20 dB
    levels = [10 * np.log10(np.mean(10 ** (each / 10), axis=1)) for each in (spectra, wanted)]
    assert np.corrcoef(*levels)[0, 1] > 0.75  # the syllables stand where they stood
    assert np.mean((twin - original) ** 2) > 1e-3 * np.mean(original**2)
    assert vocoder.system.startswith(f"twin-{vocoder.family}-")


@pytest.mark.parametrize("vocoder", SETTINGS[1:7:2] + SETTINGS[8:], ids=repr)
def test_the_same_draw_gives_the_same_twin_at_odd_lengths_too(vocoder: Vocoder, speechlike: Speechlike) -> None:
    usable(vocoder)
    for seconds in (0.011, 0.3333):
        samples = speechlike(seconds, 16000, seed=2).astype(np.float64)
        once, again = (vocoder.resynthesise(samples, 16000, np.random.default_rng(7)) for _ in range(2))
        assert np.isfinite(once).all()
        np.testing.assert_array_equal(once, again)
        assert abs(len(once) - len(samples)) < 16000 * 0.3


@pytest.mark.parametrize("kind", VOCODERS)
def test_settings_vary_and_say_their_family(kind: str) -> None:
    rng = np.random.default_rng(0)
    drawn = [VOCODERS[kind].drawn(rng) for _ in range(200)]
    assert len({repr(each) for each in drawn}) >= 5
    assert {each.family for each in drawn} == {kind}


def test_short_time_spectra_come_back(speechlike: Speechlike) -> None:
    samples = speechlike(0.31, 8000).astype(np.float64)
    frames = Frames(256, len(samples))
    np.testing.assert_allclose(frames.signal(frames.spectra(samples)), samples, atol=1e-12)


def test_more_iterations_fit_the_magnitudes_better(speechlike: Speechlike) -> None:
    samples = speechlike(0.5, 8000).astype(np.float64)
    frames = Frames(512, len(samples))
    wanted = np.abs(frames.spectra(samples))
    errors = []
    for iterations in (1, 16, 60):
        made = GriffinLim(64, None, iterations).resynthesise(samples, 8000, np.random.default_rng(0))
        errors.append(np.linalg.norm(np.abs(frames.spectra(made)) - wanted) / np.linalg.norm(wanted))
    assert errors[2] < errors[1] < 0.6 * errors[0]


def test_mel_filters_cover_the_band_evenly() -> None:
    filters = mel_filters(40, 1024, 16000)
    assert filters.shape == (40, 513)
    np.testing.assert_allclose(filters.sum(axis=1) * 16000 / 1024, 1, atol=0.15)  # of unit area
    assert (np.diff(filters.argmax(axis=1)) > 0).all()


def test_linear_prediction_finds_poles_and_pitch() -> None:
    rng = np.random.default_rng(0)
    from scipy.signal import lfilter

    made = np.asarray(lfilter([1.0], [1.0, -1.2, 0.8], rng.standard_normal(4000)))
    inverse, _ = predictor(made, 2)
    np.testing.assert_allclose(inverse, [1.0, -1.2, 0.8], atol=0.05)
    pulses = np.zeros(480)
    pulses[::80] = 1.0
    assert pitch_period(pulses, 8000) == 80
    assert pitch_period(rng.standard_normal(480), 8000) is None


def test_level_offset_and_digital_silence_are_the_originals() -> None:
    rng = np.random.default_rng(0)
    original = (0.1 * rng.standard_normal(4000) + 0.02).astype(np.float32)
    original[1000:2000] = 0
    twin = matched(original, rng.standard_normal(3900), 8000)
    assert (twin[1000:2000] == 0).all()
    assert (twin[2000:3000] != 0).all()
    assert np.std(twin) == pytest.approx(np.std(original), rel=0.05)
    assert np.mean(twin) == pytest.approx(np.mean(original), abs=0.005)


def test_a_corpus_is_expanded(corpus: Path, tmp_path: Path) -> None:
    made = expand(Manifest.read(corpus), tmp_path / "out", QUICK)
    assert (made.twins, made.problems, made.notes) == (10, (), ())
    manifest = Manifest.read(tmp_path / "out" / "manifest.csv")
    assert manifest.table.height == 16
    originals = {row.id: row for row in manifest.rows() if row.label == "bonafide"}
    twins = manifest.filter(pl.col("system").str.starts_with("twin-").fill_null(False))
    assert Counter(twins.table["family"]) == {"griffin-lim": 5, "lpc": 5}
    by_source = {row.source_recording: row for row in originals.values()}
    for row in twins.rows():
        original = by_source[row.source_recording]
        assert (row.label, row.speaker, row.language) == ("spoof", original.speaker, "de")
        assert Path(row.path).stem == Path(original.path).stem
        info, before = sf.info(manifest.resolve(row)), sf.info(manifest.resolve(original))
        assert (info.samplerate, info.frames, info.subtype) == (before.samplerate, before.frames, "PCM_16")
        assert row.sample_rate == info.samplerate
        assert str(row.licence).startswith("CC0-1.0; changed: resynthesised by ")
    assert set(twins.table["corpus"]) == {"made"}
    assert twins.table["setting"].str.contains(r"^(GriffinLim|Lpc)\(").all()
    rule = DetectionSplit(twin_families=("griffin-lim", "lpc"), test_families=("lpc",), dev_families=("k",))
    assert find_leaks(split(manifest, rule), "detection") == []


def files(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in sorted(folder.rglob("*.*"))}


def test_runs_are_equal_whatever_the_workers_and_the_other_rows(corpus: Path, tmp_path: Path) -> None:
    manifest = Manifest.read(corpus)
    expand(manifest, tmp_path / "a", QUICK)
    expand(manifest, tmp_path / "b", QUICK, workers=2)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    expand(manifest.filter(pl.col("speaker") == "s0"), tmp_path / "c", QUICK)
    made, fewer = ({p: h for p, h in files(tmp_path / name).items() if p.endswith(".flac")} for name in "ac")
    assert 0 < len(fewer) < len(made)
    assert fewer.items() <= made.items()
    other = TwinOptions(vocoders=QUICK.vocoders, seed=4)
    assert expand(manifest, tmp_path / "d", other).twins == 10
    assert not set(made.values()) & set(files(tmp_path / "d").values())


def test_twins_drawn_a_row(corpus: Path, tmp_path: Path) -> None:
    manifest = Manifest.read(corpus)
    one = expand(manifest, tmp_path / "one", TwinOptions(vocoders=QUICK.vocoders, per_row=1, seed=1))
    assert one.twins == 5
    assert one.manifest.filter(pl.col("setting").is_not_null()).table["family"].n_unique() == 2
    three = expand(manifest, tmp_path / "three", TwinOptions(vocoders=("griffin-lim",), per_row=3))
    assert 10 < three.twins <= 15
    assert three.manifest.table["path"].n_unique() == len(three.manifest)


def test_a_killed_run_goes_on(corpus: Path, tmp_path: Path) -> None:
    manifest = Manifest.read(corpus)
    code = (
        "import sys; from earwitness.corpora.manifest import Manifest; from earwitness.corpora.twins import *\n"
        "if __name__ == '__main__':\n"
        "    expand(Manifest.read(sys.argv[1]), sys.argv[2], TwinOptions(('griffin-lim', 'lpc'), seed=3))\n"
    )
    run = subprocess.Popen([sys.executable, "-c", code, str(corpus), str(tmp_path / "out")])
    part = tmp_path / "out" / "twins.csv.part.jsonl"
    while run.poll() is None and (not part.exists() or part.read_bytes().count(b"\n") < 2):
        time.sleep(0.002)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    if not part.exists():
        pytest.skip("the run ended before it could be killed")
    with part.open("a") as file:
        file.write('{"path": "torn')
    with pytest.raises(UsageError, match="unfinished run"):
        expand(manifest, tmp_path / "out", QUICK)
    with pytest.raises(UsageError, match="drawn"):
        expand(manifest, tmp_path / "out", TwinOptions(vocoders=QUICK.vocoders, seed=9), resume=True)
    steps: list[None] = []
    made = expand(manifest, tmp_path / "out", QUICK, resume=True, progress=lambda total: lambda: steps.append(None))
    assert (made.twins, len(steps)) == (10, 10)
    expand(manifest, tmp_path / "whole", QUICK)
    kept = {path: sha for path, sha in files(tmp_path / "out").items() if not path.endswith(".part")}
    assert kept == files(tmp_path / "whole")
    again = expand(manifest, tmp_path / "out", QUICK, resume=True)
    assert again.twins == 10


def test_what_cannot_be_resynthesised_is_said_and_the_rest_is_made(corpus: Path, tmp_path: Path) -> None:
    (corpus.parent / "folder0/0.wav").write_text("no audio")
    (corpus.parent / "folder0/1.wav").unlink()
    sf.write(corpus.parent / "folder0/2.wav", np.zeros(3000), 16000)
    result = CliRunner().invoke(cli_app(), words(corpus, tmp_path / "out", "--vocoder", "lpc"))
    assert result.exit_code == 1
    assert "2 twins beside 6 rows" in result.output
    for text in ("folder0/0.wav: twin-lpc", "folder0/1.wav: twin-lpc", "folder0/2.wav: twin-lpc", "is silent"):
        assert text in result.output
    table = pl.read_csv(tmp_path / "out" / "twins.csv")
    assert table["error"].count() == 3
    assert len(list((tmp_path / "out").rglob("*.flac"))) == 2


def cli_app() -> Any:
    from earwitness.cli.corpus import app

    return app


def words(corpus: Path, folder: Path, *more: str) -> list[str]:
    return ["expand", str(corpus), "--twins", "-o", str(folder), *more]


def test_the_command_asks_what_to_add_and_answers_typos(corpus: Path, tmp_path: Path) -> None:
    nothing = CliRunner().invoke(cli_app(), ["expand", str(corpus), "-o", str(tmp_path / "out")])
    assert isinstance(nothing.exception, UsageError)
    assert "Add --twins" in str(nothing.exception)
    typo = CliRunner().invoke(cli_app(), words(corpus, tmp_path / "out", "--vocoder", "wrld"))
    assert "Did you mean 'world'" in str(typo.exception)
    for options in ({"per_row": 0}, {"vocoders": ()}, {"vocoders": ("lpc", "lpc")}, {"seed": -1}):
        with pytest.raises(UsageError):
            TwinOptions(**options)  # type: ignore[arg-type]


def test_a_missing_vocoder_is_named_and_the_others_go_on(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    both = TwinOptions(vocoders=("codec2", "lpc"))
    made = expand(Manifest.read(corpus), tmp_path / "out", both)
    assert made.twins == 5
    assert "no twins by codec2: the program c2enc of Codec 2 is not here. Install" in made.notes[0]
    with pytest.raises(MissingPartError, match="c2enc"):
        expand(Manifest.read(corpus), tmp_path / "none", TwinOptions(vocoders=("codec2",)))
    monkeypatch.setitem(sys.modules, "pyworld", None)
    with pytest.raises(MissingPartError, match=r"pip install 'earwitness\[twins\]'"):
        World.require()


def test_what_came_missing_is_added_later(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usable(Codec2())
    both = TwinOptions(vocoders=("codec2", "lpc"))
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        expand(Manifest.read(corpus), tmp_path / "out", both)
    assert expand(Manifest.read(corpus), tmp_path / "out", both, resume=True).twins == 10


def test_licences_splits_and_labels(corpus: Path, tmp_path: Path) -> None:
    manifest = Manifest.read(corpus)
    licences = ["CC0-1.0", "CC-BY-NC-4.0", "CC BY-ND 4.0", "MIT", None, "MIT"]
    table = manifest.table.with_columns(licence=pl.Series(licences), split=pl.lit("train"), left_out=pl.lit("x"))
    options = TwinOptions(vocoders=("lpc",))
    made = expand(manifest.with_table(table), tmp_path / "out", options)
    assert made.twins == 3
    assert [note.split(":")[0] for note in made.notes] == ["the split was taken off", "2 recording(s) without twins"]
    assert made.manifest.table["split"].null_count() == len(made.manifest)
    with pytest.raises(DataError, match="no bona fide recording"):
        expand(manifest.filter(pl.col("label") == "spoof"), tmp_path / "none", options)


def test_segments_of_one_file_have_twins_of_their_own(corpus: Path, tmp_path: Path) -> None:
    rows = [{"id": f"part{i}", "path": "folder0/0.wav", "start": 0.1 * i, "end": 0.1 * (i + 1)} for i in range(3)]
    table = pl.DataFrame(rows).with_columns(label=pl.lit("bonafide"))
    made = expand(Manifest(table, corpus.parent), tmp_path / "out", TwinOptions(vocoders=("lpc",)))
    twins = made.manifest.filter(pl.col("label") == "spoof")
    assert [row.duration_s for row in twins.rows()] == [0.1] * 3
    assert twins.table["start"].null_count() == 3
    assert set(twins.table["source_recording"]) == {"part0", "part1", "part2"}
    outside = Manifest(table.with_columns(path=pl.lit("../../x.wav")), corpus.parent, corpus.parent)
    assert (
        "outside of the data root" in expand(outside, tmp_path / "o", TwinOptions(vocoders=("lpc",))).problems[0].what
    )
