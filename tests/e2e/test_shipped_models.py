"""The models that ship, on the recordings that ship: one code path, stable scores, and answers with their limits."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import soundfile

import earwitness
from earwitness.cli.main import run
from earwitness.deepfake.detector import Detector
from earwitness.speaker.embedder import Embedder
from earwitness.training.model_folder import verify_model
from earwitness.training.shipped import shipped_models

GOLDEN = Path(__file__).parent.parent / "golden" / "sample_scores.json"
NAMES = ("deepfake", "deepfake-small", "speaker", "speaker-small")


def command(*words: str) -> int:
    with pytest.raises(SystemExit) as stop:
        run(list(words))
    return int(stop.value.code or 0)


@pytest.mark.parametrize("name", NAMES)
def test_ships_whole_with_a_card_that_says_what_it_was_tested_on(name: str) -> None:
    folder = shipped_models()[name]
    info = verify_model(folder)
    card = (folder / "CARD.md").read_text(encoding="utf-8")
    assert info.calibration is not None
    assert len(info.calibration.conditions) == 4
    assert info.data
    assert not any("-NC" in source.licence for source in info.data)
    assert "95 % interval" in card
    assert sum(file.stat().st_size for file in folder.iterdir()) < 16_000_000


@pytest.mark.parametrize("name", ["deepfake", "deepfake-small"])
def test_api_score_and_examine_agree(name: str, samples_folder: Path, tmp_path: Path) -> None:
    path = samples_folder / "synthetic.flac"
    samples, rate = soundfile.read(path, dtype="float32")
    detector = earwitness.load(name)
    assert isinstance(detector, Detector)
    by_api = detector.score(samples, rate)
    table, report = tmp_path / "scores.csv", tmp_path / "report.json"
    assert command("score", str(path), "--task", "deepfake", "--model", name, "-o", str(table)) == 0
    row = pl.read_csv(table).row(0, named=True)
    assert command("examine", str(path), "--model", f"deepfake={name}", "--json", str(report)) == 0
    finding = json.loads(report.read_text(encoding="utf-8"))["findings"][0]
    assert row["score"] == pytest.approx(by_api.score, abs=1e-6)
    assert finding["score"] == pytest.approx(by_api.score, abs=1e-6)
    assert row["seconds_used"] == pytest.approx(row["seconds_total"])


def test_golden_scores_stay(samples_folder: Path) -> None:
    """Scores of the bundled recordings, to 1e-3 over machines and thread counts."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for name, expected in golden.items():
        model = earwitness.load(name)
        if isinstance(model, Detector):
            found = {file: model.score_file(samples_folder / file).score for file in expected}
        else:
            assert isinstance(model, Embedder)
            known = [model.embed_file(samples_folder / f"reference-{k}.flac") for k in (1, 2)]
            found = {file: model.compare(known, model.embed_file(samples_folder / file)) for file in expected}
        assert found == pytest.approx(expected, abs=1e-3), name


def test_the_voice_of_the_samples_is_told_from_another(samples_folder: Path) -> None:
    model = earwitness.load("speaker")
    assert isinstance(model, Embedder)
    known = [model.embed_file(samples_folder / f"reference-{k}.flac") for k in (1, 2)]
    same = model.compare(known, model.embed_file(samples_folder / "caller.flac"))
    other = model.compare(known, model.embed_file(samples_folder / "other-voice.flac"))
    assert same > other


def test_examine_with_references_writes_a_page(samples_folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    words = ["examine", "--reference", *(str(samples_folder / f"reference-{k}.flac") for k in (1, 2))]
    assert command(*words, "--html", str(page), "--", str(samples_folder / "call-stereo.flac")) == 0
    text = page.read_text(encoding="utf-8")
    assert len(text) < 6_000_000
    assert "http://" not in text
    assert "https://" not in text
    assert "channel 2 of 2" in text


@pytest.mark.parametrize(("name", "columns"), [("age", "mean sd low high"), ("emotion", "called p_neutral p_happy")])
def test_manner_is_scored_and_its_card_beats_the_constant(
    name: str, columns: str, samples_folder: Path, tmp_path: Path
) -> None:
    folder = shipped_models()[name]
    info = verify_model(folder)
    assert not info.extra["inconclusive"]
    assert not any("-NC" in source.licence for source in info.data)
    assert sum(file.stat().st_size for file in folder.iterdir()) < 2_000_000
    table = tmp_path / "scores.csv"
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    (tmp_path / "caller.flac").write_bytes((samples_folder / "caller.flac").read_bytes())
    assert command("score", str(tmp_path), "--task", name, "-o", str(table)) == 1
    rows = {row["path"]: row for row in pl.read_csv(table).iter_rows(named=True)}
    assert rows["broken.wav"]["error"]
    assert rows["broken.wav"]["score"] is None
    assert set(columns.split()) <= set(rows["caller.flac"])
    assert rows["caller.flac"]["seconds_used"] > 0
    again = earwitness.load(name).estimate_file(tmp_path / "caller.flac")  # type: ignore[union-attr]
    told = again.mean if name == "age" else float(again.probabilities.max())  # type: ignore[union-attr]
    assert rows["caller.flac"]["score"] == pytest.approx(told, abs=1e-5)
