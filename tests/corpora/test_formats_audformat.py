"""audformat: headers, filewise and segmented tables, labels by code, and no pickle ever opened."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from earwitness.core.errors import DataError
from earwitness.corpora.formats.audformat import read_audformat, write_audformat

HEADER = """\
name: emo
source: https://example.org
usage: research
languages: [deu]
description: Ten actors.
media:
  microphone: {type: audio, format: wav, channels: 1, sampling_rate: 16000}
raters:
  gold: {type: human}
splits:
  evaluation: {type: test}
schemes:
  emotion:
    dtype: str
    labels: [anger, neutral]
  confidence: {dtype: float, minimum: 0, maximum: 1}
  speaker: {dtype: int, labels: people}
  transcription:
    dtype: str
    labels: {a01: Der Lappen liegt auf dem Eisschrank., a02: Das will sie am Mittwoch abgeben.}
  duration: {dtype: time}
tables:
  emotion:
    type: filewise
    split_id: evaluation
    columns:
      emotion: {scheme_id: emotion, rater_id: gold}
      emotion.confidence: {scheme_id: confidence, rater_id: gold}
  files:
    type: filewise
    media_id: microphone
    columns:
      speaker: {scheme_id: speaker}
      transcription: {scheme_id: transcription}
      duration: {scheme_id: duration}
misc_tables:
  people:
    levels: {speaker: int}
    columns:
      age: {scheme_id: age}
      gender: {scheme_id: gender}
  unused:
    levels: {x: int}
"""
TABLES = {
    "emotion": 'file,emotion,emotion.confidence\n"wav/a, 1.wav",anger,0.9\nwav/b.wav,,\n',
    "files": (
        'file,speaker,transcription,duration\n"wav/a, 1.wav",3,a01,0 days 00:00:01.898250\n'
        "wav/b.wav,8,a02,0 days 01:00:02\nwav/c.wav,,,\n"
    ),
    "people": "speaker,age,gender\n3,31,male\n8,34,female\n",
}


def database(folder: Path, header: str = HEADER, **tables: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "db.yaml").write_text(header, encoding="utf-8")
    for name, text in {**TABLES, **tables}.items():
        (folder / f"db.{name}.csv").write_text(text, encoding="utf-8")
    return folder


def segmented(folder: Path, rows: str) -> Path:
    header = (
        "name: x\nsource: ''\nusage: other\ntables:\n  segments:\n    type: segmented\n    columns: {emotion: {}}\n"
    )
    return database(folder, header, segments=f"file,start,end,emotion\n{rows}")


def test_tables_are_joined_and_codes_explained(tmp_path: Path) -> None:
    imported = read_audformat(database(tmp_path))
    a, b, c = imported.manifest.rows()
    assert (a.path, a.emotion, a.speaker, a.sex, a.age) == ("wav/a, 1.wav", "anger", "3", "m", 31.0)
    assert (a.transcript, a.duration_s, a.sample_rate) == ("Der Lappen liegt auf dem Eisschrank.", 1.89825, 16000)
    assert (a.split, c.split) == ("test", None)
    assert (b.emotion, b.sex, b.duration_s, c.speaker) == (None, "f", 3602.0, None)
    table = imported.manifest.table
    assert table["transcription_code"].to_list() == ["a01", "a02", None]
    assert table["emotion.confidence"].to_list() == ["0.9", None, None]
    assert imported.notes == (
        "of the header not in the manifest: description, source, usage, languages",
        "raters of the header are not in the manifest: gold",
        "misc tables that no scheme points at left out: unused",
    )
    assert read_audformat(tmp_path / "db.yaml").manifest.table.equals(table)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0 days 00:00:01.500000", 1.5),
        ("0 days 00:00:00.123456789", 0.123456789),
        ("1 days", 86400.0),
        ("2 days 01:00:00", 176400.0),
        ("00:01:00.5", 60.5),
        ("0 days 00:00:00.000001", 1e-6),
    ],
)
def test_times(tmp_path: Path, text: str, seconds: float) -> None:
    imported = read_audformat(segmented(tmp_path, f"a.wav,0 days,{text},anger\n"))
    assert (imported.manifest.row(0).start, imported.manifest.row(0).end) == (0.0, seconds)


def test_segments_inherit_from_their_files(tmp_path: Path) -> None:
    header = yaml.safe_load(HEADER)
    header["tables"]["turns"] = {"type": "segmented", "columns": {"emotion": {"scheme_id": "emotion"}}}
    turns = "file,start,end,emotion\nwav/b.wav,0 days,0 days 00:00:01,neutral\nwav/b.wav,0 days 00:00:01,NaT,\n"
    turns += "wav/b.wav,0 days 00:00:02,0 days 00:00:02,anger\n"
    imported = read_audformat(database(tmp_path, yaml.safe_dump(header), turns=turns))
    rows = [(row.path, row.start, row.end, row.emotion, row.speaker) for row in imported.manifest.rows()]
    assert sorted(rows, key=str) == sorted(
        [
            ("wav/a, 1.wav", None, None, "anger", "3"),
            ("wav/c.wav", None, None, None, None),
            ("wav/b.wav", 0.0, 1.0, "neutral", "8"),
            ("wav/b.wav", 1.0, None, None, "8"),
            ("wav/b.wav", None, None, "anger", "8"),
        ],
        key=str,
    )
    assert any("of no length" in note for note in imported.notes)


def test_parquet_is_read_as_csv_is(tmp_path: Path) -> None:
    rows = "a.wav,0 days 00:00:00.100000,0 days 00:00:00.300000,anger\na.wav,0 days 00:00:01,,neutral\n"
    expected = read_audformat(segmented(tmp_path, rows)).manifest.table
    (tmp_path / "db.segments.csv").unlink()
    times = pl.Series([100_000_000, 1_000_000_000]), pl.Series([300_000_000, None])
    table = pl.DataFrame(
        {
            "file": ["a.wav", "a.wav"],
            "start": times[0].cast(pl.Duration("ns")),
            "end": times[1].cast(pl.Duration("ns")),
            "emotion": pl.Series(["anger", "neutral"], dtype=pl.Categorical),
        }
    )
    table.write_parquet(tmp_path / "db.segments.parquet")
    assert read_audformat(tmp_path).manifest.table.equals(expected)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    class Canary:
        def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
            return (Path.touch, (tmp_path / "canary",))

    folder = segmented(tmp_path / "db", "a.wav,0 days,,anger\n")
    (folder / "db.segments.csv").rename(folder / "kept.csv")
    (folder / "db.segments.pkl").write_bytes(pickle.dumps(Canary()))
    with pytest.raises(DataError, match=r"only as a pickle, which is not opened.*storage_format"):
        read_audformat(folder)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("name: [", "db.yaml: is not valid YAML"),
        ("!!python/object/apply:os.system ['true']", "is not valid YAML"),
        ("tables: {emotion: {type: filewise, media_id: m}}\nmedia: {m: {sampling_rate: fast}}", "`sample_rate`"),
        ("name: x", "names no tables"),
        ("tables: {a: {type: other}}", "table 'a' has no known type"),
        ("tables: {'../a': {type: filewise}}", "is no part of a file name"),
        ("tables: {a: {type: filewise}}", r"no file of the table 'a'.*db.a.csv or db.a.parquet"),
        ("tables: {emotion: {type: segmented}}", "table 'emotion' has no column `start`"),
        ("tables: {emotion: {type: filewise, columns: [x]}}", "`columns` is no list"),
        (
            "schemes: {e: {labels: gone}}\ntables: {emotion: {type: filewise, columns: {emotion: {scheme_id: e}}}}",
            "there is no misc table 'gone'",
        ),
    ],
)
def test_faults_of_the_header(tmp_path: Path, header: str, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        read_audformat(database(tmp_path, header))


def test_other_faults(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no db\.yaml"):
        read_audformat(tmp_path)
    for row, expected in [("a.wav,soon,,x", "row 1: 'soon' is no time"), (",0 days,,x", "row 1: no file")]:
        with pytest.raises(DataError, match=f"table 'segments', {expected}"):
            read_audformat(segmented(tmp_path, f"{row}\n"))


def test_tables_that_differ_keep_both_values(tmp_path: Path) -> None:
    header = "name: x\ntables:\n  one: {type: filewise}\n  two: {type: filewise}\n"
    tables = {"one": "file,emotion,label\na.wav,anger,x\n", "two": "file,emotion\na.wav,neutral\nb.wav,joy\n"}
    imported = read_audformat(database(tmp_path, header, **tables))
    table = imported.manifest.table
    assert table.select("path", "emotion", "two.emotion", "audformat_label").rows() == [
        ("a.wav", "anger", "neutral", "x"),
        ("b.wav", None, "joy", None),
    ]
    assert "tables differ on `emotion`; what 'two' says is in `two.emotion`" in imported.notes


def test_what_is_written(make: Any, tmp_path: Path) -> None:
    rows = [
        {
            "path": 'b, "x".wav',
            "speaker": "s2",
            "sex": "f",
            "age": 30.0,
            "transcript": "zwei\nZeilen",
            "licence": "CC0-1.0",
        },
        {
            "path": "a.wav",
            "start": 0.1,
            "end": 1e-9 + 90061,
            "speaker": "s1",
            "sex": "x",
            "licence": "CC0-1.0",
            "label": "spoof",
        },
        {"path": "a.wav", "id": "second", "start": 2.0, "duration_s": 9.5, "licence": "CC0-1.0"},
    ]
    notes = write_audformat(make(rows), tmp_path / "db")
    assert notes == ("1 time(s) rounded to nanoseconds",) or notes == ()
    header = yaml.safe_load((tmp_path / "db/db.yaml").read_text())
    assert header["license"] == "CC0-1.0"
    assert header["schemes"]["speaker"] == {"dtype": "str", "labels": ["s1", "s2"]}
    assert header["schemes"]["gender"]["labels"] == ["female", "x"]
    assert header["tables"]["segments"]["columns"]["label"] == {"scheme_id": "label"}
    lines = (tmp_path / "db/db.segments.csv").read_text().split("\n")
    assert lines[1].startswith("../a.wav,0 days 00:00:00.100000,1 days 01:01:01.000000001,")
    assert lines[2].startswith("../a.wav,0 days 00:00:02,,")
    again = read_audformat(tmp_path / "db").manifest.rebased(tmp_path)
    assert [(row.id, row.start, row.sex, row.duration_s) for row in again.rows()] == [
        ('b, "x".wav', None, "f", None),
        ("a.wav", 0.1, "x", None),
        ("second", 2.0, None, 9.5),
    ]
    assert again.row(0).transcript == "zwei\nZeilen"


def test_the_same_stretch_twice_is_refused(make: Any, tmp_path: Path) -> None:
    rows = [{"path": "a.wav", "id": f"{i}", "start": 1.0, "end": 2.0} for i in range(2)]
    with pytest.raises(DataError, match="row 2, column `path`: is the same stretch"):
        write_audformat(make(rows), tmp_path / "db")
