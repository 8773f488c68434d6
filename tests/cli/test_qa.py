"""`earwitness qa` from recordings to a validation, with a recogniser that is a tiny ONNX file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from earwitness.cli.main import exit_code
from earwitness.speech_llm.clients.fake_server import Asked, FakeServer
from tiny_ear import write_ear

ENERGY = ("--set", "hearing.speech={kind: energy, shortest_pause_s: 0.8}")
REPLY = {
    "qa": [
        {"question": "How loud is it?", "answer": "Rather.", "type": "C", "evidence": [0, 3], "needs": ["content"]},
        {"question": "What does the label say?", "answer": "Sad.", "type": "DE", "evidence": [0, 3], "needs": []},
    ]
}


@pytest.fixture
def ear(tmp_path: Path) -> str:
    pytest.importorskip("onnx")
    return str(write_ear(tmp_path / "ear.onnx"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "calls"
    folder.mkdir(parents=True)
    time = np.arange(12 * 16_000) / 16_000
    for name, level in (("low", 0.1), ("high", 0.7)):
        sf.write(folder / f"{name}.wav", (level * np.sin(2 * np.pi * 220 * time)).astype(np.float32), 16_000)
    (tmp_path / "words").mkdir()
    for name in ("low", "high"):
        lines = [f"{name} 1 {second}.1 0.8 word{second}" for second in range(12)]
        (tmp_path / "words" / f"{name}.ctm").write_text("\n".join(lines) + "\n")
    return tmp_path / "data"


def client(path: Path, server: FakeServer, **more: object) -> str:
    told = {"kind": "openai", "server": "vllm", "base_url": server.base_url, "model": path.stem, "tries": 1, **more}
    path.write_text(json.dumps(told))  # JSON is YAML
    return str(path)


def test_from_recordings_to_a_validation(
    data: Path, ear: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "condensed"
    condense = ["qa", "condense", str(data), "-o", str(out), "--recogniser", ear, "--gender", "none", *ENERGY]
    condense += ["--words", str(tmp_path / "words"), "--data-root", str(data)]
    assert exit_code(condense) == 0
    said = capsys.readouterr().out
    assert "segments: 2 of 2 kept" in said
    assert "guesses of models, not the truth" in said
    segments = [json.loads(line) for line in (out / "segments.jsonl").read_text().splitlines()]
    assert {one["audio"]: one["emotion"] for one in segments} == {"calls/high.wav": "angry", "calls/low.wav": "sad"}
    words = [json.loads(line) for line in (out / "words.jsonl").read_text().splitlines()]
    assert len(words) == 24
    record = json.loads((out / "condense.json").read_text())
    assert record["settings"]["recognisers"][1] == "valence_from_classes"
    before = (out / "windows.jsonl").read_bytes()
    assert exit_code(condense) == 0
    assert (out / "windows.jsonl").read_bytes() == before

    capsys.readouterr()
    assert exit_code(["qa", "sweep", str(out)]) == 0
    assert "no optimum: without labels of people" in capsys.readouterr().out
    (tmp_path / "labels.csv").write_text("rec_id,emotion\ncalls/low.wav,sadness\ncalls/high.wav,joy\n")
    assert exit_code(["qa", "sweep", str(out), "--labels", str(tmp_path / "labels.csv"), "--upper", "0.5"]) == 0
    assert "highest UWA with at least 30% kept" in capsys.readouterr().out

    assert exit_code(["qa", "generate", str(out)]) == 0
    (out / "items.jsonl").rename(tmp_path / "templates.jsonl")
    with FakeServer(lambda asked: json.dumps(REPLY)) as server:
        writer = client(tmp_path / "writer.yaml", server, max_audios=0)
        assert exit_code(["qa", "generate", str(out), "--client", writer]) == 0
        assert server.count == 2
        assert exit_code(["qa", "generate", str(out), "--client", writer]) == 0
        assert server.count == 2
    assert "rejected, refers_to_text: 2" in capsys.readouterr().out

    def script(asked: Asked) -> str:
        return "It is loud." if asked.wavs else '{"rationale": "close", "rating": 4}'

    with FakeServer(script) as server:
        model = client(tmp_path / "hearing.yaml", server)
        judge = client(tmp_path / "judge.yaml", server, max_audios=0)
        sets = [str(out / "qa.jsonl"), str(tmp_path / "templates.jsonl")]
        validate = ["qa", "validate", *sets, "--model", model, "--judge", judge, "-o", str(tmp_path / "validated")]
        validate += ["--data-root", str(data), "--set", "repeats=1", "--set", "resamples=50"]
        assert exit_code(validate) == 0
    result = json.loads((tmp_path / "validated" / "validation.json").read_text())
    assert {score["value"] for score in result["scores"]} == {80.0}
    assert result["record"]["settings"]["config"]["labels_visible_to_judge"] is False


def test_a_recording_that_cannot_be_read_is_told_and_the_rest_is_done(
    data: Path, ear: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "calls" / "bad.wav").write_bytes(b"RIFF")
    out = tmp_path / "condensed"
    condense = ["qa", "condense", str(data / "calls"), "-o", str(out), "--recogniser", ear, "--words", "none", *ENERGY]
    assert exit_code([*condense, "--gender", "none", "--data-root", str(data)]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("calls/bad.wav: ")
    assert "segments: 2 of 2 kept" in captured.out
    rows = [json.loads(line) for line in (out / "recordings.jsonl").read_text().splitlines()]
    assert [row["rec_id"] for row in rows if row["error"]] == ["calls/bad.wav"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["condense", "nowhere", "-o", "out"], "no such file, folder or manifest"),
        (["condense", ".", "-o", "out", "--set", "thresholds.uper=1"], "did you mean 'upper'"),
        (["generate", "nowhere"], "there is no such file"),
        (["sweep", "nowhere"], "there is no such file"),
    ],
)
def test_wrong_use_is_one_line(
    arguments: list[str], told: str, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(data)
    assert exit_code(["qa", *arguments]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
