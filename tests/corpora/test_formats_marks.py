"""RTTM, CTM and TextGrid: lines and tiers as rows, back to the same bytes, and faults named by line."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earwitness.core.errors import DataError
from earwitness.corpora.formats.ctm import read_ctm, write_ctm
from earwitness.corpora.formats.rttm import read_rttm, write_rttm
from earwitness.corpora.formats.textgrid import Grid, Mark, Tier, formatted, parse, read_textgrid, write_textgrid

RTTM = """\
SPEAKER meeting 1 0 1.5 <NA> <NA> anna <NA> <NA>
SPEAKER meeting 1 1.5 0.7 <NA> <NA> bert 0.93 <NA>
SPEAKER other 2 0.1 0.2 ja adult_male bert <NA> 0.5
SPEAKER other 2 3 0 <NA> <NA> anna <NA> <NA>
"""
CTM = """\
call 1 0.1 0.2 guten 0.98
call 1 0.3 0.25 Tag
call 2 1 0 äh 0.5
"""
LONG = """\
File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0 
xmax = 2.3 
tiers? <exists> 
size = 3 
item []: 
    item [1]:
        class = "IntervalTier" 
        name = "words" 
        xmin = 0 
        xmax = 2.3 
        intervals: size = 3 
        intervals [1]:
            xmin = 0 
            xmax = 0.5 
            text = "" 
        intervals [2]:
            xmin = 0.5 
            xmax = 1.2345678901234567 
            text = "say ""5"" ! 3" 
        intervals [3]:
            xmin = 1.2345678901234567 
            xmax = 2.3 
            text = "" 
    item [2]:
        class = "TextTier" 
        name = "clicks" 
        xmin = 0 
        xmax = 2.3 
        points: size = 2 
        points [1]:
            number = 0.25 
            mark = "" 
        points [2]:
            number = 1 
            mark = "two
lines" 
    item [3]:
        class = "IntervalTier" 
        name = "nothing" 
        xmin = 0 
        xmax = 2.3 
        intervals: size = 1 
        intervals [1]:
            xmin = 0 
            xmax = 2.3 
            text = "" 
"""  # noqa: W291 - Praat ends its lines so
SHORT = """\
File type = "ooTextFile short"
"TextGrid"

0
2.3
<exists>
3
"IntervalTier"
"words"
0
2.3
3
0
0.5
""
0.5
1.2345678901234567
"say ""5"" ! 3"
1.2345678901234567
2.3
""
"TextTier" "clicks" 0 2.3 2 ! on one line
0.25 "" 1 "two
lines"
"IntervalTier"
"nothing"
0
2.3
1
0
2.3
""
"""


def put(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_rttm_comes_back_byte_for_byte(tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio/meeting.flac").touch()
    imported = read_rttm(put(tmp_path, "a.rttm", RTTM))
    table = imported.manifest.table
    assert table.select("id", "path", "start", "end", "channel", "speaker").rows() == [
        ("meeting-0001", "audio/meeting.flac", 0.0, 1.5, 0, "anna"),
        ("meeting-0002", "audio/meeting.flac", 1.5, 2.2, 0, "bert"),
        ("other-0001", "other", 0.1, 0.3, 1, "bert"),
        ("other-0002", "other", None, None, 1, "anna"),
    ]
    assert table["point_s"].to_list() == [None, None, None, "3"]
    assert table["confidence"].to_list() == [None, "0.93", None, None]
    notes = " / ".join(imported.notes)
    assert "1 of 2 recordings" in notes
    assert "(first: other)" in notes
    assert "1 stretch(es) of no length" in notes
    notes = write_rttm(imported.manifest, tmp_path / "b.rttm")
    assert (tmp_path / "b.rttm").read_text() == RTTM
    assert notes == ("left behind, for RTTM has no place for them: `path` (4)",)


def test_rttm_of_partially_spoofed_speech_gives_labels(tmp_path: Path) -> None:
    lines = [
        f"SPEAKER CON_T_0000001 1 {start} {length} <NA> <NA> {label} <NA> <NA>"
        for start, length, label in [("0.000", "0.320", "bonafide"), ("0.32", "1.2", "spoof")]
    ]
    imported = read_rttm(put(tmp_path, "t.rttm", "\n".join(lines)))
    rows = list(imported.manifest.rows())
    assert [(row.start, row.end, row.label, row.speaker) for row in rows] == [
        (0.0, 0.32, "bonafide", None),
        (0.32, 1.52, "spoof", None),
    ]
    write_rttm(imported.manifest, tmp_path / "b.rttm")
    assert (tmp_path / "b.rttm").read_text().split("\n")[0].split()[7] == "bonafide"


def test_rttm_passes_over_other_types_and_says_so(tmp_path: Path) -> None:
    text = ";; a comment\nSPKR-INFO m 1 <NA> <NA> <NA> adult_male bert <NA> <NA>\r\n" + RTTM.replace(" <NA>\n", "\n")
    imported = read_rttm(put(tmp_path, "a.rttm", text))
    assert len(imported.manifest) == 4
    assert imported.notes[:2] == ("1 line(s) passed over: comments", "1 line(s) passed over: SPKR-INFO")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("SPEAKER m 1 0 1 <NA> <NA> a", "line 2: 8 fields. Expected: SPEAKER <file>"),
        ("SPEKER m 1 0 1 <NA> <NA> a <NA> <NA>", "line 2: unknown type 'SPEKER'"),
        ("SPEAKER m 1 x 1 <NA> <NA> a <NA> <NA>", "line 2: 'x 1' are not a start"),
        ("SPEAKER m 1 0 -1 <NA> <NA> a <NA> <NA>", "line 2: '0 -1' are not"),
        ("SPEAKER m 1 0 inf <NA> <NA> a <NA> <NA>", "line 2: '0 inf' are not"),
        ("SPEAKER m 0 0 1 <NA> <NA> a <NA> <NA>", "line 2: channel '0'"),
    ],
)
def test_rttm_faults(tmp_path: Path, line: str, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        read_rttm(put(tmp_path, "a.rttm", RTTM.split("\n")[0] + "\n" + line + "\n"))


def test_rttm_of_a_folder_and_of_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no \*\.rttm"):
        read_rttm(tmp_path)
    put(tmp_path, "a.rttm", RTTM)
    (tmp_path / "sub").mkdir()
    put(tmp_path / "sub", "b.rttm", RTTM.replace("meeting", "third"))
    assert len(read_rttm(tmp_path).manifest) == 8


def test_rttm_says_what_it_makes_up_and_what_it_leaves(make: Any, tmp_path: Path) -> None:
    rows = [
        {"path": "sub/a.wav", "id": "x", "speaker": "s", "label": "spoof", "duration_s": 2.5, "transcript": "two words"}
    ]
    notes = write_rttm(make(rows), tmp_path / "a.rttm")
    assert (tmp_path / "a.rttm").read_text() == "SPEAKER a 1 0 2.5 <NA> <NA> s <NA> <NA>\n"
    assert notes == (
        "left behind, for RTTM has no place for them: `path` (1), `duration_s` (1), `label` (1), `transcript` (1)",
        "left behind, for RTTM has no place for them: `id` (1)",
        "1 row(s) without a channel are written as the first one",
    )
    for row, expected in [
        ({"path": "a.wav"}, "row 1, column `end`: is empty"),
        ({"path": "a.wav", "end": 1, "speaker": "a b"}, "column `speaker`: 'a b' holds a blank"),
        ({"path": "a b.wav", "end": 1}, "column `recording`"),
    ]:
        with pytest.raises(DataError, match=expected):
            write_rttm(make([row]), tmp_path / "b.rttm")
    with pytest.raises(DataError, match=r"'a' would name y/a.wav and x/a.wav"):
        write_rttm(make([{"path": "x/a.wav", "end": 1}, {"path": "y/a.wav", "end": 1}]), tmp_path / "b.rttm")


def test_ctm_comes_back_byte_for_byte(tmp_path: Path) -> None:
    imported = read_ctm(put(tmp_path, "a.ctm", CTM))
    assert imported.manifest.table.select("start", "end", "channel", "transcript", "confidence").rows() == [
        (0.1, 0.3, 0, "guten", "0.98"),
        (0.3, 0.55, 0, "Tag", None),
        (None, None, 1, "äh", "0.5"),
    ]
    write_ctm(imported.manifest, tmp_path / "b.ctm")
    assert (tmp_path / "b.ctm").read_text(encoding="utf-8") == CTM
    letters = read_ctm(put(tmp_path, "c.ctm", ";; words\n" + CTM.replace(" 1 ", " A ", 1)))
    assert letters.manifest.row(0).channel == 0
    assert letters.notes[0] == "1 comment(s) passed over"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("call 1 0.1 0.2", "line 1: 4 fields. Expected: <file> <channel>"),
        ("call 1 0.1 0.2 a 0.9 lex", "line 1: 7 fields"),
        ("call X 0.1 0.2 a", "line 1: channel 'X'"),
        ("call 1 0.1 long a", "line 1: '0.1 long'"),
        ("call 1 * * <ALT_BEGIN>", "line 1: alternative words"),
    ],
)
def test_ctm_faults(tmp_path: Path, line: str, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        read_ctm(put(tmp_path, "a.ctm", line))


def test_ctm_holds_one_word_a_row(make: Any, tmp_path: Path) -> None:
    for transcript, expected in [("two words", "holds a blank"), (None, "a word a row")]:
        with pytest.raises(DataError, match=f"column `transcript`.*{expected}"):
            write_ctm(make([{"path": "a.wav", "end": 1, "transcript": transcript}]), tmp_path / "a.ctm")


def test_textgrid_comes_back_byte_for_byte(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/talk.wav").touch()
    imported = read_textgrid(put(tmp_path / "in", "talk.TextGrid", LONG))
    assert imported.manifest.table.select("path", "tier", "start", "end", "point_s", "transcript").rows() == [
        ("talk.wav", "words", 0.5, 1.2345678901234567, None, 'say "5" ! 3'),
        ("talk.wav", "clicks", None, None, "0.25", None),
        ("talk.wav", "clicks", None, None, "1", "two\nlines"),
        ("talk.wav", "nothing", 0.0, 2.3, None, None),
    ]
    assert imported.notes[0] == "2 interval(s) without a text are gaps, and no rows"
    write_textgrid(imported.manifest, tmp_path / "out")
    assert (tmp_path / "out/talk.TextGrid").read_text(encoding="utf-8") == LONG


def test_both_text_forms_and_all_encodings_are_one(tmp_path: Path) -> None:
    grid = parse(LONG)
    assert parse(SHORT) == grid
    expected = read_textgrid(put(tmp_path, "a.TextGrid", LONG)).manifest.table
    for encoding in ("utf-8-sig", "utf-16", "utf-16-be", "utf-16-le"):
        mark = "\ufeff" if encoding[-3:] in ("-be", "-le") else ""
        (tmp_path / "a.TextGrid").write_bytes((mark + SHORT.replace("\n", "\r\n")).encode(encoding))
        assert read_textgrid(tmp_path / "a.TextGrid").manifest.table.equals(expected), encoding


def test_a_folder_of_textgrids(tmp_path: Path) -> None:
    for name in ("one/a", "two/a"):
        (tmp_path / name).parent.mkdir()
        put(tmp_path, f"{name}.TextGrid", LONG)
    imported = read_textgrid(tmp_path)
    assert set(imported.manifest.table["recording"]) == {"one/a", "two/a"}
    write_textgrid(imported.manifest, tmp_path / "out")
    assert (tmp_path / "out/two/a.TextGrid").read_text(encoding="utf-8") == LONG


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"TextGrid"', '"Sound"', "holds 'Sound', no TextGrid"),
        ('"ooTextFile"', '"Praat chronological TextGrid text file"', "chronological"),
        ("xmax = 0.5", "xmax = -0.5", "line 17: from 0 to -0.5"),
        ("xmin = 0.5", "xmin = half", r"line 22: 1.23\d+. Expected: the text of a mark|line 22"),
        ('"IntervalTier"', '"Tier"', "line 10: unknown class of tier 'Tier'"),
        ("size = 3 \nitem", "size = 4 \nitem", "the end of the file. Expected: the class of a tier"),
        ("size = 3 \nitem", "size = 2.5 \nitem", "line 7: 2.5. Expected: the number of tiers"),
        ('"clicks"', '"words"', "two tiers are called 'words'"),
        ('"say ""5"" ! 3"', '"say', "Expected"),
        ("<exists>", "3", "Expected: <exists> or <absent>"),
    ],
)
def test_textgrid_faults(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in LONG
    with pytest.raises(DataError, match=expected):
        read_textgrid(put(tmp_path, "a.TextGrid", LONG.replace(old, new, 1)))


def test_textgrids_that_are_no_text(tmp_path: Path) -> None:
    for data, expected in [
        (b"ooBinaryFile\x08TextGrid", "binary TextGrid"),
        (LONG.encode() + b"\xe4", "neither UTF-8"),
    ]:
        (tmp_path / "a.TextGrid").write_bytes(data)
        with pytest.raises(DataError, match=expected):
            read_textgrid(tmp_path / "a.TextGrid")


def test_intervals_of_no_length_are_kept(tmp_path: Path) -> None:
    grid = Grid(0, 3, (Tier("t", False, (Mark(0, 1, "a"), Mark(1, 1, "zero"), Mark(1, 3, "b"))),))
    imported = read_textgrid(put(tmp_path, "a.TextGrid", formatted(grid)))
    assert imported.manifest.table["point_s"].to_list() == [None, "1", None]
    write_textgrid(imported.manifest, tmp_path / "out")
    assert parse((tmp_path / "out/a.TextGrid").read_text()) == grid


def test_speakers_are_tiers_and_overlaps_are_refused(make: Any, tmp_path: Path) -> None:
    rows = [
        {"path": "a.wav", "id": f"{i}", "speaker": speaker, "start": start, "end": start + 1, "transcript": "x"}
        for i, (speaker, start) in enumerate([("anna", 0.5), ("bert", 1.0), ("anna", 2.0)])
    ]
    notes = write_textgrid(make(rows), tmp_path / "out")
    tiers = parse((tmp_path / "out/a.TextGrid").read_text()).tiers
    assert [(tier.name, [mark.text for mark in tier.marks]) for tier in tiers] == [
        ("anna", ["", "x", "", "x"]),
        ("bert", ["", "x", ""]),
    ]
    assert "`speaker` (3)" in notes[0]
    with pytest.raises(DataError, match="row 2, column `start`: 1 s lies in the interval before it"):
        write_textgrid(make([{**row, "speaker": "anna"} for row in rows]), tmp_path / "out")


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "a\0"])
def test_no_name_leads_out_of_the_folder(make: Any, tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="leads out of the folder"):
        write_textgrid(make([{"path": "a.wav", "end": 1, "recording": name}]), tmp_path / "deep/out")


texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r"), max_size=8)
cuts = st.lists(st.floats(0.001, 1e4), min_size=1, max_size=5, unique=True).map(sorted)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=texts, times=cuts, data=st.data())
def test_any_grid_reads_back(name: str, times: list[float], data: st.DataObject) -> None:
    edges = [0.0, *times]
    intervals = tuple(Mark(a, b, data.draw(texts)) for a, b in pairwise(edges))
    points = tuple(Mark(time, time, data.draw(texts)) for time in times)
    grid = Grid(0.0, times[-1], (Tier(name, False, intervals), Tier(name + "'", True, points)))
    assert parse(formatted(grid)) == grid
