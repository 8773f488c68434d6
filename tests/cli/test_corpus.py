"""`earwitness corpus`: from files to a manifest, its faults, its splits and its numbers."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf
from typer.testing import CliRunner, Result

from earwitness.cli.corpus import app
from earwitness.core.errors import DataError, RecipeError, UsageError
from earwitness.corpora.manifest import Manifest


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def folder(tmp_path: Path, speechlike: Callable[..., Any]) -> Path:
    """Four recordings a class."""
    for i in range(8):
        file = tmp_path / "data" / ("real" if i % 2 else "fake") / f"{i}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        sf.write(file, speechlike(0.5, 8000, i), 8000)
    return tmp_path / "data"


@pytest.fixture
def manifest(folder: Path) -> Path:
    assert run("import", "folder", folder, "-o", folder / "m.csv").exit_code == 0
    return folder / "m.csv"


def test_import_reads_what_the_files_say(folder: Path, manifest: Path) -> None:
    rows = list(Manifest.read(manifest).rows())
    assert len(rows) == 8
    assert {(row.label, row.sample_rate, row.duration_s) for row in rows} == {
        ("bonafide", 8000, 0.5),
        ("spoof", 8000, 0.5),
    }


def test_import_lists_what_cannot_be_read_and_keeps_its_row(folder: Path) -> None:
    (folder / "real/bad.wav").write_text("no audio")
    result = run("import", "folder", folder, "-o", folder / "m.parquet")
    assert result.exit_code == 1
    assert "real/bad.wav: " in result.output
    assert len(Manifest.read(folder / "m.parquet")) == 9


def test_check_of_a_sound_manifest(manifest: Path) -> None:
    result = run("check", manifest, "--decode")
    assert result.exit_code == 0, result.output
    assert "8 rows, 0 problem(s) in rows, 0 leak(s)" in result.output


def test_check_of_files_does_without_torch(manifest: Path) -> None:
    """It costs seconds and a third of a gigabyte, and tables of millions are checked."""
    code = (
        "import sys; from earwitness.cli.main import exit_code; code = exit_code(['corpus', 'check', sys.argv[1]]);"
        "sys.exit(code or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(manifest)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_check_lists_every_kind_of_problem(manifest: Path, folder: Path) -> None:
    (folder / "fake/0.wav").unlink()
    (folder / "fake/2.wav").write_bytes((folder / "real/1.wav").read_bytes())
    (folder / "fake/4.wav").write_bytes(b"text")
    text = manifest.read_text().replace("real/7.wav,0.5,8000", "real/7.wav,0.9,16000")
    manifest.write_text(text.replace(",label\n", ",label,split\n"))
    result = run("check", manifest, "--json")
    assert result.exit_code == 1
    problems = {(found["id"], found["what"]) for found in json.loads(result.stdout)["problems"]}
    assert {name for name, _ in problems} == {"fake/0.wav", "fake/4.wav", "real/1.wav", "real/7.wav"}
    assert ("real/1.wav", "is the same file as fake/2.wav") in problems
    assert ("real/7.wav", "has 8000 Hz, not 16000 Hz") in problems
    assert ("real/7.wav", "lasts 0.50 s, not 0.90 s") in problems


def test_check_finds_truncated_files_by_decoding(manifest: Path, folder: Path) -> None:
    import numpy as np

    noise = np.random.default_rng(0).normal(0, 0.1, 4000)
    sf.write(folder / "real/3.wav", noise, 8000, format="FLAC")
    data = (folder / "real/3.wav").read_bytes()
    (folder / "real/3.wav").write_bytes(data[: len(data) // 2])
    assert run("check", manifest).exit_code == 0
    result = run("check", manifest, "--decode")
    assert result.exit_code == 1
    assert "real/3.wav: " in result.output


def test_check_tells_leaks_by_task(folder: Path, manifest: Path) -> None:
    rows = ["path,speaker,label,split", "real/1.wav,a,bonafide,train", "fake/2.wav,a,spoof,dev"]
    manifest.write_text("\n".join(rows) + "\n")
    assert run("check", manifest, "--task", "detection").exit_code == 0
    result = run("check", manifest, "--task", "speaker")
    assert result.exit_code == 1
    assert "speaker 'a' (1 in train, 1 in dev)" in result.output
    assert run("check", manifest, "--task", "speaker", "--shared-voice", "a").exit_code == 0
    with pytest.raises(UsageError, match="unknown task"):
        raise run("check", manifest, "--task", "age").exception  # type: ignore[misc]


def test_check_of_manner_reads_ages_and_emotions(folder: Path, manifest: Path) -> None:
    rows = ["real/1.wav,a,bonafide,emodb,angr,140", "real/3.wav,b,bonafide,emodb,anger,30"]
    manifest.write_text("\n".join(["path,speaker,label,corpus,emotion,age", *rows]) + "\n")
    assert run("check", manifest).exit_code == 0
    result = run("check", manifest, "--task", "manner")
    assert result.exit_code == 1
    assert "2 rows, 2 problem(s) in rows, 0 leak(s)" in result.output
    assert "real/1.wav: an age of 140 years, which no speaker has" in result.output
    assert "real/1.wav: the label 'angr' is not in the map of the corpus 'emodb'" in result.output


def test_check_of_a_table_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,label\na.wav,fake\n")
    result = run("check", tmp_path / "m.csv")
    assert isinstance(result.exception, DataError)
    assert "row 1, column `label`" in str(result.exception)


def test_split_by_rule_and_by_file(manifest: Path, folder: Path) -> None:
    text = manifest.read_text().splitlines()
    speakers = [f"{line},s{i}" for i, line in enumerate(text[1:])]
    manifest.write_text("\n".join([f"{text[0]},speaker", *speakers]) + "\n")
    out = folder / "lists" / "split.jsonl"
    result = run("split", manifest, "--rule", "by_column", "--set", "dev=0.4", "--set", "seed=2", "-o", out)
    assert result.exit_code == 0, result.output
    done = Manifest.read(out)
    assert set(done.table["split"]) <= {"train", "dev", "test"}
    assert all(done.resolve(row).is_file() for row in done.rows())
    rule = folder / "rule.yaml"
    rule.write_text("kind: by_column\ndev: 0.4\n")
    run("split", manifest, "--rule", rule, "--set", "seed=2", "-o", folder / "again.jsonl")
    assert Manifest.read(folder / "again.jsonl").table["split"].equals(done.table["split"])


def test_split_states_what_it_leaves_out(manifest: Path, folder: Path) -> None:
    result = run("split", manifest, "--rule", "speaker", "--set", "dev_speakers=1", "-o", folder / "s.csv")
    assert isinstance(result.exception, DataError)
    text = manifest.read_text().splitlines()
    manifest.write_text("\n".join([f"{text[0]},speaker", *(f"{line},s{i}" for i, line in enumerate(text[1:]))]) + "\n")
    result = run("split", manifest, "--rule", "speaker", "--set", "dev_speakers=1", "-o", folder / "s.csv")
    assert "left out: 4 (4 spoof)" in result.output
    assert "4 left out: spoof" in result.output


def test_split_refusals(manifest: Path, folder: Path) -> None:
    for words, kind, expected in [
        (["--rule", "detecton"], RecipeError, "Did you mean 'detection'"),
        (["--rule", "by_column", "--set", "seed"], UsageError, "not name=value"),
        (["--rule", "by_column", "--set", "seed=["], UsageError, "not a YAML value"),
        (["--rule", "none.yaml"], RecipeError, "no such file"),
    ]:
        error = run("split", manifest, *words, "-o", folder / "s.csv").exception
        assert isinstance(error, kind)
        assert expected in str(error)


def test_describe_counts(manifest: Path) -> None:
    result = run("describe", manifest)
    assert result.exit_code == 0
    assert "bonafide" in result.output
    numbers = json.loads(run("describe", manifest, "--json").stdout)
    assert numbers["total"]["rows"] == 8
    assert numbers["total"]["hours"] == pytest.approx(8 * 0.5 / 3600)
    assert [(count["name"], count["rows"]) for count in numbers["labels"]] == [("bonafide", 4), ("spoof", 4)]
    assert numbers["rates"] == [
        {"name": "8000", "rows": 8, "hours": pytest.approx(4 / 3600), "speakers": 0, "systems": 0}
    ]
    assert numbers["corpora"] == []


OUTPUTS = {"kaldi": "k", "lhotse": "l", "nemo": "m.jsonl", "audformat": "db", "rttm": "m.rttm", "textgrid": "t"}


@pytest.mark.parametrize("form", OUTPUTS)
def test_export_and_import_again(form: str, manifest: Path, folder: Path) -> None:
    out = folder / OUTPUTS[form]
    result = run("export", form, manifest, "-o", out)
    assert result.exit_code == 0, result.output
    assert "8 rows: " in result.output
    listed = ["left behind" in result.output, "`label`" in result.output]
    assert listed == [form in ("rttm", "textgrid"), form == "textgrid"]
    for file in [*folder.glob("real/*.wav"), *folder.glob("fake/*.wav")] if form == "textgrid" else []:
        file.rename(folder / "t" / file.name)  # beside the list, as its users keep them
    again = run("import", form, out, "-o", folder / "again.csv")
    assert again.exit_code == 0, again.output
    rows = list(Manifest.read(folder / "again.csv").rows())
    assert sorted((Path(row.path).name, row.duration_s) for row in rows) == [(f"{i}.wav", 0.5) for i in range(8)]
    if "`label`" not in result.output:
        assert {row.label for row in rows} == {"bonafide", "spoof"}


def test_export_refusals(manifest: Path, tmp_path: Path) -> None:
    result = run("export", "kaldy", manifest, "-o", tmp_path / "x")
    assert isinstance(result.exception, UsageError)
    assert "Did you mean 'kaldi'" in str(result.exception)
    result = run("export", "ctm", manifest, "-o", tmp_path / "x.ctm")
    assert isinstance(result.exception, DataError)
    assert "column `transcript`" in str(result.exception)
    assert not (tmp_path / "x.ctm").exists()


def test_names_cannot_drive_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,system,label\n\x1b[2Ja.wav,[red]x\x1b[2J,spoof\n")
    for command in ("check", "describe"):
        output = run(command, tmp_path / "m.csv").output
        assert "\x1b[2J" not in output
    assert "[red]x" in output


def test_everything_real(shared_data: Path, tmp_path: Path) -> None:
    assert run("import", "earwitness-data", shared_data, "-o", tmp_path / "all.parquet").exit_code == 0
    numbers = json.loads(run("describe", tmp_path / "all.parquet", "--json").stdout)
    labels = []
    for file in shared_data.glob("*/manifest.csv"):
        with file.open(encoding="utf-8", newline="") as lines:
            labels += [row["label"] for row in csv.DictReader(lines)]
    assert numbers["total"]["rows"] == sum(label != "n/a" for label in labels)
    assert {count["name"]: count["rows"] for count in numbers["labels"]} == {
        label: labels.count(label) for label in ("bonafide", "spoof")
    }


def test_export_of_a_protocols_list(tmp_path: Path) -> None:
    lines = "LA_0069 LA_D_1047731 - - bonafide\nLA_0070 LA_D_1105538 - A01 spoof\n"
    (tmp_path / "list.txt").write_text(lines)
    (tmp_path / "m.csv").write_text(
        "id,path,speaker,system,label\nLA_D_1047731,a.flac,LA_0069,,bonafide\nLA_D_1105538,b.flac,LA_0070,A01,spoof\n"
    )
    words = ["export", "asvspoof2019-la", str(tmp_path / "m.csv"), "-o", str(tmp_path / "out.txt")]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert (tmp_path / "out.txt").read_text() == lines
