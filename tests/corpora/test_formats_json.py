"""Lhotse and NeMo: manifests in JSON lines, back to the same objects, and faults named by line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from earwitness.core.errors import DataError, UsageError
from earwitness.corpora.formats.json_lines import as_text, as_values
from earwitness.corpora.formats.lhotse import read_lhotse, write_lhotse
from earwitness.corpora.formats.nemo import read_nemo, write_nemo

RECORDINGS: list[dict[str, Any]] = [
    {
        "id": name,
        "sources": [{"type": "file", "channels": channels, "source": source}],
        "sampling_rate": 16000,
        "num_samples": samples,
        "duration": duration,
        "channel_ids": channels,
    }
    for name, channels, source, samples, duration in [
        ("read", [0], "wav/read aloud.flac", 256640, 16.04),
        ("call", [0, 1], "/data/call.wav", 32001, 2.0),
        ("noise", [0], "wav/noise.wav", 8000, 0.5),
    ]
]
SUPERVISIONS: list[dict[str, Any]] = [
    {
        "id": "read",
        "recording_id": "read",
        "start": 0.0,
        "duration": 16.04,
        "channel": 0,
        "text": "Ä",
        "speaker": "1089",
    },
    {"id": "c-1", "recording_id": "call", "start": 0.1, "duration": 0.2, "channel": 1, "language": "en", "gender": "F"},
    {
        "id": "c-2",
        "recording_id": "call",
        "start": 0.3,
        "duration": 0.4,
        "channel": [0, 1],
        "custom": {"age": 31, "label": "spoof", "snr": 12.5, "tags": ["a", 1], "room": "007"},
    },
]


def cut(name: str, start: float, duration: float, *supervisions: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "start": start,
        "duration": duration,
        "channel": 0,
        "supervisions": list(supervisions),
        "recording": RECORDINGS[0],
        "type": "MonoCut",
        **more,
    }


def supervision(name: str, start: float, duration: float, **more: Any) -> dict[str, Any]:
    return {"id": name, "recording_id": "read", "start": start, "duration": duration, "channel": 0, **more}


CUTS = [
    cut("whole", 0.0, 16.04, supervision("whole", 0.0, 16.04, text="all of it")),
    cut("part", 1.1, 2.2, supervision("other", 0.0, 2.2, speaker="s")),
    cut("silent", 3.3, 0.1),
    cut("busy", 4.4, 5.5, supervision("one", -0.4, 0.7, speaker="s"), supervision("two", 0.5, 9.0, text="late")),
]


def put(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join((row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def load(path: Path) -> list[Any]:
    data = path.read_bytes()
    return [json.loads(line) for line in (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()]


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_recordings_and_supervisions_come_back(tmp_path: Path, suffix: str) -> None:
    put(tmp_path / f"in/corpus_recordings_dev{suffix}", RECORDINGS)
    put(tmp_path / f"in/corpus_supervisions_dev{suffix}", SUPERVISIONS)
    imported = read_lhotse(tmp_path / "in")
    rows = list(imported.manifest.rows())
    assert [(row.id, row.start, row.end, row.channel, row.duration_s) for row in rows] == [
        ("read", None, None, 0, 16.04),
        ("c-1", 0.1, 0.3, 1, 2.0),
        ("c-2", 0.3, 0.7, None, 2.0),
        ("noise", None, None, None, 0.5),
    ]
    assert (rows[0].transcript, rows[0].speaker, rows[0].sample_rate) == ("Ä", "1089", 16000)
    assert (rows[1].language, rows[1].sex, rows[2].age, rows[2].label) == ("en", "F", 31.0, "spoof")
    table = imported.manifest.table
    assert table.row(2, named=True) | {
        "room": "007",
        "snr": "12.5",
        "tags": '["a", 1]',
        "num_samples": "32001",
    } == table.row(2, named=True)
    write_lhotse(imported.manifest, tmp_path / "in/out")
    for name, expected in (("recordings", RECORDINGS), ("supervisions", SUPERVISIONS)):
        moved = json.loads(json.dumps(expected).replace('"wav/', '"../wav/'))
        assert load(tmp_path / f"in/out/{name}.jsonl.gz") == moved
    again = read_lhotse(tmp_path / "in/out").manifest
    write_lhotse(again, tmp_path / "in/next")
    for name in ("recordings.jsonl.gz", "supervisions.jsonl.gz"):
        assert (tmp_path / "in/next" / name).read_bytes() == (tmp_path / "in/out" / name).read_bytes()


def test_cuts_come_back_byte_for_byte(tmp_path: Path) -> None:
    path = put(tmp_path / "cuts.jsonl", CUTS)
    imported = read_lhotse(path)
    rows = [(row.id, row.start, row.end, row.transcript) for row in imported.manifest.rows()]
    assert rows == [
        ("whole", None, None, "all of it"),
        ("part", 1.1, 3.3, None),
        ("silent", 3.3, 3.4, None),
        ("busy/one", 4.0, 4.7, None),
        ("busy/two", 4.9, 13.9, "late"),
    ]
    assert imported.manifest.table["supervision"].to_list() == [None, "other", None, "one", "two"]
    assert write_lhotse(imported.manifest, tmp_path / "again.jsonl") == ()
    assert (tmp_path / "again.jsonl").read_text() == path.read_text()


def test_a_single_file_tells_what_it_holds(tmp_path: Path) -> None:
    assert len(read_lhotse(put(tmp_path / "a.jsonl", RECORDINGS)).manifest) == 3
    with pytest.raises(DataError, match=r"holds supervisions.*Name the folder"):
        read_lhotse(put(tmp_path / "b.jsonl", SUPERVISIONS))
    with pytest.raises(DataError, match="is empty"):
        read_lhotse(put(tmp_path / "c.jsonl", []))
    with pytest.raises(DataError, match="holds no recordings and no cuts"):
        read_lhotse(tmp_path)
    put(tmp_path / "d/cuts.jsonl", CUTS)
    put(tmp_path / "d/recordings.jsonl", RECORDINGS)
    with pytest.raises(DataError, match="holds cuts and recordings"):
        read_lhotse(tmp_path / "d")


def test_recordings_of_several_files_are_one_a_file(tmp_path: Path) -> None:
    sources = [{"type": "file", "channels": [c], "source": f"c{c}.wav"} for c in (0, 1)]
    put(tmp_path / "recordings.jsonl", [{**RECORDINGS[1], "sources": sources}])
    put(tmp_path / "supervisions.jsonl", SUPERVISIONS[1:2])
    imported = read_lhotse(tmp_path)
    row = imported.manifest.row(0)
    assert (row.path, row.channel, imported.manifest.table["recording"][0]) == ("c1.wav", 0, "call-1")
    assert "several files" in imported.notes[0]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"sources": [{"type": "url", "channels": [0], "source": "https://x"}]}, "line 1: .*source of type 'url'"),
        ({"sources": [{"type": "command", "channels": [0], "source": "rm -r x"}]}, "type 'command'"),
        ({"sources": [{"type": "memory", "channels": [0], "source": "UklGR"}]}, "type 'memory'"),
        ({"sources": []}, "line 1: is no recording"),
        ({"sources": [{"type": "file", "channels": "0", "source": "a.wav"}]}, "`channels` is 0"),
        ({"sampling_rate": "16k"}, "line 1: `sampling_rate` is 16k"),
        ({"duration": -1}, "line 1: `duration` is -1"),
        ({"duration": 1e300}, "line 1: `duration` is 1e"),
        ({"sampling_rate": 10**400}, "line 1: `sampling_rate` is 1000"),
        ({"id": None}, "line 1: `id` is None"),
        ({"transforms": [{"name": "Speed"}]}, "is transformed"),
    ],
)
def test_recordings_that_cannot_be_rows(tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        read_lhotse(put(tmp_path / "recordings.jsonl", [{**RECORDINGS[0], **change}]))


def test_other_faults_of_lhotse(tmp_path: Path) -> None:
    for fields, expected in [
        ({**CUTS[0], "type": "MixedCut"}, "line 1: a cut of type 'MixedCut'"),
        ({**CUTS[0], "recording": None}, "a cut without its recording"),
        ({**CUTS[0], "channel": 3}, "line 1: channel 3"),
        (cut("x", 0.0, 1.0, supervision("y", -1.0, 0.5)), "begins before its recording"),
    ]:
        with pytest.raises(DataError, match=expected):
            read_lhotse(put(tmp_path / "cuts.jsonl", [fields]))
    put(tmp_path / "in/recordings.jsonl", RECORDINGS)
    for fields, expected in [
        ({**SUPERVISIONS[0], "recording_id": "x"}, "supervisions.jsonl: line 1: there is no recording 'x'"),
        ({**SUPERVISIONS[0], "start": None}, "no start and duration"),
        ({**SUPERVISIONS[0], "custom": []}, None),
        ({**SUPERVISIONS[0], "custom": [1]}, "`custom` is"),
    ]:
        put(tmp_path / "in/supervisions.jsonl", [fields])
        if expected:
            with pytest.raises(DataError, match=expected):
                read_lhotse(tmp_path / "in")
        else:
            assert len(read_lhotse(tmp_path / "in").manifest) == 3


def test_zero_length_and_late_supervisions_are_noted(tmp_path: Path) -> None:
    put(tmp_path / "recordings.jsonl", RECORDINGS[:1])
    put(tmp_path / "supervisions.jsonl", [supervision("a", 2.0, 0.0), supervision("b", 16.0, 9.0)])
    imported = read_lhotse(tmp_path)
    assert imported.manifest.table["point_s"].to_list() == ["2", None]
    assert any("1 supervision(s) end after" in note for note in imported.notes)
    assert any("1 stretch(es) of no length" in note for note in imported.notes)
    write_lhotse(imported.manifest, tmp_path / "out")
    assert load(tmp_path / "out/supervisions.jsonl.gz")[0] == supervision("a", 2.0, 0.0)


def test_lhotse_asks_for_lengths_and_rates(make: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 1, column `duration_s`.*import manifest"):
        write_lhotse(make([{"path": "a.wav", "end": 1, "sample_rate": 8000}]), tmp_path / "out")
    rows = [{"path": "a.wav", "id": f"{i}", "sample_rate": 8000, "duration_s": i + 1} for i in range(2)]
    with pytest.raises(DataError, match="described in two ways"):
        write_lhotse(make(rows), tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        write_lhotse(make([{"path": "a.wav"}]), tmp_path / "file")


NEMO: list[dict[str, Any]] = [
    {
        "audio_filepath": 'my audio/a "1".wav',
        "offset": 0.1,
        "duration": 0.2,
        "text": "Größe",
        "label": "7",
        "speaker": "s",
    },
    {"audio_filepath": "/data/b.wav", "duration": 3.25, "lang": "de", "snr": 3, "words": [["a", 0.5]], "id": "own"},
    {"audio_filepath": "c.wav", "offset": 1.5, "duration": 0.0, "emotion": "joy", "age": 31},
    {"audio_filepath": "d.wav", "offset": 0.0, "duration": 1.0, "gender": "female", "labels": "a,b", "start": 5},
]


def test_nemo_comes_back(tmp_path: Path) -> None:
    path = put(tmp_path / "train.json", NEMO)
    imported = read_nemo(path)
    rows = list(imported.manifest.rows())
    assert [(row.start, row.end, row.duration_s) for row in rows] == [
        (0.1, 0.3, None),
        (None, None, 3.25),
        (None, None, None),
        (0.0, 1.0, None),
    ]
    assert (rows[0].transcript, rows[0].label, rows[1].language, rows[1].id) == ("Größe", None, "de", "own")
    assert imported.manifest.table["nemo_label"].to_list() == ["7", None, None, None]
    assert imported.manifest.table["point_s"].to_list() == [None, None, "1.5", None]
    assert set(imported.notes) == {
        "`label` is kept as the column `nemo_label`",
        "`label` holds numbers in quotes; writing gives numbers",
        "`labels` is kept as the column `nemo_labels`",
        "`start` is kept as the column `nemo_start`",
        "1 stretch(es) of no length kept as a point of their recording (column `point_s`)",
    }
    assert write_nemo(imported.manifest, tmp_path / "again.json") == ()
    again = load(tmp_path / "again.json")
    ids = [fields.pop("id") for fields in again]
    assert ids == ['my audio/a "1".wav', "own", "c.wav", "d.wav"]
    expected = [{name: value for name, value in fields.items() if name != "id"} for fields in NEMO]
    assert again == [{**expected[0], "label": 7}, *expected[1:]]  # the note says so


def test_plain_nemo_lines_are_the_same_bytes(tmp_path: Path) -> None:
    lines = [
        '{"audio_filepath": "a.wav", "offset": 0.25, "duration": 1.1, "text": "yes", "label": "spoof"}',
        '{"audio_filepath": "a.wav", "offset": 1.35, "duration": 2.0, "text": "no", "label": "bonafide"}',
        '{"audio_filepath": "b.wav", "duration": 2.5, "label": "bonafide", "lang": "en", "domain": "radio"}',
    ]
    path = put(tmp_path / "in.jsonl", list(lines))
    imported = read_nemo(path)
    assert [row.id for row in imported.manifest.rows()] == ["a.wav-0001", "a.wav-0002", "b.wav-0001"]
    assert [row.label for row in imported.manifest.rows()] == ["spoof", "bonafide", "bonafide"]
    assert write_nemo(imported.manifest, tmp_path / "out.jsonl") == ()
    assert (tmp_path / "out.jsonl").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"audio_filepath": "a.wav"', "line 2 is not JSON.*one JSON object a line"),
        ('["a.wav"]', "line 2 is a list, not an object"),
        ('{"duration": 1}', "line 2: `audio_filepath` is None"),
        ('{"audio_filepath": "a.wav", "duration": "1"}', "line 2: `duration` is 1"),
        ('{"audio_filepath": "a.wav", "duration": true}', "line 2: `duration` is true"),
        ('{"audio_filepath": "a.wav", "duration": NaN}', "line 2 is not JSON .NaN is no JSON"),
        ('{"audio_filepath": "a.wav", "offset": -1}', "line 2: `offset` is -1"),
        ('{"audio_filepath": "a.wav", "text": "a", "text": "b"}', "line 2 is not JSON .`text` stands there twice"),
    ],
)
def test_nemo_faults(tmp_path: Path, line: str, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        read_nemo(put(tmp_path / "m.jsonl", ['{"audio_filepath": "x.wav"}', line]))


def test_nemo_says_what_is_missing(make: Any, tmp_path: Path) -> None:
    rows = [{"path": "a.wav", "duration_s": 9.0, "start": 1.0, "end": 2.0}, {"path": "b.wav"}]
    notes = write_nemo(make(rows), tmp_path / "m.jsonl")
    assert "`duration_s` (1)" in notes[0]
    assert "1 row(s) have no `duration`" in notes[1]


def test_values_keep_their_kind_in_a_column_of_text() -> None:
    for values in ([1, 2.5, None], [True, False], [[1], {"a": "b"}], ["a", "1"], [None, None]):
        assert as_values([as_text(value) for value in values]) == values
    assert as_values(["1.0", "1e3"]) == ["1.0", "1e3"]  # not as JSON would write them: texts


def test_truncated_gzip_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "recordings.jsonl.gz", RECORDINGS)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match="damaged gzip file"):
        read_lhotse(path)
