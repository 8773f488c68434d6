"""`score --task quality`: a MOS a row, kept by the hash of the audio; and the MOS alone as a control."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from earwitness.audio.windows import Whole
from earwitness.cli.main import run
from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.deepfake import material
from earwitness.evaluation.judging.mos_control import mos_scores
from earwitness.evaluation.scoring import quality
from earwitness.nn.pretrained.mos import MosEstimator


class Loudness(MosEstimator):
    """The louder the better; remembers how often it was asked."""

    name, model, windows = "dnsmos", "0123", Whole()
    asked = 0

    def rate_windows(self, samples):
        Loudness.asked += len(samples)
        return 1 + 4 * np.abs(samples).max(1)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Four recordings of which the last is silent, and a cache of its own."""
    monkeypatch.setenv("EARWITNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(material, "weights_of", lambda name: (name, "0123"))
    monkeypatch.setattr(quality, "load_mos", lambda name: Loudness())
    Loudness.asked = 0
    for place, level in enumerate((0.2, 0.4, 0.6, 0.0)):
        soundfile.write(tmp_path / f"{place}.wav", np.full(16_000, level), 16_000)
    labels = ["spoof", "bonafide", "bonafide", "spoof"]
    pl.DataFrame({"path": [f"{place}.wav" for place in range(4)], "label": labels}).write_csv(tmp_path / "m.csv")
    return tmp_path / "m.csv"


def earwitness(*words: object) -> int:
    with pytest.raises(SystemExit) as stop:
        run([str(word) for word in words])
    return int(stop.value.code or 0)


def test_every_row_gets_its_mos_or_an_error(heard: Path, tmp_path: Path) -> None:
    assert earwitness("score", heard, "--task", "quality", "-o", tmp_path / "q.csv") == 1
    table = pl.read_csv(tmp_path / "q.csv")
    assert table["score"].to_list() == pytest.approx([1.8, 2.6, 3.4, None], abs=1e-3)
    assert table["seconds_used"].to_list() == [1.0, 1.0, 1.0, None]
    assert "holds 0.00 s of sound" in table["error"][3]
    assert set(table["model"]) == {"dnsmos (sha256 0123)"}
    assert table["llr"].null_count() == 4


def test_what_was_heard_once_is_not_heard_again(heard: Path, tmp_path: Path) -> None:
    earwitness("score", heard, "--task", "quality", "-o", tmp_path / "q.csv")
    assert Loudness.asked == 3
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (tmp_path / "1.wav").rename(moved / "other.wav")
    pl.DataFrame({"path": ["other.wav"]}).write_csv(moved / "m.csv")
    assert earwitness("score", moved / "m.csv", "--task", "quality", "-o", tmp_path / "again.jsonl") == 0
    assert Loudness.asked == 3
    assert pl.read_ndjson(tmp_path / "again.jsonl")["score"][0] == pytest.approx(2.6, abs=1e-3)


def test_an_interrupted_run_goes_on(heard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rate = Loudness.rate_windows

    def stopping(self, samples):
        if Loudness.asked == 2:
            raise KeyboardInterrupt
        return rate(self, samples)

    manifest = Manifest.read(heard)
    with monkeypatch.context() as patched:
        patched.setattr(Loudness, "rate_windows", stopping)
        with pytest.raises(KeyboardInterrupt):
            quality.score_quality(manifest, "dnsmos", tmp_path / "q.csv")
    tally = quality.score_quality(manifest, "dnsmos", tmp_path / "q.csv", resume=True)
    assert (tally.done, tally.skipped, tally.failed) == (2, 2, 1)
    assert Loudness.asked == 3
    assert len(material.mos_table("dnsmos").known) == 3


def test_the_mos_alone_is_a_control(heard: Path, tmp_path: Path) -> None:
    manifest = Manifest.read(heard)
    with pytest.raises(DataError, match=r"0\.wav: has no MOS by dnsmos.*score KEY --task quality"):
        mos_scores(manifest, "dnsmos")
    quality.score_quality(manifest, "dnsmos", tmp_path / "q.csv")
    found = mos_scores(manifest, "dnsmos")
    assert found.table["score"].to_list() == pytest.approx([1.8, 2.6, 3.4, None], abs=1e-3)
    assert found.unread == ("3.wav",)
    assert found.table["error"].to_list() == [None, None, None, "no MOS"]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--task", "quality", "--reference", "a.wav"), "--reference belongs to --task speaker"),
        (("--task", "quality", "--calibration", "c.json"), "scores of quality have no log-likelihood ratio"),
        (("--task", "qualty"), "deepfake, speaker, age, emotion, quality"),
    ],
)
def test_options_that_do_not_fit_are_refused(words: tuple[str, ...], what: str, heard: Path, capfd) -> None:
    assert earwitness("score", heard, *words, "-o", "q.csv") == 2
    assert what in capfd.readouterr().err
