"""Expansion on disk: its files, that nothing in it passes as real, and that it survives being killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
from typer.testing import CliRunner

from earwitness.cli.corpus import app
from earwitness.core.errors import DataError, UsageError
from earwitness.core.hashing import sha256_file
from earwitness.corpora.inspection import inspect_files
from earwitness.corpora.making import is_marked_synthetic
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.splits import SpeakerSplit, split
from earwitness.speaker.identity_expansion import Expanded, ExpansionConfig, Guards, Judges, expand_identities
from earwitness.speaker.identity_expansion.pairs import read_pairs
from earwitness.speaker.identity_expansion.synthesisers import toy
from earwitness.speaker.identity_expansion.vectors import SpeakerVectors


def changed(config: ExpansionConfig, **changes: Any) -> ExpansionConfig:
    return ExpansionConfig.model_validate({**config.model_dump(), **changes})


def files(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in sorted(folder.rglob("*.*"))}


@pytest.fixture(scope="module")
def made(toy_corpus: Manifest, config: ExpansionConfig, tmp_path_factory: pytest.TempPathFactory) -> Expanded:
    return expand_identities(toy_corpus, tmp_path_factory.mktemp("made"), config)


def test_the_files(made: Expanded, toy_corpus: Manifest) -> None:
    folder = made.manifest.root
    assert len(made.pairs) == 4
    assert len(made.manifest) == 12
    pairs = read_pairs(folder / "pairs.tsv")
    parents = {name for pair in pairs for name in (pair.parent_a, pair.parent_b)}
    assert parents <= {f"v{number}" for number in range(12)}
    real, new = SpeakerVectors.read(folder / "spk_emb.npz"), SpeakerVectors.read(folder / "new_emb.npz")
    assert len(real) == 12
    assert set(new.ids) == {pair.new_id for pair in pairs}
    lines = {
        name: (folder / name).read_text().splitlines() for name in ("wav.scp", "utt2spk", "spk2gender", "raw.list")
    }
    assert [len(found) for found in lines.values()] == [12, 12, 4, 12]
    key, path = lines["wav.scp"][0].split()
    assert (folder / path).is_file()
    assert lines["utt2spk"][0].split() == [key, key.split("/")[0]]
    assert all(line.split()[1] in ("m", "f") for line in lines["spk2gender"])
    assert all(json.loads(line)["synthetic"] is True for line in lines["raw.list"])
    described = json.loads((folder / "manifest.json").read_text())
    assert described["counts"]["dropped"] == made.judged.dropped
    assert described["counts"]["identities"] == 4
    assert described["files_sha256"]["manifest.csv"] == sha256_file(folder / "manifest.csv")
    assert described["settings"]["pairs"]["neighbours"] == 5


def test_nothing_in_it_can_pass_as_real(made: Expanded, tmp_path: Path) -> None:
    table = made.manifest.table
    assert set(table["label"]) == {"spoof"}
    assert set(table["system"]) == {"inside-toy"}
    assert set(table["synthetic"]) == {"true"}
    assert table["family"].null_count() == 0
    assert all(is_marked_synthetic(made.manifest.resolve(row)) for row in made.manifest.rows())
    names = {f"v{number}" for number in range(12)}
    for row in made.manifest.rows():
        assert not names & set(row.path.replace("/", "_").split("_"))
        assert "parent" not in str(soundfile.SoundFile(made.manifest.resolve(row)).comment)
    with pytest.raises(DataError, match="a synthetic row is called bonafide"):
        made.manifest.with_table(table.with_columns(label=pl.lit("bonafide")))
    # a list that lost the mark is found out by the files themselves
    lied = pl.DataFrame({"path": table["path"], "label": ["bonafide"] * len(table)})
    problems = inspect_files(Manifest(lied, made.manifest.root)).problems
    assert len(problems) == 12
    assert "its own tag says that it is synthetic" in problems[0].what
    # the speaker protocol leaves spoofs out
    both = table.with_columns(split=pl.lit(None, pl.String))
    real = pl.DataFrame([{"id": f"r{k}", "path": f"{k}.wav", "speaker": f"r{k}", "corpus": "x"} for k in range(3)])
    sides = split(Manifest(pl.concat([real, both], how="diagonal"), tmp_path), SpeakerSplit(dev_speakers=1))
    assert set(sides.table.filter(pl.col("label") == "spoof")["split"]) == {None}


def test_a_second_run_does_nothing(
    made: Expanded, toy_corpus: Manifest, config: ExpansionConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = made.manifest.root
    before = files(folder)
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.flac")}
    monkeypatch.setattr(toy.Toy, "speak", lambda *_: pytest.fail("spoken again"))
    monkeypatch.setattr(toy.Toy, "embed", lambda *_: pytest.fail("embedded again"))
    again = expand_identities(toy_corpus, folder, config, resume=True)
    assert again.judged == made.judged
    assert files(folder) == before
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.flac")} == times
    # other filters need no synthesis either
    stricter = changed(config, filters={**config.filters.model_dump(), "few": 4})
    with pytest.raises(DataError, match="no utterance is left: few 12"):
        expand_identities(toy_corpus, folder, stricter, resume=True)
    with pytest.raises(UsageError, match="drawn"):
        expand_identities(toy_corpus, shutil.copytree(folder, tmp_path / "copy"), changed(config, seed=9), resume=True)


def test_workers_and_folders_change_nothing(
    made: Expanded, toy_corpus: Manifest, config: ExpansionConfig, tmp_path: Path
) -> None:
    again = expand_identities(toy_corpus, tmp_path / "again", config)
    assert files(again.manifest.root) == files(made.manifest.root)
    other = expand_identities(toy_corpus, tmp_path / "other", changed(config, seed=1))
    assert not set(files(other.manifest.root)) & {path for path in files(made.manifest.root) if path.endswith(".flac")}


def test_a_killed_run_goes_on(made: Expanded, toy_corpus: Manifest, config: ExpansionConfig, tmp_path: Path) -> None:
    code = (
        "import sys; from earwitness.corpora.manifest import Manifest\n"
        "from earwitness.speaker.identity_expansion import *\n"
        "config = ExpansionConfig.model_validate_json(sys.argv[3])\n"
        "expand_identities(Manifest.read(sys.argv[1]), sys.argv[2], config)\n"
    )
    out = tmp_path / "out"
    words = [sys.executable, "-c", code, str(toy_corpus.root / "manifest.csv"), str(out), config.model_dump_json()]
    run = subprocess.Popen(words)
    part = out / "utterances.csv.part.jsonl"
    while run.poll() is None and (not part.exists() or part.read_bytes().count(b"\n") < 2):
        time.sleep(0.005)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    if not part.exists():
        pytest.skip("the run ended before it could be killed")
    with part.open("a") as file:
        file.write('{"path": "torn')
    with pytest.raises(UsageError, match="unfinished run"):
        expand_identities(toy_corpus, out, config)
    resumed = expand_identities(toy_corpus, out, config, resume=True)
    assert resumed.judged == made.judged
    kept = {path: sha for path, sha in files(out).items() if not path.endswith(".part")}
    assert kept == files(made.manifest.root)


def test_what_fails_is_said_and_the_rest_is_made(toy_corpus: Manifest, config: ExpansionConfig, tmp_path: Path) -> None:
    table = toy_corpus.rebased(tmp_path).table
    (tmp_path / "bad.wav").write_text("no audio")
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    broken = pl.when(pl.col("id") == "v0-0.flac").then(pl.lit("bad.wav"))
    broken = broken.when(pl.col("id") == "v1-0.flac").then(pl.lit("silent.wav")).otherwise("path")
    table.with_columns(path=broken).write_csv(tmp_path / "m.csv")
    (tmp_path / "settings.json").write_text("")
    words = [
        "expand",
        str(tmp_path / "m.csv"),
        "--identities",
        "2",
        "--synthesiser",
        "toy",
        "-o",
        str(tmp_path / "out"),
    ]
    for name, value in (
        ("utterances", 2),
        ("averaging.least", 2),
        ("averaging.seconds", [0.2, 10]),
        ("filters.few", 1),
    ):
        words += ["--set", f"{name}={value}"]
    words += ["--set", "pairs.lowest=-1", "--set", "pairs.highest=1", "--set", "filters.seconds=[0.2, 15]"]
    words += ["--set", "filters.likeness=null", "--set", "filters.nearest=false", "--set", "filters.speech=null"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1, result.output
    assert "v0-0.flac: " in result.output
    assert "v1-0.flac: is silent" in result.output
    assert "4 utterances of 2 identities" in result.output
    assert "classes: 12 speakers with an embedding + 2 new identities" in result.output
    assert "not applied: likeness (switched off)" in result.output
    errors = pl.read_csv(tmp_path / "out" / "embeddings.csv")["error"].drop_nulls()
    assert len(errors) == 2


def test_a_recogniser_drops_what_is_not_said(toy_corpus: Manifest, config: ExpansionConfig, tmp_path: Path) -> None:
    rates = []

    def recognise(samples: np.ndarray, rate: int) -> str:
        rates.append(rate)
        return "something else"

    strict = changed(config, identities=1, filters={**config.filters.model_dump(), "words": 0.3, "few": None})
    with pytest.raises(DataError, match="no utterance is left: words 3"):
        expand_identities(toy_corpus, tmp_path, strict, judges=Judges(recogniser=recognise))
    assert rates == [16_000] * 3


def test_world_converts_the_parents_recordings(toy_corpus: Manifest, config: ExpansionConfig, tmp_path: Path) -> None:
    pytest.importorskip("pyworld")
    few = Guards([f"v{number}" for number in (0, 2, 4)])
    asked = changed(config, synthesiser={"kind": "world"}, identities=1, utterances=2)
    made = expand_identities(toy_corpus, tmp_path, asked, guards=few)
    (pair,) = made.pairs
    originals = {row.id: row for row in toy_corpus.rows()}
    for row in made.manifest.rows():
        source = originals[str(row.source_recording)]
        assert source.speaker in (pair.parent_a, pair.parent_b)
        assert row.transcript == source.transcript
        assert (row.label, row.system, row.family, row.sex) == ("spoof", "inside-world", "world", pair.sex)
        assert row.licence == "CC0-1.0; changed: made by WORLD (pyworld)"
        assert row.duration_s == pytest.approx(source.duration_s, rel=0.1)


def test_refusals(toy_corpus: Manifest, config: ExpansionConfig, tmp_path: Path) -> None:
    manifest = str(toy_corpus.root / "manifest.csv")
    for words, expected in [
        (["--identities", "2", "--twins"], "one at a time"),
        ([], "nothing is asked"),
        (["--twins", "--control", "lerp"], "belongs to --identities"),
        (["--identities", "2", "--per-row", "2"], "belongs to --twins"),
        (["--identities", "2", "--vocoder", "world"], "belongs to --twins and --splices"),
        (["--identities", "2", "--synthesiser", "worl"], "unknown kind 'worl'"),
        (["--identities", "2", "--control", "lrp"], "control"),
        (["--identities", "2", "--set", "pair.uses=2"], "did you mean 'pairs'"),
        (["--identities", "2", "--verifier", "speakr"], "Did you mean 'speaker"),
    ]:
        error = CliRunner().invoke(app, ["expand", manifest, *words, "-o", str(tmp_path / "x")]).exception
        assert error is not None
        assert expected in str(error), words
    with pytest.raises(DataError, match=r"0 speaker\(s\) can be parents"):
        expand_identities(toy_corpus, tmp_path / "y", changed(config, averaging={"least": 30, "seconds": [0.2, 10]}))
    apart = changed(config, pairs={"lowest": 0.9999, "highest": 0.99995})
    with pytest.raises(DataError, match="no two of 12 speakers are a pair"):
        expand_identities(toy_corpus, tmp_path / "z", apart)
