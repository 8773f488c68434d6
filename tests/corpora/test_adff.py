"""Collections laid out as ADFF 2024: folders and a CSV; whatever is wrong in it is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from earwitness.core.errors import DataError
from earwitness.corpora.readers import read_corpus

HEADER = "path,label,generator,condition"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("real/1.wav", "real/2.wav", "fake/1.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def written(folder: Path, *lines: str, name: str = "labels.csv") -> Path:
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / name


def test_reads_a_folder_or_its_list(folder: Path) -> None:
    file = written(folder, HEADER, "real/1.wav,bonafide,,clean", "real/2.wav,bonafide,-,", "fake/1.wav,spoof,xtts,mp3")
    for path in (folder, file):
        manifest = read_corpus("adff", path).manifest
        table = manifest.table.select("path", "label", "system", "condition", "split")
        assert table.rows() == [
            ("real/1.wav", "bonafide", None, "clean", "test"),
            ("real/2.wav", "bonafide", None, None, "test"),
            ("fake/1.wav", "spoof", "xtts", "mp3", "test"),
        ]
        assert all(manifest.resolve(row).is_file() for row in manifest.rows())


def test_order_and_further_columns_do_not_matter(folder: Path) -> None:
    file = written(folder, "note,condition,generator,label,path", 'x,"a, b",,spoof,fake/1.wav')
    found = read_corpus("adff", file)
    assert found.manifest.table.select("path", "label", "condition").row(0) == ("fake/1.wav", "spoof", "a, b")
    assert found.notes == ("1 spoof(s) name no generator",)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["path,label,generater,condition"], "line 1: there is no column 'generator'.*named 'generater'"),
        (["path,label,generator"], "line 1: there is no column 'condition'"),
        ([HEADER, "real/1.wav,bona-fide,,"], "line 2: unknown label 'bona-fide'.*Did you mean 'bonafide'"),
        ([HEADER, "real/1.wav,,,"], "line 2: unknown label ''"),
        ([HEADER, "real/1.wav,bonafide,,", "fake/9.wav,spoof,a,"], "line 3: there is no file 'fake/9.wav'"),
        ([HEADER, "real/1.wav,bonafide,xtts,"], "line 2: is bonafide and names the generator 'xtts'"),
        ([HEADER, "real/1.wav,bonafide,,", "real/1.wav,bonafide,,"], "line 3: 'real/1.wav' stands in line 2 too"),
        ([HEADER, "real/1.wav,bonafide,"], "line 2: has 3 fields instead of 4"),
        ([HEADER, ",spoof,a,"], "line 2: names no path"),
        ([HEADER], "names no recording"),
    ],
)
def test_refuses(folder: Path, lines: list[str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_corpus("adff", written(folder, *lines))


def test_a_folder_needs_one_list(folder: Path) -> None:
    with pytest.raises(DataError, match="holds no CSV"):
        read_corpus("adff", folder)
    written(folder, HEADER)
    written(folder, HEADER, name="other.csv")
    with pytest.raises(DataError, match=r"several CSV files \(labels.csv, other.csv\)"):
        read_corpus("adff", folder)
