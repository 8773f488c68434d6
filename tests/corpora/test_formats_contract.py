"""Every format: what it writes reads back the same, or stands in a note; and files come back as they were."""

from __future__ import annotations

import contextlib
import gzip
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earwitness.core.errors import EarwitnessError, UsageError
from earwitness.corpora.formats import FORMATS, write_corpus
from earwitness.corpora.formats.times import duration_of, end_of, shown
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers import READERS

OUT = {"nemo": "m.jsonl", "rttm": "m.rttm", "ctm": "m.ctm", "lhotse-cuts": "cuts.jsonl", "textgrid": "wav"}
NAMES = [*FORMATS, "lhotse-cuts"]
FULL: dict[str, Any] = {
    "start": 0.1,
    "end": 0.3,
    "channel": 1,
    "duration_s": 12.25,
    "sample_rate": 16000,
    "speaker": "anna",
    "label": "spoof",
    "system": "hifigan",
    "family": "gan",
    "codec": "opus",
    "sex": "f",
    "age": 31.5,
    "emotion": "anger",
    "intensity": 0.75,
    "language": "de",
    "transcript": "Wörter",
    "source_recording": "src:1",
    "split_group": "g",
    "licence": "CC0-1.0",
    "split": "dev",
    "room": "hall 7",
    "snr": "10",
}


def written(name: str, manifest: Manifest, folder: Path) -> tuple[Path, tuple[str, ...]]:
    out = folder / OUT.get(name, "out")
    return out, FORMATS[name.removesuffix("-cuts")].write(manifest, out)


def read(name: str, path: Path) -> Manifest:
    return READERS[name.removesuffix("-cuts")](path).manifest


def contents(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(path.rglob("*.*")) + sorted(path.glob("[!.]*"))
    return {
        file.name: gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        for file in files
        if file.is_file()
    }


def full_rows() -> list[dict[str, Any]]:
    second = {"start": 1.7, "end": 3.30000001, "transcript": "zwei", "age": 40.0}
    return [
        {"id": "anna-1", "path": "wav/a.wav", **FULL},
        {"id": "anna-2", "path": "wav/a.wav", **FULL, **second},
        {"id": "bert-1", "path": "wav/b.wav", **FULL, "speaker": "bert", "sex": "m", "transcript": "drei"},
    ]


def test_readers_and_writers_are_one_table() -> None:
    assert list(FORMATS) == ["kaldi", "lhotse", "nemo", "audformat", "rttm", "ctm", "textgrid"]
    assert all(READERS[name] is known.read and known.write.__doc__ for name, known in FORMATS.items())
    with pytest.raises(UsageError, match="Did you mean 'kaldi'"):
        write_corpus("kaldy", Manifest(pl.DataFrame({"path": ["a"]}), Path()), "x")


@pytest.mark.parametrize("name", NAMES)
def test_every_column_comes_back_or_is_named(name: str, make: Any, tmp_path: Path) -> None:
    manifest = make(full_rows())
    (tmp_path / "wav").mkdir()
    for file in ("a", "b"):
        (tmp_path / f"wav/{file}.wav").touch()
    out, notes = written(name, manifest, tmp_path)
    again = read(name, out).rebased(tmp_path).table
    named = set(re.findall(r"`(\w+)`", " ".join(note for note in notes if "left behind" in note)))
    assert again.height == 3
    for column in set(manifest.table.columns) - named:
        assert again[column].to_list() == manifest.table[column].to_list(), column
    named_anyway = {"path"} if name in ("rttm", "ctm", "textgrid") else set()
    assert named & {"start", "end", "transcript", "path"} == named_anyway
    assert again["path"].to_list() == manifest.table["path"].to_list()  # found again beside the list


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_once_is_written_the_same_again(name: str, make: Any, tmp_path: Path) -> None:
    out, _ = written(name, make(full_rows()), tmp_path / "one")
    imported = READERS[name.removesuffix("-cuts")](out)
    second, notes = written(name, imported.manifest, tmp_path / "two")
    first = contents(out)
    assert first
    assert contents(second) == first
    assert not [note for note in notes if "left behind" in note and "`path`" not in note]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("ctm", "rttm", "textgrid")])
def test_whole_files_without_anything_else(name: str, make: Any, tmp_path: Path) -> None:
    rows = [{"path": f"{i}.wav", "id": f"{i}", "duration_s": 1.5, "sample_rate": 8000} for i in range(3)]
    out, notes = written(name, make(rows), tmp_path)
    again = read(name, out).rebased(tmp_path).table
    assert again["id"].to_list() == ["0", "1", "2"]
    assert again["path"].to_list() == ["0.wav", "1.wav", "2.wav"]
    assert again["duration_s"].to_list() == [1.5] * 3
    assert again["start"].null_count() == again["end"].null_count() == 3
    assert bool(notes) == (name in ("kaldi", "lhotse-cuts"))


words = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=8).filter(
    lambda text: text.lower() != "n/a"
)
phrases = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\n\r"), min_size=1, max_size=12).filter(
    lambda text: text.strip(" \t\r\n\v\f") == text and text.strip().lower() not in ("", "n/a")
)
moments = st.floats(0, 1e5)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_odd_names_and_times_survive(name: str, tmp_path: Path, data: st.DataObject) -> None:
    transcript = words if name in ("ctm", "rttm") else phrases
    texts = data.draw(st.lists(st.tuples(words, words, transcript), min_size=1, max_size=4, unique_by=lambda t: t[0]))
    times = [sorted(data.draw(st.tuples(moments, moments))) for _ in texts]
    rows = [
        {"path": f"my audio/{i} 'x' \"y\".wav", "id": id_, "recording": f"r{i}", "speaker": speaker, "transcript": text}
        | {"start": start, "end": end + 1, "channel": 0, "duration_s": 2e5, "sample_rate": 8000, "tier": 't"1"'}
        for i, ((id_, speaker, text), (start, end)) in enumerate(zip(texts, times, strict=True))
    ]
    if name == "kaldi":
        rows.sort(key=lambda row: row["id"].encode())
    manifest = Manifest(pl.DataFrame(rows), tmp_path)
    folder = tmp_path / data.draw(st.uuids()).hex
    out, notes = written(name, manifest, folder)
    again = read(name, out).rebased(tmp_path).table
    lost = " ".join(notes)
    for column in ("id", "path", "speaker", "transcript", "start", "end", "recording"):
        if f"`{column}`" in lost:
            continue
        if column in ("start", "end") and "rounded" in lost:
            assert again[column].to_list() == pytest.approx(manifest.table[column].to_list(), abs=1e-9)
        else:
            assert again[column].to_list() == manifest.table[column].to_list(), column


@settings(max_examples=150, deadline=None)
@given(start=st.floats(0, 1e6), length=st.floats(0, 1e6))
def test_times_do_not_drift(start: float, length: float) -> None:
    end = end_of(start, length)
    assert end_of(start, duration_of(start, end)) == end
    assert float(shown(length)) == length


def test_decimal_times_are_exact_both_ways() -> None:
    assert (end_of(0.1, 0.2), duration_of(0.1, 0.3), shown(0.0), shown(1e-7)) == (0.3, 0.2, "0", "0.0000001")
    hundredths = [i / 100 for i in range(500)]
    assert all(duration_of(a, end_of(a, b)) == b for a in hundredths for b in hundredths[::7])


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_refused_in_one_line(name: str, make: Any, tmp_path: Path) -> None:
    """Every file cut short or with bytes changed: a typed error or rows, never anything else."""
    rows = [{**row, "channel": 0} for row in full_rows()]
    out, _ = written(name, make(rows), tmp_path)
    files = [out] if out.is_file() else [file for file in out.rglob("*") if file.is_file()]
    for file in files:
        data = file.read_bytes()
        for damaged in (data[: len(data) // 2], b"", b"\xff\xfe" + data.replace(b" ", b"\0", 2)):
            file.write_bytes(damaged)
            with contextlib.suppress(EarwitnessError):
                assert len(read(name, out)) >= 1
        file.write_bytes(data)
