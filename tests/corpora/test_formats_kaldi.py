"""Kaldi data directories: canonical ones come back byte for byte, commands are never run, faults are named by line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from earwitness.core.errors import DataError, UsageError
from earwitness.corpora.formats.kaldi import read_kaldi, write_kaldi

CANONICAL = {
    "wav.scp": "call-1 wav/call 1.wav\ncall-2 /data/call-2.flac\n",
    "segments": "a-1 call-1 0 1.25\na-2 call-1 1.5 -1\nb-1 call-2 0 -1\nü-1 call-2 0.1 0.30000000000000004 1\n",
    "utt2spk": "a-1 a\na-2 a\nb-1 b\nü-1 ü\n",
    "spk2utt": "a a-1 a-2\nb b-1\nü ü-1\n",
    "reco2dur": "call-1 3.5\ncall-2 12.000125\n",
    "spk2gender": "a f\nb m\n",
    "text": "a-1 guten  Tag\nb-1 \u2028 ja\u00a0\n",
    "utt2lang": "a-1 de\na-2 de\nb-1 en\nü-1 en\n",
    "utt2dur": "a-1 1.25\na-2 2.00\n",
    "utt2num_frames": "a-1 123\n",
    "utt2emotion": "b-1 anger\n",
}


def directory(folder: Path, **files: str | None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        if text is not None:
            (folder / name.replace("wav_scp", "wav.scp")).write_text(text, encoding="utf-8")
    return folder


def simple(folder: Path, **files: str | None) -> Path:
    usual = {"wav_scp": "s-1 a.wav\ns-2 b.wav\n", "utt2spk": "s-1 s\ns-2 s\n"}
    return directory(folder / "data", **{**usual, **files})


def test_a_canonical_directory_comes_back_byte_for_byte(tmp_path: Path) -> None:
    imported = read_kaldi(directory(tmp_path / "one", **CANONICAL))
    rows = {row.id: row for row in imported.manifest.rows()}
    assert (rows["a-1"].path, rows["a-1"].start, rows["a-1"].end) == ("wav/call 1.wav", 0.0, 1.25)
    assert (rows["a-2"].start, rows["a-2"].end, rows["a-2"].duration_s) == (1.5, None, 3.5)
    assert (rows["b-1"].start, rows["b-1"].end, rows["b-1"].emotion) == (None, None, "anger")
    assert (rows["ü-1"].end, rows["ü-1"].channel, rows["ü-1"].sex) == (0.30000000000000004, 1, None)
    assert (rows["a-1"].speaker, rows["a-1"].sex, rows["a-1"].transcript) == ("a", "f", "guten  Tag")
    assert imported.manifest.table["num_frames"].to_list() == ["123", None, None, None]
    notes = write_kaldi(imported.manifest.with_table(imported.manifest.table), tmp_path / "one")
    assert notes == ()
    assert {file.name: file.read_text(encoding="utf-8") for file in (tmp_path / "one").iterdir()} == CANONICAL
    write_kaldi(imported.manifest, tmp_path / "two")
    moved = CANONICAL["wav.scp"].replace("wav/", "../one/wav/")
    written = {file.name: file.read_text(encoding="utf-8") for file in (tmp_path / "two").iterdir()}
    assert written == {**CANONICAL, "wav.scp": moved}


def test_a_name_too_long_for_a_file_is_kept(tmp_path: Path) -> None:
    name = "x" * 5000
    assert read_kaldi(simple(tmp_path, wav_scp=f"s-1 {name}\ns-2 a.wav\n")).manifest.row(0).path == name


def test_whole_files(tmp_path: Path) -> None:
    imported = read_kaldi(simple(tmp_path, utt2dur="s-1 1.5\n", spk2utt="s s-1 s-2\n"))
    rows = list(imported.manifest.rows())
    assert [(row.id, row.path, row.speaker, row.duration_s) for row in rows] == [
        ("s-1", "a.wav", "s", 1.5),
        ("s-2", "b.wav", "s", None),
    ]
    assert "recording" not in imported.manifest.table.columns


def test_paths_stand_against_the_folder_above_that_has_the_files(tmp_path: Path) -> None:
    (tmp_path / "wav").mkdir()
    (tmp_path / "wav/a.wav").touch()
    folder = directory(tmp_path / "exp/data/train", wav_scp="s-1 wav/a.wav\n", utt2spk="s-1 s\n")
    imported = read_kaldi(folder)
    assert imported.manifest.resolve(imported.manifest.row(0)).resolve() == (tmp_path / "wav/a.wav").resolve()
    assert "paths stand against" in imported.notes[-1]


@pytest.mark.parametrize(
    ("entry", "path"),
    [
        ("cat sub/a.wav |", "sub/a.wav"),
        ("flac -c -d -s 'my a.flac' |", "my a.flac"),
        ("/usr/bin/sph2pipe -f wav -p a.sph |", "a.sph"),
        ("sox a.mp3 -t wav - |", "a.mp3"),
        ("ffmpeg -i a.m4a -f wav - |", "a.m4a"),
    ],
)
def test_commands_that_only_open_a_file_stand_as_it(tmp_path: Path, entry: str, path: str) -> None:
    imported = read_kaldi(simple(tmp_path, wav_scp=f"s-1 {entry}\ns-2 b.wav\n"))
    assert imported.manifest.row(0).path == path
    assert any("1 command(s)" in note for note in imported.notes)


@pytest.mark.parametrize(
    "command",
    [
        "touch {0}",
        "cat a.wav; touch {0}",
        "cat $(touch {0})",
        "cat `touch {0}`",
        "cat a.wav | tee {0}",
        "sox a.wav -r 8000 -t wav -",
        "sph2pipe -f wav -c 2 a.sph",
        "cat a.wav b.wav",
        "cat 'a.wav",
        "cat --help",
        "",
    ],
)
def test_no_command_is_ever_run(tmp_path: Path, command: str) -> None:
    canary = tmp_path / "canary"
    folder = simple(tmp_path, wav_scp=f"s-2 b.wav\ns-1 {command.format(canary)} |\n")
    with pytest.raises(DataError, match=r"line 2: .*is a command.*Commands are not run"):
        read_kaldi(folder)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"wav_scp": "s-1 a.wav\ns-1 b.wav\n"}, ["wav.scp: line 2", "'s-1' stands there twice"]),
        ({"wav_scp": "s-1 a.wav\ns-2\n"}, ["wav.scp: line 2", "nothing after 's-2'", "<recording> <path>"]),
        ({"wav_scp": "s-1 raw.ark:17\ns-2 b.wav\n"}, ["wav.scp: line 1", "archive"]),
        ({"utt2spk": "s-1 s\n"}, ["utt2spk", "says nothing of 's-2'"]),
        ({"utt2spk": "s-1 s\ns-2 s\ns-3 s\n"}, ["utt2spk", "'s-3' is not in wav.scp"]),
        ({"text": "s-9 hello\n"}, ["text", "'s-9' is not in wav.scp"]),
        ({"spk2utt": "s s-1\nt s-2\n"}, ["spk2utt", "gives 's-2' to t, utt2spk to s"]),
        ({"spk2utt": "s s-1\n"}, ["spk2utt", "gives 's-2' to None, utt2spk to s"]),
        ({"spk2gender": "x f\n"}, ["spk2gender", "'x' is no speaker"]),
        ({"utt2dur": "s-1 long\n"}, ["utt2dur", "'s-1': 'long' is not a number"]),
        ({"utt2age": "s-1 old\n"}, ["row 1, column `age`"]),
        ({"segments": "s-1 s-1 0\n"}, ["segments: line 1", "3 fields", "<utterance> <recording>"]),
        ({"segments": "s-1 s-9 0 1\n"}, ["segments: line 1", "'s-9' is not in wav.scp"]),
        ({"segments": "s-1 s-1 2 1\n"}, ["segments: line 1", "'2 1' is no stretch"]),
        ({"segments": "s-1 s-1 0 nan\n"}, ["segments: line 1", "is no stretch"]),
        ({"segments": f"s-1 s-1 0 1 {'9' * 5000}\n"}, ["segments: line 1", "channel '999"]),
        ({"segments": "s-1 s-1 0 1 A\n"}, ["segments: line 1", "channel 'A'"]),
        ({"segments": "s-1 s-1 0 1\ns-1 s-1 1 2\n"}, ["segments: line 2", "twice"]),
        ({"segments": "\n"}, ["segments", "is empty"]),
        ({"wav_scp": ""}, ["wav.scp", "is empty"]),
        ({"wav_scp": None}, ["no wav.scp"]),
    ],
)
def test_faults_are_named_by_file_and_line(tmp_path: Path, files: dict[str, str | None], expected: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        read_kaldi(simple(tmp_path, **files))
    for part in expected:
        assert part in str(caught.value)


def test_oddities_are_noted_and_kept(tmp_path: Path) -> None:
    folder = simple(
        tmp_path,
        segments="s-2 s-1 0.5 0.5\nx-1 s-1 1 9\n",
        utt2spk="s-2 s\nx-1 s\n",
        reco2dur="s-1 4\n",
        **{"feats.scp": "s-1 f.ark:9\n"},
    )
    imported = read_kaldi(folder)
    assert imported.manifest.table["point_s"].to_list() == ["0.5", None]
    notes = " / ".join(imported.notes)
    for part in (
        "1 recording(s) without a segment left out (first: s-2)",
        "1 utterance id(s) do not start with their speaker",
        "(first: x-1)",
        "1 segment(s) end after their recording (first: x-1)",
        "file(s) passed over: feats.scp",
    ):
        assert part in notes
    write_kaldi(imported.manifest, tmp_path / "again")
    assert (tmp_path / "again/segments").read_text() == "s-2 s-1 0.5 0.5\nx-1 s-1 1 9\n"


def test_order_is_noted_when_read_and_put_right_when_written(tmp_path: Path) -> None:
    imported = read_kaldi(
        simple(tmp_path, wav_scp="s-2 b.wav\ns-1 a.wav\nS-3 c.wav\n", utt2spk="S-3 S\ns-1 s\ns-2 s\n")
    )
    assert [row.id for row in imported.manifest.rows()] == ["s-2", "s-1", "S-3"]
    assert any("not sorted" in note and "wav.scp" in note and "utt2spk" not in note for note in imported.notes)
    write_kaldi(imported.manifest, tmp_path / "data")
    assert (tmp_path / "data/wav.scp").read_text() == "S-3 c.wav\ns-1 a.wav\ns-2 b.wav\n"


def test_rows_without_a_speaker_have_their_id_as_one(make: Any, tmp_path: Path) -> None:
    notes = write_kaldi(make([{"path": "a.wav", "id": "x"}]), tmp_path / "out")
    assert (tmp_path / "out/utt2spk").read_text() == "x x\n"
    assert any("without a speaker" in note for note in notes)


def test_sex_that_differs_within_a_speaker_stands_by_utterance(make: Any, tmp_path: Path) -> None:
    rows = [{"path": f"{i}.wav", "id": f"s-{i}", "speaker": "s", "sex": sex} for i, sex in enumerate("fm")]
    write_kaldi(make(rows), tmp_path / "out")
    assert (tmp_path / "out/utt2gender").read_text() == "s-0 f\ns-1 m\n"
    assert read_kaldi(tmp_path / "out").manifest.table["sex"].to_list() == ["f", "m"]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"id": "a b"}, "column `id`: 'a b' holds a blank"),
        ({"speaker": "a\tb"}, "column `speaker`"),
        ({"transcript": "two\nlines"}, "column `transcript`.*line break"),
        ({"path": "a.wav |"}, "column `path`.*cannot stand in wav.scp"),
        ({"path": "a\n.wav", "id": "x"}, "column `path`"),
        ({"point_s": "soon"}, "column `point_s`"),
    ],
)
def test_what_kaldi_cannot_state_is_refused(make: Any, tmp_path: Path, row: dict[str, str], expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        write_kaldi(make([{"path": "a.wav", "id": "x", **row}]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_of_another_directory_are_not_mixed_in(make: Any, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/segments").write_text("old old 0 1\n")
    with pytest.raises(UsageError, match="segments"):
        write_kaldi(make([{"path": "a.wav", "id": "x"}]), tmp_path / "out")


def test_columns_that_would_name_a_file_twice_are_left_behind(make: Any, tmp_path: Path) -> None:
    row = {"path": "a.wav", "id": "x", "speaker": "x", "spk": "other", "a/b": "c", "transcript": " padded "}
    notes = write_kaldi(make([row]), tmp_path / "out")
    assert any("`spk` (1), `a/b` (1)" in note for note in notes)
    assert "blanks around values of `transcript` removed" in notes
    assert (tmp_path / "out/text").read_text() == "x padded\n"
