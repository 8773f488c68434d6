"""`earwitness flan` from the command line: errors in one line, exit codes, and what is written."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from earwitness.cli.main import exit_code
from earwitness.speech_llm.clients.fake_server import Asked, FakeServer, Reply
from earwitness.speech_llm.flan.reading import read_records
from earwitness.speech_llm.items import Item, read_items, write_items


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows = [
        {
            "path": f"{place}.wav",
            "speaker": f"v{place // 4}",
            "sex": "mf"[place // 4 % 2],
            "emotion": ["glad", "sad"][place % 2],
        }
        for place in range(40)
    ]
    path = tmp_path / "all.csv"
    pl.DataFrame(rows).write_csv(path)
    return path


def rewrite(asked: Asked) -> str:
    part = asked.text[asked.text.index("Records:") : asked.text.index("Answer in this form")]
    lines = [json.loads(line) for line in part.splitlines() if line.startswith("{")]
    return json.dumps({"records": [line | {"instruction": f"Kindly tell: {line['instruction']}"} for line in lines]})


def test_from_a_manifest_to_varied_and_drawn_records(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, varied, drawn = tmp_path / "flan", tmp_path / "varied.jsonl", tmp_path / "drawn.jsonl"
    tasks = ["--task", "emotion recognition", "--task", "Gender Recognition", "--task", "Speaker Verification"]
    assert exit_code(["flan", "convert", str(manifest), "-o", str(out), *tasks, "--pairs", "20"]) == 0
    assert "40 Emotion Recognition" in capsys.readouterr().out
    assert json.loads((out / "run.json").read_text(encoding="utf-8"))["seed"] == 0
    assert exit_code(["flan", "validate", str(out)]) == 0
    with FakeServer(rewrite) as server:
        client = tmp_path / "client.yaml"
        client.write_text(f"kind: openai\nserver: vllm\nbase_url: {server.base_url}\nmodel: fake-1\nmax_audios: 0\n")
        command = ["flan", "vary", str(out), "-o", str(varied), "--client", str(client)]
        assert exit_code(command) == 0
        first, asked = varied.read_bytes(), server.count
        assert exit_code(command) == 0
        assert (varied.read_bytes(), server.count) == (first, asked)
    assert all(record.instruction.startswith("Kindly tell:") for record in read_records(varied))
    assert "records varied (100.0 %" in capsys.readouterr().out
    assert exit_code(["flan", "sample", str(varied), "-o", str(drawn), "--size", "300", "-a", "0"]) == 0
    assert exit_code(["flan", "validate", str(drawn)]) == 0
    assert len(list(read_records(drawn))) == 300
    capsys.readouterr()
    assert exit_code(["flan", "describe", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["clips"] == 40
    assert exit_code(["flan", "baseline", str(out)]) == 0
    assert "majority answer" in capsys.readouterr().out


def test_faults_and_leaks_give_exit_1_and_are_listed(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "flan"
    assert exit_code(["flan", "convert", str(manifest), "-o", str(out), "--task", "Emotion Recognition"]) == 0
    lines = [json.loads(line) for path in sorted(out.rglob("*.jsonl")) for line in path.read_text().splitlines()]
    leaking = tmp_path / "leaking.jsonl"
    twice = [lines[0], {**lines[0], "uuid": "x", "split": ["dev"] if lines[0]["split"] != ["dev"] else ["test"]}]
    leaking.write_text("".join(json.dumps(line) + "\n" for line in twice), encoding="utf-8")
    capsys.readouterr()
    assert exit_code(["flan", "validate", str(leaking)]) == 1
    assert capsys.readouterr().out.count("leak: ") == 2
    leaking.write_text(json.dumps({**lines[0], "split": "train"}) + "\n{\n", encoding="utf-8")
    assert exit_code(["flan", "validate", str(leaking)]) == 1
    told = capsys.readouterr()
    assert "line 1: bad split" in told.out
    assert "line 2: broken JSON" in told.out
    assert "2 records, 2 at fault" in told.err
    assert exit_code(["flan", "describe", str(leaking)]) == 2
    assert exit_code(["flan", "validate", str(tmp_path / "none")]) == 2
    assert exit_code(["flan", "convert", str(manifest), "-o", str(out), "--task", "Emotion"]) == 2
    assert "there is no task 'Emotion'" in capsys.readouterr().err


def test_items_become_records_and_records_items(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = [
        Item("a", "clip", "x.wav", "How?", "sadly", "CE", 1.0, 2.0),
        Item("b", "clip", "x.wav", "What?", "rain", "C"),
    ]
    given, records, back = (tmp_path / name for name in ("items.jsonl", "records.jsonl", "back.jsonl"))
    write_items(given, items)
    assert exit_code(["flan", "convert", str(given), "--from", "items", "-o", str(records)]) == 0
    assert exit_code(["flan", "convert", str(records), "--from", "records", "-o", str(back)]) == 0
    assert read_items(back) == items
    assert "2 items, 0 records that are none" in capsys.readouterr().err


def test_records_become_items_whose_paths_the_benchmark_can_read(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, items = tmp_path / "flan", tmp_path / "items.jsonl"
    tasks = ["--task", "Emotion Recognition", "--task", "Speaker Verification"]
    assert exit_code(["flan", "convert", str(manifest), "-o", str(out), *tasks]) == 0
    capsys.readouterr()
    command = ["flan", "convert", str(out), "--from", "records", "-o", str(items), "--data-root", str(tmp_path)]
    assert exit_code(command) == 1
    assert {item.audio for item in read_items(items)} == {f"{place}.wav" for place in range(40)}
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 12  # ten records that are no questions, how many more, and the sum
    assert told[-2].endswith(" more")


def test_a_model_that_fails_is_quoted(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "flan"
    assert exit_code(["flan", "convert", str(manifest), "-o", str(out), "--task", "Emotion Recognition"]) == 0
    with FakeServer(Reply("no such model", status=404)) as server:
        client = tmp_path / "client.yaml"
        client.write_text(f"kind: openai\nbase_url: {server.base_url}\nmodel: fake-1\nmax_audios: 0\n")
        words = [str(out), "-o", str(tmp_path / "varied.jsonl"), "--client", str(client)]
        assert exit_code(["flan", "vary", *words, "--tries", "1"]) == 1
    assert "40 record(s): error: HTTP 404: no such model" in capsys.readouterr().err
