"""Published lists are told by counts and checksum, wrong ones are named, and ids that don't meet are explained."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.core.errors import DataError, UsageError
from earwitness.corpora import canonical
from earwitness.corpora.canonical import KNOWN_LISTS, KnownList, list_checksum, recognise, recognise_rows, require
from earwitness.corpora.joining import join_advice
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers import read_corpus, write_protocol
from earwitness.corpora.readers.detection import DETECTION_READERS

EVAL = "asvspoof2019-la eval"


def made_up(rows: int, bonafide: int, prefix: str, digits: int = 7) -> Manifest:
    """`rows` rows with ids of a form, the first `bonafide` of them bona fide."""
    ids = [f"{prefix}{i:0{digits}d}" for i in range(rows)]
    labels = ["bonafide"] * bonafide + ["spoof"] * (rows - bonafide)
    return Manifest(pl.DataFrame({"id": ids, "path": ids, "label": labels}), Path())


def known(name: str) -> KnownList:
    return next(found for found in KNOWN_LISTS if found.name == name)


@pytest.fixture(scope="module")
def real_eval(shared_data: Path) -> Manifest:
    """The evaluation list of ASVspoof 2019 LA, as a published score file has it."""
    with gzip.open(shared_data / "score_files" / "asvspoof2019_la_eval_air_ocsoftmax.txt.gz", "rt") as lines:
        fields = [line.split() for line in lines]
    table = pl.DataFrame({name: [line[i] for line in fields] for i, name in enumerate(("id", "system", "label"))})
    table = table.with_columns(path="id", system=pl.col("system").replace("-", None))
    return Manifest(table, Path())


def test_the_real_list_is_told_by_its_content(real_eval: Manifest, tmp_path: Path) -> None:
    assert list_checksum(real_eval.table) == known(EVAL).sha256
    found = recognise(real_eval, "asvspoof2019-la")
    assert (found.name, found.rows, found.how) == (EVAL, 71_237, "content")
    assert require(real_eval, EVAL) == found
    shuffled = real_eval.with_table(real_eval.table.sample(fraction=1, shuffle=True, seed=1))
    assert recognise(shuffled, "asvspoof2019-la").how == "content"
    file = tmp_path / "ASVspoof2019.LA.cm.eval.trl.txt"
    write_protocol("asvspoof2019-la", real_eval, file)
    notes = read_corpus("asvspoof2019-la", file).notes
    assert notes[0].endswith("is 'asvspoof2019-la eval' (7,355 bona fide and 63,882 spoofed rows), by checksum")


def test_a_changed_real_list_is_not_the_published_one(real_eval: Manifest) -> None:
    table = real_eval.table
    swapped = table.with_columns(label=table["label"].shift(1).fill_null("spoof"))
    bonafide = int((swapped["label"] == "bonafide").sum())
    found = recognise(real_eval.with_table(swapped), "asvspoof2019-la")
    assert found.how == ("other content" if bonafide == 7_355 else "other labels")
    with pytest.raises(DataError, match="is not 'asvspoof2019-la eval'"):
        require(real_eval.with_table(swapped), EVAL)
    short = real_eval.with_table(table.head(71_225))
    found = recognise(short, "asvspoof2019-la")
    assert (found.name, found.how) == (EVAL, "part")
    assert "12 rows fewer than 'asvspoof2019-la eval'" in found.said


def test_a_wrong_subset_is_named() -> None:
    dev = made_up(24_844, 2_548, "LA_D_")
    assert recognise(dev, "asvspoof2019-la").how == "counts"
    with pytest.raises(DataError, match="this has the counts of 'asvspoof2019-la dev', not of 'asvspoof2019-la eval'"):
        require(dev, EVAL)
    whole = made_up(181_566, 18_452, "LA_E_")
    assert recognise(whole, "asvspoof2021-la").name == "asvspoof2021-la all"
    with pytest.raises(DataError, match="counts of 'asvspoof2021-la all', not of 'asvspoof2021-la eval'"):
        require(whole, "asvspoof2021-la eval")


def test_equal_counts_with_another_content() -> None:
    false = made_up(71_237, 7_355, "LA_E_")
    found = recognise(false, "asvspoof2019-la")
    assert (found.name, found.how) == (EVAL, "other content")
    with pytest.raises(DataError, match=r"but other ids or labels \(sha256 \w{12}, not ba9fd9b6d7f2\)"):
        require(false, EVAL)


def test_more_rows_other_labels_and_unknown_ids() -> None:
    more = recognise(made_up(31_780, 19_963, "1", 6).with_table(_wavs(31_780, 19_963)), "in-the-wild")
    assert (more.how, "1 rows more than" in more.said) == ("more", True)
    labels = recognise(made_up(1, 1, "x").with_table(_wavs(31_779, 11_816)), "in-the-wild")
    assert (labels.name, labels.how) == ("in-the-wild all", "other labels")
    suffixed = recognise(made_up(5, 1, "LA_E_").with_table(_suffixed(5)), "asvspoof2019-la")
    assert (suffixed.name, suffixed.how) == (None, "unknown")
    assert "they end with '.flac', which those of 'asvspoof2019-la eval' don't" in suffixed.said
    assert recognise(made_up(5, 1, "x"), "asvspoof2019-la").name is None
    elsewhere = recognise(made_up(5, 1, "LA_D_"), "asvspoof2019-pa")
    assert elsewhere.said.endswith("; they look like those of 'asvspoof2019-la dev'")
    assert recognise(made_up(5, 1, "LA_E_"), "folder").said == "no published list is known that has these 5 ids"


def _wavs(rows: int, bonafide: int) -> pl.DataFrame:
    labels = ["bonafide"] * bonafide + ["spoof"] * (rows - bonafide)
    return pl.DataFrame({"path": [f"{i}.wav" for i in range(rows)], "label": labels})


def _suffixed(rows: int) -> pl.DataFrame:
    return pl.DataFrame({"path": [f"LA_E_{i:07d}.flac" for i in range(rows)], "label": ["spoof"] * rows})


def test_a_list_without_class_counts_is_told_by_its_rows() -> None:
    assert recognise(made_up(67_579, 3, "CtrSVDD_0001_E_"), "ctrsvdd").name == "ctrsvdd eval without A14"


def test_a_list_is_told_by_the_md5_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.tsv"
    file.write_text("content")
    md5 = hashlib.md5(b"content", usedforsecurity=False).hexdigest()
    mine = KnownList("mine", "eval", "mine.tsv", 3, 1, "counted", "x.*", md5=md5)
    monkeypatch.setattr(canonical, "KNOWN_LISTS", (mine,))
    table = made_up(3, 1, "x").table
    assert recognise_rows(table, "mine", file).how == "file"
    file.write_text("other")
    assert recognise_rows(table, "mine", file).how == "counts"


def test_a_file_name_that_belongs_to_another_part(tmp_path: Path) -> None:
    file = tmp_path / "ASVspoof2019.LA.cm.eval.trl.txt"
    write_protocol("asvspoof2019-la", made_up(24_844, 2_548, "LA_D_"), file)
    notes = read_corpus("asvspoof2019-la", file).notes
    assert any("is the file name of 'asvspoof2019-la eval', but this has the counts of" in note for note in notes)


def test_known_lists_are_sound() -> None:
    names = [found.name for found in KNOWN_LISTS]
    assert len(set(names)) == len(names)
    assert {found.protocol for found in KNOWN_LISTS} <= set(DETECTION_READERS)
    assert all(found.bonafide is None or 0 < found.bonafide < found.rows for found in KNOWN_LISTS)
    counts = {found.name: (found.bonafide, found.spoof) for found in KNOWN_LISTS}
    assert counts[EVAL] == (7_355, 63_882)
    assert counts["asvspoof2021-df eval"] == (14_869, 519_059)
    with pytest.raises(UsageError, match="Did you mean 'asvspoof2019-la eval'"):
        require(made_up(1, 1, "x"), "asvspoof2019-la evl")


def test_checksum_is_that_of_sorted_lines() -> None:
    table = pl.DataFrame({"id": ["b", "a", "c"], "label": ["spoof", "bonafide", None]})
    assert list_checksum(table) == hashlib.sha256(b"a bonafide\nb spoof\nc -\n").hexdigest()


@given(st.lists(st.text("abcäß 0", min_size=1), min_size=1, unique=True))
def test_checksum_ignores_the_order(names: list[str]) -> None:
    table = pl.DataFrame({"id": names, "label": ["spoof"] * len(names)})
    assert list_checksum(table) == list_checksum(table.reverse())


FOR = ".wav_16k.wav_norm.wav_mono.wav_silence.wav"
NAMES = ("the scores", "the key")


@pytest.mark.parametrize(
    ("scores", "key", "said"),
    [
        (
            [f"file{i}" for i in range(30)],
            [f"file{i}{FOR}" for i in range(30)],
            f"ids of the key carry '{FOR}' at the end, those of the scores don't ('file0{FOR}' and 'file0'); "
            "without it 30 of 30 meet",
        ),
        (
            ["LA_E_1.flac", "LA_E_2.flac"],
            ["LA_E_1", "LA_E_2", "LA_E_3"],
            "ids of the scores carry '.flac' at the end, those of the key don't ('LA_E_1.flac' and 'LA_E_1'); "
            "without it 2 of 2 meet",
        ),
        (
            ["0", "1", "10"],
            ["ITW_0", "ITW_1", "ITW_10"],
            "ids of the key carry 'ITW_' in front, those of the scores don't ('ITW_0' and '0'); without it 3 of 3 meet",
        ),
        (
            ["a/x.wav", "b/y.wav"],
            ["x.flac", "y.flac"],
            "ids of the scores and of the key are written differently ('a/x.wav' and 'x.flac'); without it 2 of 2 meet",
        ),
        (
            ["la_e_1", "la_e_2"],
            ["LA_E_1", "LA_E_2"],
            "ids of the scores and of the key differ in upper case ('LA_E_1' and 'la_e_1'); without it 2 of 2 meet",
        ),
    ],
)
def test_join_advice(scores: list[str], key: list[str], said: str) -> None:
    assert join_advice(scores, key, NAMES) == said


def test_join_advice_warns_where_ids_would_fall_together() -> None:
    advice = join_advice(["file1", "file2"], ["real/file1.wav", "fake/file1.wav", "real/file2.wav"], NAMES)
    assert advice is not None
    assert advice.endswith("; but then ids of the key are no longer unique")


@pytest.mark.parametrize(
    ("left", "right"), [(["a"], ["a"]), (["LA_E_1"], ["DF_E_2"]), ([], ["a"]), (["a", "b", "c"], ["a", "b", "d"])]
)
def test_no_advice_where_nothing_helps(left: list[str], right: list[str]) -> None:
    assert join_advice(left, right) is None


def test_join_advice_is_quick_on_long_lists() -> None:
    ids = [f"LA_E_{i:07d}" for i in range(200_000)]
    advice = join_advice(ids, [f"{name}.flac" for name in ids], NAMES)
    assert advice is not None
    assert advice.endswith("without it 200,000 of 200,000 meet")
