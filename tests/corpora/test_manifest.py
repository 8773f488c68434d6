"""The manifest: what it accepts, how it refuses, and that nothing is lost on the way to a file and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earwitness.core.errors import AudioError, DataError, UsageError
from earwitness.corpora.manifest import ROW_COLUMNS, Manifest, Row
from earwitness.corpora.schema import COLUMNS

FORMATS = ("csv", "parquet", "jsonl")


def write_csv(folder: Path, text: str) -> Path:
    path = folder / "m.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_row_has_the_columns_of_the_schema_in_order() -> None:
    assert list(COLUMNS) == ROW_COLUMNS


def test_only_path_is_needed_and_id_follows_it(tmp_path: Path) -> None:
    manifest = Manifest.read(write_csv(tmp_path, "path\na.wav\nsub/b.wav\n"))
    assert list(manifest.rows()) == [Row("a.wav", "a.wav"), Row("sub/b.wav", "sub/b.wav")]
    assert manifest.resolve(manifest.row(1)) == tmp_path / "sub/b.wav"


def test_missing_values_and_types(tmp_path: Path) -> None:
    text = "path,age,speaker,label,channel,start,end,snr\na.wav,n/a,N/A,bonafide,1,0.5,1,10\nb.wav,31,,,,,,\n"
    first, second = Manifest.read(write_csv(tmp_path, text)).rows()
    assert (first.age, first.speaker, first.label, first.channel, first.start, first.end) == (
        None,
        None,
        "bonafide",
        1,
        0.5,
        1.0,
    )
    assert (second.age, second.speaker, second.label) == (31.0, None, None)


def test_other_columns_are_kept_as_text(tmp_path: Path) -> None:
    manifest = Manifest.read(write_csv(tmp_path, "path,room,snr,intensity_lo\na.wav,007,10,0.5\nb.wav,,,\n"))
    assert manifest.table["room"].to_list() == ["007", None]
    assert manifest.table["snr"].to_list() == ["10", None]
    assert manifest.table["intensity_lo"].to_list() == ["0.5", None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("file,label\na.wav,spoof\n", ["column `path` is missing"]),
        ("paths\na.wav\n", ["column `path` is missing", "Rename column `paths`"]),
        ("path,speker\na.wav,x\n", ["`speker`", "`speaker`"]),
        ("path,Label\na.wav,spoof\n", ["`Label`", "`label`"]),
        ("path,label\na.wav,spoof\nb.wav,bona-fide\n", ["row 2", "`label`", "'bona-fide'", "Did you mean 'bonafide'?"]),
        ("path,split\na.wav,trian\n", ["row 1", "`split`", "Did you mean 'train'?"]),
        ("path,id\na.wav,x\nb.wav,y\nc.wav,x\n", ["row 3", "`id`", "'x' is the id of row 1"]),
        ("path\na.wav\na.wav\n", ["row 2", "`id`", "row 1"]),
        ("path,age\na.wav,31\nb.wav,old\n", ["row 2", "`age`", "'old' is not a number"]),
        ("path,age\na.wav,inf\n", ["row 1", "`age`", "not finite"]),
        ("path,age\na.wav,-1\n", ["row 1", "`age`", "below 0"]),
        ("path,channel\na.wav,0.5\n", ["row 1", "`channel`", "whole number"]),
        ("path,sample_rate\na.wav,0\n", ["row 1", "`sample_rate`", "below 1"]),
        ("path,start,end\na.wav,2,2\n", ["row 1", "`end`", "not after `start`"]),
        ("path,end\na.wav,0\n", ["row 1", "`end`"]),
        ("path,label\n,spoof\n", ["row 1", "`path`", "empty"]),
        ("path,age,age\na.wav,1,2\n", ["`age` stands twice"]),
        ("path,label\na.wav,spoof,3,4\n", ["not a CSV table"]),
        ("", ["is empty"]),
        ("\n \n", ["is empty"]),
    ],
)
def test_refusals_name_file_row_and_column(tmp_path: Path, text: str, expected: list[str]) -> None:
    path = write_csv(tmp_path, text)
    with pytest.raises(DataError) as caught:
        Manifest.read(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    for part in expected:
        assert part in message


def test_odd_files_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes(b"path\n\xff\xfe.wav\n")
    with pytest.raises(DataError, match="not UTF-8"):
        Manifest.read(tmp_path / "m.csv")
    (tmp_path / "m.parquet").write_bytes(b"path\na.wav\n")
    with pytest.raises(DataError, match="not a Parquet file"):
        Manifest.read(tmp_path / "m.parquet")
    (tmp_path / "m.jsonl").write_text('{"path": "a.wav"}\n{"path": \n')
    with pytest.raises(DataError, match="line 2 is not JSON"):
        Manifest.read(tmp_path / "m.jsonl")
    (tmp_path / "m.jsonl").write_text('{"path": ["a.wav"]}\n')
    with pytest.raises(DataError, match="line 1, column `path`"):
        Manifest.read(tmp_path / "m.jsonl")
    with pytest.raises(DataError, match="no such manifest"):
        Manifest.read(tmp_path / "none.csv")
    with pytest.raises(UsageError, match="not a manifest format"):
        Manifest.read(tmp_path / "m.xlsx")
    with pytest.raises(DataError, match="holds List"):
        Manifest(pl.DataFrame({"path": ["a"], "tags": [["x"]]}), tmp_path)


def test_byte_order_mark_and_crlf(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes(b"\xef\xbb\xbfpath,label\r\na.wav,spoof\r\n")
    assert Manifest.read(tmp_path / "m.csv").row(0).label == "spoof"


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
numbers = st.floats(0, 1e6) | st.none()
a_row = st.fixed_dictionaries(
    {
        "speaker": texts | st.none(),
        "transcript": texts,
        "room": texts,
        "age": numbers,
        "duration_s": numbers,
        "channel": st.integers(0, 7) | st.none(),
        "label": st.sampled_from(["bonafide", "spoof", None]),
    }
)


@pytest.mark.parametrize("suffix", FORMATS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(a_row, min_size=1, max_size=5))
def test_round_trip_is_lossless(tmp_path: Path, suffix: str, rows: list[dict[str, Any]]) -> None:
    paths = [f"{i} ,\"';\n{i}.wav" for i in range(len(rows))]
    schema = {"age": pl.Float64, "duration_s": pl.Float64, "channel": pl.Int64}
    table = pl.DataFrame(rows, schema_overrides=schema, infer_schema_length=None).with_columns(path=pl.Series(paths))
    manifest = Manifest(table, tmp_path)
    manifest.write(tmp_path / f"m.{suffix}")
    again = Manifest.read(tmp_path / f"m.{suffix}")
    assert again.table.equals(manifest.table)
    assert again.sha256 == manifest.sha256


def test_writing_elsewhere_keeps_files_and_ids(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.wav").touch()
    manifest = Manifest(pl.DataFrame({"path": ["a.wav", "/abs/b.wav"]}), tmp_path / "data")
    manifest.write(tmp_path / "lists/deep/m.csv")
    again = Manifest.read(tmp_path / "lists/deep/m.csv")
    assert again.resolve(again.row(0)).resolve() == (tmp_path / "data/a.wav").resolve()
    assert [row.id for row in again.rows()] == ["a.wav", "/abs/b.wav"]
    assert again.row(1).path == "/abs/b.wav"


def test_concat_of_two_folders(tmp_path: Path) -> None:
    one = Manifest(pl.DataFrame({"path": ["a.wav"], "room": ["hall"]}), tmp_path / "one")
    two = Manifest(pl.DataFrame({"path": ["a.wav"], "id": ["own"], "snr": ["3"]}), tmp_path / "two")
    both = Manifest.concat([one, two])
    assert both.root == tmp_path
    assert both.table.select("id", "path", "room", "snr").rows() == [
        ("one/a.wav", "one/a.wav", "hall", None),
        ("own", "two/a.wav", None, "3"),
    ]
    with pytest.raises(DataError, match="is the id of row 1"):
        Manifest.concat([two, two])


def test_data_root_refuses_paths_outside(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "outside.wav").touch()
    (tmp_path / "data/link.wav").symlink_to(tmp_path / "outside.wav")
    rows = {"path": ["in.wav", "../outside.wav", "/etc/passwd", "link.wav"]}
    manifest = Manifest(pl.DataFrame(rows), tmp_path / "data", data_root=tmp_path / "data")
    inside, *outside = manifest.rows()
    assert manifest.resolve(inside) == tmp_path / "data/in.wav"
    for row in outside:
        with pytest.raises(AudioError, match="outside of the data root"):
            manifest.resolve(row)


def test_hash_sees_every_value_but_not_the_folder(tmp_path: Path) -> None:
    table = pl.DataFrame({"path": ["a.wav"], "age": [3.0]})
    first = Manifest(table, tmp_path)
    assert first.sha256 == Manifest(table, tmp_path / "other").sha256
    assert first.sha256 != Manifest(table.with_columns(age=4.0), tmp_path).sha256


def test_filter(make: Any) -> None:
    manifest = make([{"label": "spoof"}, {"label": "bonafide"}, {"label": None}])
    assert [row.path for row in manifest.filter(pl.col("label") == "spoof").rows()] == ["0.wav"]
    assert len(manifest.filter(pl.col("label") == "none")) == 0


def test_numbers_as_other_tools_write_them(tmp_path: Path) -> None:
    """Whole numbers as floats, NaN for missing: what pandas makes of integer columns with gaps."""
    table = pl.DataFrame({"path": ["a", "b"], "channel": [1.0, float("nan")], "age": ["3e1", " 4 "]})
    assert Manifest(table, tmp_path).table.select("channel", "age").rows() == [(1, 30.0), (None, 4.0)]


def test_a_number_beyond_all_measure_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,sample_rate\na.wav,1e300\n")
    with pytest.raises(DataError, match="column `sample_rate`: '1e\\+300' is too large"):
        Manifest.read(tmp_path / "m.csv")
