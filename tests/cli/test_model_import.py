"""`earwitness model import`: a checkpoint becomes a model that every command takes, or one line says why not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import soundfile
import torch

import earwitness
from earwitness.cli.main import exit_code
from earwitness.deepfake.detector import Detector
from earwitness.training.model_folder import read_model_info
from official_detectors import checkpoint
from official_encoders import encoder

KIND = "nes2net-asvspoof5"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speechlike: Callable[..., Any]) -> Path:
    """The current folder: an official checkpoint, and eight labelled recordings."""
    torch.save(checkpoint(KIND), tmp_path / "official.pth")
    rows = []
    for number in range(8):
        soundfile.write(tmp_path / f"{number}.wav", speechlike(1, seed=number), 16_000)
        rows.append({"path": f"{number}.wav", "speaker": f"s{number}", "system": f"t{number}"})
    pl.DataFrame(rows).write_csv(tmp_path / "rows.csv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def model(words: str) -> int:
    return exit_code(["model", *words.split()])


def label(home: Path, detector: Detector, *, upside_down: bool) -> None:
    """A manifest whose labels follow the detector's own scores, or contradict all of them."""
    table = pl.read_csv(home / "rows.csv")
    scores = [detector.score_file(home / path).score for path in table["path"]]
    middle = sorted(scores)[len(scores) // 2]
    labels = ["bonafide" if (score >= middle) != upside_down else "spoof" for score in scores]
    table.with_columns(pl.Series("label", labels)).write_csv(home / "labelled.csv")


def test_import_score_examine_and_verify(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert model(f"import official.pth --as {KIND} -o made --licence MIT") == 0
    said = capsys.readouterr().err
    assert "tile 4.0375 s" in said
    assert "polarity not checked" in said
    info = read_model_info("made")
    assert (info.licence, info.polarity, info.polarity_probe) == ("MIT", "higher = bona fide", None)
    assert info.extra["imported"]["as"] == KIND  # type: ignore[index, call-overload]
    assert "official.pth" in str(info.extra["imported"])
    assert info.sha256 in (home / "made" / "CARD.md").read_text()
    (home / "official.pth").unlink()  # nothing but the folder is needed from here on
    assert model("verify made") == 0
    assert exit_code(["score", "0.wav", "--task", "deepfake", "--model", "made", "-o", "s.csv"]) == 0
    (row,) = pl.read_csv("s.csv").to_dicts()
    found = earwitness.load("made").score_file(home / "0.wav")  # type: ignore[union-attr]
    assert row["score"] == pytest.approx(found.score, abs=1e-6)
    assert row["llr"] is None
    capsys.readouterr()
    assert exit_code(["examine", "0.wav", "--model", "deepfake=made"]) == 0
    assert "nes2net-asvspoof5 1" in capsys.readouterr().out


def test_polarity_is_probed_and_a_reversed_checkpoint_is_refused(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert model(f"import official.pth --as {KIND} -o made") == 0
    detector = Detector.load("made")
    label(home, detector, upside_down=False)
    assert model(f"import official.pth --as {KIND} -o probed --labelled labelled.csv") == 0
    probe = read_model_info("probed").polarity_probe
    assert probe is not None
    assert probe.auc == 1
    assert probe.rows
    assert "AUC 1.000" in capsys.readouterr().err
    label(home, detector, upside_down=True)
    assert model(f"import official.pth --as {KIND} -o reversed --labelled labelled.csv") == 2
    said = capsys.readouterr().err
    assert "favour the wrong class" in said
    assert said.count("\n") == 1
    assert not (home / "reversed").exists()


class Canary:
    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, ("sang", "w"))


def test_refusals_are_one_line(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"fc.weight": Canary()}, home / "canary.pth")
    torch.save({**checkpoint(KIND), "module.x": torch.zeros(1)}, home / "more.pth")
    for words, said in [
        (f"canary.pth --as {KIND} -o made", "canary.pth: is not a file of plain weights"),
        (f"more.pth --as {KIND} -o made", "more.pth: 1 tensor(s) belong to no known part: module.x"),
        (f"missing.pth --as {KIND} -o made", "missing.pth: there is no such file"),
        ("official.pth --as aasist -o made", "official.pth: "),
        ("official.pth --as fairseq-wav2vec2 -o made", "official.pth: "),
        ("official.pth --as nes2net-asvspoof6 -o made", "Did you mean 'nes2net-asvspoof5'"),
        (f"official.pth --as {KIND} -o made --score loudest", "unknown score 'loudest'"),
        (f"official.pth --as {KIND} -o rows.csv", "is there already"),
    ]:
        assert model(f"import {words}") == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    assert not (home / "sang").exists()
    assert not (home / "made").exists()


def test_an_encoder_alone(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"model": encoder("wavlm")}, home / "wavlm.pt")
    assert model("import wavlm.pt --as wavlm -o encoder") == 0
    assert "an encoder of" in capsys.readouterr().err
    assert sorted(path.name for path in (home / "encoder").iterdir()) == ["config.json", "model.safetensors"]
    assert model("import wavlm.pt --as wavlm -o encoder") == 2
