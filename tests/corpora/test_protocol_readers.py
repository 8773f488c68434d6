"""Detection protocols: made-up lines of every form, what is refused, and lists that come back byte for byte."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from earwitness.core.errors import DataError, UsageError
from earwitness.corpora.inspection import fill_from_files
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers import READERS, read_corpus, write_protocol
from earwitness.corpora.readers.asvspoof5 import read_sasv_trials
from earwitness.corpora.readers.detection import DETECTION_READERS
from earwitness.corpora.readers.partialspoof import read_regions, read_segments


@dataclass(frozen=True)
class Form:
    """A corpus: where its list lies, its lines (second one bona fide), and the first row that they give."""

    reader: str
    place: str
    text: str
    row: dict[str, Any]
    extra: dict[str, str | None]
    bad_label: str
    head: str = ""


FORMS = (
    Form(
        "asvspoof2019-la",
        "ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.dev.trl.txt",
        "LA_0069 LA_D_1000001 - A05 spoof\nLA_0070 LA_D_1000002 - - bonafide\n",
        {
            "id": "LA_D_1000001",
            "path": "ASVspoof2019_LA_dev/flac/LA_D_1000001.flac",
            "speaker": "LA_0069",
            "system": "A05",
            "split": "dev",
        },
        {},
        "LA_0069 LA_D_1000003 - A05 spoofed",
    ),
    Form(
        "asvspoof2019-pa",
        "ASVspoof2019_PA_cm_protocols/ASVspoof2019.PA.cm.train.trn.txt",
        "PA_0079 PA_T_0000001 aac BA spoof\nPA_0079 PA_T_0000002 aaa - bonafide\n",
        {"path": "ASVspoof2019_PA_train/flac/PA_T_0000001.flac", "system": "BA", "split": "train"},
        {"environment": "aac"},
        "PA_0079 PA_T_0000003 aac BA fake",
    ),
    Form(
        "asvspoof2021-la",
        "keys/LA/CM/trial_metadata.txt",
        "LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval\n"
        "LA_0020 LA_E_6866159 none - bonafide bonafide trim hidden\n",
        {
            "path": "flac/LA_E_9332881.flac",
            "speaker": "LA_0009",
            "codec": "alaw",
            "system": "A07",
            "split": "test",
        },
        {"subset": "eval", "trim": "notrim", "transmission": "ita_tx"},
        "LA_0009 LA_E_9332882 alaw ita_tx A07 target notrim eval",
    ),
    Form(
        "asvspoof2021-df",
        "keys/DF/CM/trial_metadata.txt",
        "TEF2 DF_E_2000011 low_mp3 vcc2020 Task1-team20 spoof notrim progress unknown Task1 team20 FF E\n"
        "LA_0023 DF_E_2000012 nocodec asvspoof - bonafide notrim eval bonafide - - - -\n",
        {"path": "flac/DF_E_2000011.flac", "codec": "low_mp3", "system": "Task1-team20", "language": "E"},
        {"source": "vcc2020", "vocoder": "unknown", "task": "Task1", "team": "team20", "gender_pair": "FF"},
        "TEF2 DF_E_2000013 low_mp3 vcc2020 A fake notrim eval unknown - - - -",
    ),
    Form(
        "asvspoof2021-pa",
        "keys/PA/CM/trial_metadata.txt",
        "PA_0010 PA_E_1000001 R3 M3 d4 r1 m1 s4 c4 spoof notrim eval\n"
        "PA_0010 PA_E_1000002 R3 M3 D4 - - - - bonafide notrim progress\n",
        {"path": "flac/PA_E_1000001.flac", "system": "s4"},
        {"asv_room": "R3", "attacker_room": "r1", "attacker_to_talker": "c4", "distance_to_asv": "d4"},
        "PA_0010 PA_E_1000003 R3 M3 d4 r1 m1 s4 c4 nontarget notrim eval",
    ),
    Form(
        "asvspoof5",
        "ASVspoof5_protocols/ASVspoof5.eval.track_1.tsv",
        "E_0001 E_0000000007 F C05 3 E_0000000003 AC3 A17 spoof -\nE_0002 E_0000000001 M - - - - bonafide bonafide -\n",
        {
            "path": "flac_E_eval/E_0000000007.flac",
            "sex": "f",
            "codec": "C05",
            "system": "A17",
            "split": "test",
            "split_group": "E_0000000003",
        },
        {"codec_q": "3", "codec_seed": "E_0000000003", "attack_tag": "AC3"},
        "E_0001 E_0000000008 F C05 3 - AC3 A17 Spoof -",
    ),
    Form(
        "partialspoof",
        "protocols/PartialSpoof_LA_cm_protocols/PartialSpoof.LA.cm.train.trl.txt",
        "LA_0079 CON_T_0000000 - CON spoof\nLA_0079 LA_T_1138215 - - bonafide\n",
        {"path": "train/con_wav/CON_T_0000000.wav", "system": "CON", "split": "train"},
        {},
        "LA_0079 CON_T_0000001 - CON 0",
    ),
    Form(
        "ctrsvdd",
        "test.txt",
        "jvsmusic CtrSVDD_0097 CtrSVDD_0097_E_0010993 - A09 deepfake\n"
        "acesinger CtrSVDD_0110 CtrSVDD_0110_E_0015416 - - bonafide\n",
        {"path": "test_set/CtrSVDD_0097_E_0010993.flac", "speaker": "CtrSVDD_0097", "system": "A09", "split": "test"},
        {"source": "jvsmusic"},
        "jvsmusic CtrSVDD_0097 CtrSVDD_0097_E_0010994 - A09 spoof",
    ),
    Form(
        "in-the-wild",
        "meta.csv",
        'file,speaker,label\n0.wav,Alec Guinness,spoof\n4.wav,"King, Martin",bona-fide\n',
        {"id": "0.wav", "path": "0.wav", "speaker": "Alec Guinness", "split": "test"},
        {},
        "1.wav,Alec Guinness,bonafide",
    ),
    Form(
        "df-arena",
        "metadata.csv",
        "file_name,label\n/data/for/fake/file1.wav,spoof\n/data/for/real/file1.wav,bonafide\n",
        {"id": "/data/for/fake/file1.wav", "path": "/data/for/fake/file1.wav", "speaker": None},
        {},
        "/data/x.wav,real",
    ),
)
every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.reader)


def put(folder: Path, form: Form, text: str | None = None) -> Path:
    file = folder / form.place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(form.text if text is None else text, encoding="utf-8", newline="")
    return file


def test_every_protocol_has_lines_here() -> None:
    assert {form.reader for form in FORMS} == set(DETECTION_READERS)
    assert set(DETECTION_READERS) <= set(READERS)


@every_form
def test_rows_of_a_list(form: Form, tmp_path: Path) -> None:
    table = read_corpus(form.reader, put(tmp_path, form)).manifest.table
    assert table["label"].to_list() == ["spoof", "bonafide"]
    assert table["system"].to_list()[1] is None
    assert {name: table[name][0] for name in form.row} == form.row
    assert {name: table[name][0] for name in form.extra} == form.extra


@every_form
def test_the_root_of_the_corpus_is_found(form: Form, tmp_path: Path) -> None:
    file = put(tmp_path / "corpus", form)
    by_file = read_corpus(form.reader, file).manifest
    assert by_file.root.resolve() == (tmp_path / "corpus").resolve()
    if form.reader == "df-arena":
        return
    by_folder = read_corpus(form.reader, tmp_path / "corpus").manifest
    assert by_folder.sha256 == by_file.sha256
    assert by_folder.root.resolve() == by_file.root.resolve()
    beside = read_corpus(form.reader, file.parent).manifest
    assert beside.root.resolve() == by_file.root.resolve()


@every_form
def test_round_trip(form: Form, tmp_path: Path) -> None:
    file = put(tmp_path, form)
    first = read_corpus(form.reader, file).manifest
    first.write(tmp_path / "kept.csv")  # through a manifest file too
    write_protocol(form.reader, Manifest.read(tmp_path / "kept.csv"), file)
    assert file.read_bytes() == form.text.encode()
    assert read_corpus(form.reader, file).manifest.table.equals(first.table)


@every_form
def test_unknown_label_is_named(form: Form, tmp_path: Path) -> None:
    file = put(tmp_path, form, form.text + form.bad_label + "\n")
    with pytest.raises(DataError) as caught:
        read_corpus(form.reader, file)
    lines = form.text.count("\n") + 1
    word = "Allowed: bona-fide, spoof" if form.reader == "in-the-wild" else "Allowed: bonafide, "
    assert f"{file.name}: line {lines}: unknown label" in str(caught.value)
    assert word in str(caught.value)


@every_form
def test_wrong_number_of_fields_names_the_line_and_the_form(form: Form, tmp_path: Path) -> None:
    last = form.text.splitlines()[-1]
    separator = "," if form.reader in ("in-the-wild", "df-arena") else " "
    file = put(tmp_path, form, form.text + last + separator + "more\n")
    with pytest.raises(DataError, match=rf"line {form.text.count(chr(10)) + 1}: has \d+ field.*(id|label)"):
        read_corpus(form.reader, file)


@every_form
def test_duplicates_are_refused_with_both_lines(form: Form, tmp_path: Path) -> None:
    last = form.text.splitlines()[-1]
    file = put(tmp_path, form, form.text + last + "\n")
    lines = form.text.count("\n")
    with pytest.raises(DataError, match=rf"line {lines + 1}: '.*' stands in line {lines} too"):
        read_corpus(form.reader, file)


@every_form
def test_missing_audio_is_told_a_row(form: Form, tmp_path: Path) -> None:
    manifest, problems = fill_from_files(read_corpus(form.reader, put(tmp_path, form)).manifest)
    assert [problem.id for problem in problems] == manifest.table["id"].to_list()


def test_other_blanks_and_line_ends_read_alike(tmp_path: Path) -> None:
    form = FORMS[0]
    plain = read_corpus(form.reader, put(tmp_path / "a", form)).manifest
    odd = "\ufeff" + form.text.replace(" ", "\t", 1).replace(" - ", "  -  ").replace("\n", " \r\n\r\n")
    assert read_corpus(form.reader, put(tmp_path / "b", form, odd)).manifest.table.equals(plain.table)


def test_empty_and_unreadable_lists(tmp_path: Path) -> None:
    file = put(tmp_path, FORMS[0], "\n \n")
    with pytest.raises(DataError, match="is empty"):
        read_corpus("asvspoof2019-la", file)
    file.write_bytes(b"LA_0069 LA_D_\xff")
    with pytest.raises(DataError, match="not UTF-8"):
        read_corpus("asvspoof2019-la", file)


def test_the_list_of_another_corpus(tmp_path: Path) -> None:
    pa = put(tmp_path, FORMS[1])
    with pytest.raises(DataError, match="line 1: field 3 is 'aac' instead of '-'"):
        read_corpus("asvspoof2019-la", pa)
    with pytest.raises(DataError, match=r"has 5 field\(s\) instead of 8 .* or 1"):
        read_corpus("asvspoof2021-la", pa)
    with pytest.raises(DataError, match=r"Looked for ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.train.trn.txt"):
        read_corpus("asvspoof2019-la", tmp_path)


def test_all_lists_of_a_corpus_and_where_their_audio_is(tmp_path: Path) -> None:
    folder = tmp_path / "LA" / "ASVspoof2019_LA_cm_protocols"
    folder.mkdir(parents=True)
    for part, end in (("train", "trn"), ("dev", "trl"), ("eval", "trl")):
        line = f"LA_0001 LA_{part[0].upper()}_1000001 - - bonafide\n"
        (folder / f"ASVspoof2019.LA.cm.{part}.{end}.txt").write_text(line)
    (tmp_path / "LA" / "ASVspoof2019_LA_train" / "flac").mkdir(parents=True)
    imported = read_corpus("asvspoof2019-la", tmp_path)  # the folder above the corpus
    assert imported.manifest.table["split"].to_list() == ["train", "dev", "test"]
    missing = [note for note in imported.notes if note.startswith("no folder")]
    assert [note.split()[2] for note in missing] == ["ASVspoof2019_LA_dev/flac", "ASVspoof2019_LA_eval/flac"]
    (tmp_path / "copy" / folder.name).mkdir(parents=True)
    (tmp_path / "copy" / folder.name / "ASVspoof2019.LA.cm.eval.trl.txt").write_text("a LA_E_1000001 - - bonafide\n")
    with pytest.raises(DataError, match="holds several"):
        read_corpus("asvspoof2019-la", tmp_path)


def test_one_id_in_two_lists(tmp_path: Path) -> None:
    for part in ("train", "dev"):
        (tmp_path / f"{part}.txt").write_text("m4singer CtrSVDD_0001 CtrSVDD_0001_T_0000001 - - bonafide\n")
    with pytest.raises(DataError, match=r"dev\.txt: 'CtrSVDD_0001_T_0000001' stands in train\.txt too"):
        read_corpus("ctrsvdd", tmp_path)


def test_audio_beside_the_keys_of_2021(tmp_path: Path) -> None:
    put(tmp_path, FORMS[2])
    (tmp_path / "ASVspoof2021_LA_eval" / "flac").mkdir(parents=True)
    imported = read_corpus("asvspoof2021-la", tmp_path)
    assert imported.manifest.row(0).path == "ASVspoof2021_LA_eval/flac/LA_E_9332881.flac"
    assert imported.notes[-1] == "subsets: eval 1, hidden 1; papers report eval"


def test_older_forms(tmp_path: Path) -> None:
    form = FORMS[2]
    file = put(tmp_path, form, form.text.replace("hidden", "hidden_track"))
    assert read_corpus(form.reader, file).manifest.table["subset"].to_list() == ["eval", "hidden"]
    older = "T_0001 T_0000000000 F - A05 spoof\nT_0002 T_0000000001 M - bonafide bonafide\n"
    file = tmp_path / "ASVspoof5.train.metadata.txt"
    file.write_text(older)
    manifest = read_corpus("asvspoof5", file).manifest
    assert manifest.table["system"].to_list() == ["A05", None]
    assert manifest.row(1).path == "flac_T/T_0000000001.flac"
    write_protocol("asvspoof5", manifest, file)
    assert file.read_text() == older


def test_a_trial_list_has_no_labels_and_is_written_without(tmp_path: Path) -> None:
    file = tmp_path / "ASVspoof2021.LA.cm.eval.trl.txt"
    file.write_text("LA_E_9332881\nLA_E_6866159\n")
    imported = read_corpus("asvspoof2021-la", file)
    assert imported.manifest.table["label"].null_count() == 2
    assert "this list has no labels" in imported.notes[-1]
    write_protocol("asvspoof2021-la", imported.manifest, tmp_path / "again.txt")
    assert (tmp_path / "again.txt").read_bytes() == file.read_bytes()
    labelled = Manifest(imported.manifest.table.with_columns(label=pl.lit("spoof")), tmp_path)
    with pytest.raises(DataError, match="has no column `subset`, `transmission`, `trim`"):
        write_protocol("asvspoof2021-la", labelled, tmp_path / "again.txt")


def test_ids_without_a_part_lie_beside_the_list(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("s1 first - A01 spoof\n")
    imported = read_corpus("asvspoof2019-la", file)
    assert (imported.manifest.row(0).path, imported.manifest.row(0).split) == ("first.flac", None)
    assert imported.notes[-1] == "1 id(s) tell no part of the corpus: their paths are <id>.flac"


def test_what_a_list_cannot_hold_is_refused(tmp_path: Path) -> None:
    def row(**values: str | None) -> Manifest:
        return Manifest(
            pl.DataFrame({"path": ["a"], "label": ["spoof"], **{k: [v] for k, v in values.items()}}), tmp_path
        )

    with pytest.raises(DataError, match="row 1, column `speaker`: 'Alec Guinness' holds a blank"):
        write_protocol("asvspoof2019-la", row(speaker="Alec Guinness"), tmp_path / "o.txt")
    with pytest.raises(DataError, match="row 1: unknown label 'None'"):
        write_protocol("asvspoof2019-la", row(label=None), tmp_path / "o.txt")
    with pytest.raises(DataError, match="row 1 has no speaker"):
        write_protocol("in-the-wild", row(), tmp_path / "o.csv")
    with pytest.raises(UsageError, match="Did you mean 'in-the-wild'"):
        write_protocol("in-wild", row(), tmp_path / "o.csv")
    assert not list(tmp_path.iterdir())


def test_csv_lists_name_a_wrong_header(tmp_path: Path) -> None:
    file = tmp_path / "meta.csv"
    file.write_text("file;speaker;label\n")
    with pytest.raises(DataError, match="line 1: the header is file;speaker;label instead of file,speaker,label"):
        read_corpus("in-the-wild", file)
    with pytest.raises(DataError, match=r"holds no meta\.csv"):
        read_corpus("in-the-wild", tmp_path / "..")


def test_arena_labels_in_parquet(tmp_path: Path) -> None:
    file = tmp_path / "labels.parquet"
    raw = pl.DataFrame({"utterance_id": ["ITW_0", "ITW_4"], "label": pl.Series([1, 0], dtype=pl.Int8)})
    raw.write_parquet(file)
    manifest = read_corpus("df-arena", file).manifest
    assert manifest.table.select("id", "label").rows() == [("ITW_0", "spoof"), ("ITW_4", "bonafide")]
    write_protocol("df-arena", manifest, tmp_path / "again.parquet")
    assert pl.read_parquet(tmp_path / "again.parquet").equals(raw)
    raw.with_columns(label=pl.Series([1, 2], dtype=pl.Int8)).write_parquet(file)
    with pytest.raises(DataError, match=r"row 2: unknown label '2'. Allowed: 0, 1"):
        read_corpus("df-arena", file)
    with pytest.raises(DataError, match="is a folder"):
        read_corpus("df-arena", tmp_path)


def test_track2_trials(tmp_path: Path) -> None:
    trials, enrolment = tmp_path / "trial.tsv", tmp_path / "enroll.tsv"
    trials.write_text("D_0062 D_0000000001 F A11 spoof\nD_0062 D_0000000002 F bonafide target\n")
    enrolment.write_text("D_0062 D_A0000000562,D_A0000000898\n")
    read = read_sasv_trials(trials, enrolment)
    assert read.table["label"].to_list() == ["spoof", "target"]
    assert read.table["system"].to_list() == ["A11", None]
    assert read.enrolment.rows() == [("D_0062", "D_A0000000562"), ("D_0062", "D_A0000000898")]
    trials.write_text("D_0063 D_0000000001 F A11 spoof\n")
    with pytest.raises(DataError, match="speaker 'D_0063' has no enrolment"):
        read_sasv_trials(trials, enrolment)
    trials.write_text("D_0062 D_0000000001 F A11 spoof\n" * 2)
    with pytest.raises(DataError, match="stands there twice"):
        read_sasv_trials(trials, enrolment)


def test_regions_of_rttm(tmp_path: Path) -> None:
    file = tmp_path / "eval.rttm"
    line = "SPEAKER CON_E_1 1 {} {} <NA> <NA> {} <NA> <NA>\n"
    file.write_text(line.format("1.5", "0.5", "bonafide") + line.format("0", "1.5", "spoof"))
    regions = read_regions(file)["CON_E_1"]
    assert [(r.start, r.end, r.bonafide) for r in regions] == [(0.0, 1.5, False), (1.5, 2.0, True)]
    file.write_text(line.format("0", "1.5", "A05"))
    with pytest.raises(DataError, match="line 1: unknown label 'A05'"):
        read_regions(file)
    assert not read_regions(file, {"A05": "spoof"})["CON_E_1"][0].bonafide
    file.write_text(line.format("0", "long", "spoof"))
    with pytest.raises(DataError, match="'long' is no time in seconds"):
        read_regions(file)


class Canary:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_segment_labels_are_never_unpickled(tmp_path: Path) -> None:
    file = tmp_path / "eval_seglab_0.16.npy"
    np.save(file, np.array({"CON_E_1": Canary(tmp_path / "ran")}), allow_pickle=True)
    with pytest.raises(DataError, match="pickled objects, which are never loaded"):
        read_segments(file, 0.16)
    np.savez(tmp_path / "bad.npz", a=np.array([Canary(tmp_path / "ran")], dtype=object))
    with pytest.raises(DataError, match="pickled objects"):
        read_segments(tmp_path / "bad.npz", 0.16)
    assert not (tmp_path / "ran").exists()


def test_segment_labels(tmp_path: Path) -> None:
    file = tmp_path / "eval.npz"
    np.savez(file, CON_E_1=np.array(["1", "1", "0", "1"]), LA_E_2=np.array([1, 1]))
    found = read_segments(file, 0.5)
    assert [(r.start, r.end, r.bonafide) for r in found["CON_E_1"]] == [
        (0.0, 1.0, True),
        (1.0, 1.5, False),
        (1.5, 2.0, True),
    ]
    assert len(found["LA_E_2"]) == 1
    np.savez(file, CON_E_1=np.array([0.5, 1.0]))
    with pytest.raises(DataError, match="CON_E_1: is no row of labels 0 and 1"):
        read_segments(file, 0.5)
    file.write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(DataError, match=r"is no \.npz file"):
        read_segments(file, 0.5)


def test_a_long_list_is_split_as_a_whole(tmp_path: Path) -> None:
    text = "".join(
        f"E_{i % 900:04d} E_{i:010d} {'FM'[i % 2]} C{i % 11:02d} {i % 5} E_{i // 2:010d} AC1 A{17 + i % 16} spoof -\n"
        for i in range(100_000)
    )
    file = tmp_path / "ASVspoof5.eval.track_1.tsv"
    file.write_text(text)
    manifest = read_corpus("asvspoof5", file).manifest
    assert len(manifest) == 100_000
    write_protocol("asvspoof5", manifest, file)
    assert file.read_text() == text
    file.write_text(text.replace("A17 spoof -\n", "A17 spoof\n", 1))
    with pytest.raises(DataError, match=r"line 1: has 9 field\(s\) instead of 10"):
        read_corpus("asvspoof5", file)
