"""Readers of sound-class corpora on trees of files that are made here, and sides by the folds that a corpus gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from earwitness.core.errors import DataError
from earwitness.corpora.inspection import fill_from_files
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers import read_corpus
from earwitness.corpora.splits import GivenFolds, split

URBAN = "slice_file_name,fsID,start,end,salience,fold,classID,class"
ESC = "filename,fold,target,category,esc10,src_file,take"


def put(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(800, np.float32), 8000)


@pytest.fixture
def urban(tmp_path: Path) -> Path:
    lines = [
        "100032-3-0-0.wav,100032,0.0,0.317551,1,5,3,dog_bark",
        "100263-2-0-117.wav,100263,58.5,62.5,1,5,2,children_playing",
        "100648-1-0-0.wav,100648,4.823402,5.471927,2,10,1,car_horn",
    ]
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "UrbanSound8K.csv").write_text("\n".join([URBAN, *lines]) + "\n", encoding="utf-8")
    for fold, name in (("5", "100032-3-0-0"), ("5", "100263-2-0-117"), ("10", "100648-1-0-0")):
        put(tmp_path / "audio" / f"fold{fold}" / f"{name}.wav")
    return tmp_path


def test_urbansound8k_keeps_its_folds_and_hears_whole_slices(urban: Path) -> None:
    for place in (urban, urban / "metadata" / "UrbanSound8K.csv"):
        imported = read_corpus("urbansound8k", place)
        table = imported.manifest.table
        assert table["sound"].to_list() == ["dog_bark", "children_playing", "car_horn"]
        assert table["fold"].to_list() == ["5", "5", "10"]
        assert table["source_recording"].to_list() == ["100032", "100263", "100648"]
        assert table["foreground"].to_list() == ["yes", "yes", "no"]
        assert table["start"].null_count() == table["end"].null_count() == 3  # they are times in the source
        assert all(imported.manifest.resolve(row).is_file() for row in imported.manifest.rows())
        assert imported.notes == ("3 clips, 3 classes, 2 folds",)
    filled, problems = fill_from_files(imported.manifest, lambda: None)
    assert not problems
    assert filled.table["duration_s"].to_list() == [0.1, 0.1, 0.1]


def test_missing_recordings_are_said(urban: Path) -> None:
    (urban / "audio" / "fold10" / "100648-1-0-0.wav").unlink()
    assert read_corpus("urbansound8k", urban).notes[1] == "1 of the recordings are not there"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("a.wav,1,0,1,1,11,3,dog_bark", "line 5: the fold is '11', not 1 to 10"),
        ("a.wav,1,0,1,1,1,3,cat", "line 5: classID 3 is 'dog_bark' elsewhere"),
        ("100032-3-0-0.wav,1,0,1,1,1,3,dog_bark", "line 5: '100032-3-0-0.wav' stands in line 2 too"),
        ("a.wav,1,0", "line 5: has 3 fields instead of 8"),
    ],
)
def test_a_wrong_line_is_refused_with_its_number(urban: Path, line: str, why: str) -> None:
    file = urban / "metadata" / "UrbanSound8K.csv"
    file.write_text(file.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")
    with pytest.raises(DataError) as refused:
        read_corpus("urbansound8k", urban)
    assert refused.value.what == why


def test_esc50_has_its_five_folds(tmp_path: Path) -> None:
    lines = [
        "1-100032-A-0.wav,1,0,dog,True,100032,A",
        "5-9032-A-0.wav,5,0,dog,True,9032,A",
        "2-1-B-49.wav,2,49,hand_saw,False,1,B",
    ]
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "esc50.csv").write_text("\n".join([ESC, *lines]) + "\n", encoding="utf-8")
    for line in lines:
        put(tmp_path / "audio" / line.split(",")[0])
    manifest = read_corpus("esc50", tmp_path).manifest
    assert manifest.table["sound"].to_list() == ["dog", "dog", "hand_saw"]
    sides = split(manifest, GivenFolds(test=("5",))).table
    assert sides["split"].to_list() == ["train", "test", "train"]
    wrong = tmp_path / "meta" / "esc50.csv"
    wrong.write_text(wrong.read_text(encoding="utf-8").replace("filename", "file"), encoding="utf-8")
    with pytest.raises(DataError, match="the header is file,"):
        read_corpus("esc50", tmp_path)


def test_audiomnist_is_split_by_speaker(tmp_path: Path) -> None:
    for speaker in ("01", "02", "60"):
        for digit in (0, 7):
            put(tmp_path / "data" / speaker / f"{digit}_{speaker}_0.wav")
    manifest = read_corpus("audiomnist", tmp_path).manifest
    assert set(manifest.table["sound"]) == {"0", "7"}
    sides = split(manifest, GivenFolds(column="speaker", test=("60",), dev=("02",))).table
    by_speaker = dict(zip(sides["speaker"], sides["split"], strict=True))
    assert by_speaker == {"01": "train", "02": "dev", "60": "test"}
    put(tmp_path / "data" / "01" / "3_02_0.wav")
    with pytest.raises(DataError, match="not named DIGIT_SPK_TAKE"):
        read_corpus("audiomnist", tmp_path)


def test_given_folds_draw_nothing_and_refuse_what_is_not_there() -> None:
    rows = pl.DataFrame({"path": ["a", "b", "c", "d"], "fold": ["1", "2", None, "10"]})
    manifest = Manifest(rows, Path())
    done = split(manifest, GivenFolds(test=("10",))).table
    assert done["split"].to_list() == ["train", "train", None, "test"]
    assert done["left_out"].to_list() == [None, None, "no fold", None]
    for wrong, why in (
        (GivenFolds(test=("3",)), "no row has the fold '3'"),
        (GivenFolds(column="folds", test=("1",)), "no column `folds`"),
        (GivenFolds(test=("1",), dev=("1",)), "two sides"),
        (GivenFolds(test=("1", "2", "10")), "nothing is left"),
    ):
        with pytest.raises(DataError, match=why):
            split(manifest, wrong)
