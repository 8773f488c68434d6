"""Whatever is named becomes a manifest, or one line says why not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from earwitness.core.errors import AudioError, DataError, UsageError
from earwitness.corpora.manifest import Manifest
from earwitness.evaluation.scoring.inputs import read_input

IN_CALLS = ["0.wav", "1.wav", "2.wav", "4.mp3", "deep/3.flac"]


def paths(manifest: Manifest) -> list[str]:
    return [row.path for row in manifest.rows()]


def test_a_folder_holds_its_audio_files_at_any_depth(calls: Path) -> None:
    manifest = read_input(calls)
    assert paths(manifest) == IN_CALLS
    assert [row.id for row in manifest.rows()] == IN_CALLS
    assert all(manifest.resolve(row).is_file() for row in manifest.rows())


def test_a_file_counts_whatever_its_suffix(calls: Path) -> None:
    for name in ("0.wav", "notes.txt"):
        manifest = read_input(calls / name)
        assert paths(manifest) == [name]
        assert manifest.resolve(manifest.row(0)) == calls / name
    (calls / "a[1].wav").write_bytes(b"")
    assert paths(read_input(calls / "a[1].wav")) == ["a[1].wav"]  # a name that looks like a glob


def test_what_is_there_but_no_file_is_left_to_the_reader(calls: Path) -> None:
    (calls / "gone.wav").symlink_to(calls / "nowhere.wav")
    os.mkfifo(calls / "pipe.wav")
    assert paths(read_input(calls / "gone.wav")) == ["gone.wav"]
    assert {"gone.wav", "pipe.wav"} < set(paths(read_input(calls)))


def test_a_glob_names_files_and_folders(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(calls.parent)
    assert paths(read_input("calls/*.wav")) == ["calls/0.wav", "calls/1.wav", "calls/2.wav"]
    assert paths(read_input(str(calls / "*.wav"))) == [f"{calls}/{n}.wav" for n in range(3)]
    assert paths(read_input("calls/**/*.flac")) == ["calls/deep/3.flac"]
    assert paths(read_input("call*")) == [f"calls/{name}" for name in IN_CALLS]
    assert len(paths(read_input("calls/**"))) == len(IN_CALLS) + 1  # each once, and the notes, which are named


def test_a_manifest_keeps_its_ids_and_stretches(calls: Path) -> None:
    (calls / "list.csv").write_text("id,path,start,end,label\na,0.wav,0,1,bonafide\nb,0.wav,1,2,spoof\n")
    manifest = read_input(calls / "list.csv")
    assert [(row.id, row.path, row.start, row.label) for row in manifest.rows()] == [
        ("a", "0.wav", 0.0, "bonafide"),
        ("b", "0.wav", 1.0, "spoof"),
    ]


def test_odd_names_are_names(tmp_path: Path) -> None:
    names = sorted(["new\nline.wav", 'quo"te.wav', "it's.wav", "<script>.wav", "a,b.wav", "語.wav", " .wav", "-.wav"])
    for name in names:
        (tmp_path / name).write_bytes(b"")
    manifest = read_input(tmp_path)
    assert paths(manifest) == names
    assert all(manifest.resolve(row).is_file() for row in manifest.rows())


def test_a_name_that_is_no_text_is_recorded_escaped(tmp_path: Path) -> None:
    (tmp_path / "fine.wav").write_bytes(b"")
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system refuses such names")
    assert paths(read_input(tmp_path)) == ["caf\\xe9.wav", "fine.wav"]


def test_rows_outside_of_the_data_root_are_refused_when_they_are_read(calls: Path) -> None:
    (calls / "list.csv").write_text("path\n0.wav\n../../secret.wav\n")
    manifest = read_input(calls / "list.csv", data_root=calls)
    assert manifest.resolve(manifest.row(0)).is_file()
    with pytest.raises(AudioError, match="leads outside of the data root"):
        manifest.resolve(manifest.row(1))
    other = read_input(calls, data_root=calls / "deep")
    with pytest.raises(AudioError, match="leads outside of the data root"):
        other.resolve(other.row(0))


def test_refusals(tmp_path: Path) -> None:
    for missing in ("missing.wav", "missing/*.wav", "missing.csv"):
        with pytest.raises(UsageError, match=r"no such file|holds no recording"):
            read_input(tmp_path / missing)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UsageError, match=r"holds no recording.*\.flac"):
        read_input(tmp_path)
    (tmp_path / "empty.csv").write_text("id,path\n")
    with pytest.raises(DataError, match="has no rows"):
        read_input(tmp_path / "empty.csv")
