"""Joining scores with a key: files, manifests and tables as keys, other polarity, and joins that fail with advice."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from earwitness.core.errors import DataError
from earwitness.core.hashing import sha256_file
from earwitness.corpora.manifest import Manifest
from earwitness.evaluation.judging.labelled import NEGATED, Key, read_labelled

NAMES = ["LA_E_1", "LA_E_2", "LA_E_3"]


@pytest.fixture
def scores(tmp_path: Path):
    def writing(ids: list[str]) -> Path:
        path = tmp_path / "scores.txt"
        path.write_text("".join(f"{name} {number}\n" for number, name in enumerate(ids)))
        return path

    return writing


def key_of(ids: list[str]) -> Key:
    labels = (["bonafide", "spoof"] * len(ids))[: len(ids)]
    return Key(pl.DataFrame({"id": ids, "label": labels, "codec": ["alaw"] * len(ids)}), "LA 2021", "cafe")


class TestKeys:
    def test_a_table_is_a_key(self, scores) -> None:
        found = read_labelled("deepfake", scores(NAMES), key_of(NAMES[::-1]))
        assert found.table.select("id", "score", "positive", "codec").rows() == [
            ("LA_E_1", 0.0, True, "alaw"),
            ("LA_E_2", 1.0, False, "alaw"),
            ("LA_E_3", 2.0, True, "alaw"),
        ]
        assert found.inputs["key"] == "cafe"
        assert found.inputs["scores"] == sha256_file(scores(NAMES))

    def test_a_manifest_and_its_file_are_the_same_key(self, scores, tmp_path: Path) -> None:
        table = pl.DataFrame(
            {"id": NAMES, "path": [f"flac/{n}.flac" for n in NAMES], "label": ["spoof", "spoof", "bonafide"]}
        )
        manifest = Manifest(table, tmp_path)
        manifest.write(tmp_path / "key.csv")
        one = read_labelled("deepfake", scores(NAMES), manifest)
        two = read_labelled("deepfake", scores(NAMES), tmp_path / "key.csv")
        assert (
            one.table.sort("id")
            .select("id", "score", "positive", "path")
            .equals(two.table.sort("id").select("id", "score", "positive", "path"))
        )
        assert one.inputs["key"] == manifest.sha256
        assert one.positive["id"].to_list() == ["LA_E_3"]

    def test_what_a_manifest_does_not_know_stays_as_the_file_says(self, tmp_path: Path) -> None:
        (tmp_path / "s.txt").write_text("a A07 spoof 0.5\nb - bonafide 0.7\n")
        manifest = Manifest(pl.DataFrame({"path": ["a", "b"], "label": ["spoof", "bonafide"]}), tmp_path)
        assert read_labelled("deepfake", tmp_path / "s.txt", manifest).negative["system"].to_list() == ["A07"]

    def test_contradicting_labels(self, tmp_path: Path) -> None:
        (tmp_path / "s.txt").write_text("LA_E_1 A07 spoof 0.5\n")
        with pytest.raises(DataError, match=r"row 1, id 'LA_E_1': has another label in the key"):
            read_labelled("deepfake", tmp_path / "s.txt", key_of(["LA_E_1"]))

    def test_trials_of_kaldi(self, tmp_path: Path) -> None:
        (tmp_path / "s.txt").write_text("a b 0.5 target\na c 0.25 nontarget\n")
        found = read_labelled("speaker", tmp_path / "s.txt")
        assert found.table.select("id", "score", "positive").rows() == [("a b", 0.5, True), ("a c", 0.25, False)]


def test_negated_turns_both_numbers_and_says_so(tmp_path: Path) -> None:
    table = pl.DataFrame({"id": ["a", "b"], "score": [1.0, -2.0], "llr": [3.0, None], "label": ["bonafide", "spoof"]})
    table.write_parquet(tmp_path / "s.parquet")
    found = read_labelled("deepfake", tmp_path / "s.parquet")
    turned = found.negated()
    assert turned.table.select("score", "llr").rows() == [(-1.0, -3.0), (2.0, None)]
    assert (found.notes, turned.notes) == ((), (NEGATED,))
    assert turned.with_ids(["b"]).notes == (NEGATED,)
    assert turned.inputs == found.inputs


class TestAdvice:
    @pytest.mark.parametrize(
        ("ids", "known", "said"),
        [
            (NAMES, [f"{n}.flac" for n in NAMES], "Ids of the key carry '.flac' at the end, those of the scores don't"),
            ([f"{n}.flac" for n in NAMES], NAMES, "Ids of the scores carry '.flac' at the end, those of the key don't"),
            (NAMES, [f"eval/{n}" for n in NAMES], "Ids of the key carry 'eval/' in front"),
            (
                [f"eval/flac/{n}.flac" for n in NAMES],
                NAMES,
                "are written differently ('eval/flac/LA_E_1.flac' and 'LA_E_1')",
            ),
            (NAMES, [n.lower() for n in NAMES], "differ in upper case"),
            (
                ["file1.wav", "file2.wav"],  # the kind of name that Fake-or-Real's 'norm' files have
                ["file1.wav_16k.wav_norm.wav_mono.wav", "file2.wav_16k.wav_norm.wav_mono.wav"],
                "Ids of the key carry '_16k.wav_norm.wav_mono.wav' at the end",
            ),
            (NAMES, ["x", "y"], "Give the key of these very recordings."),
        ],
    )
    def test_an_empty_join(self, scores, ids: list[str], known: list[str], said: str) -> None:
        with pytest.raises(DataError) as caught:
            read_labelled("deepfake", scores(ids), key_of(known))
        text = str(caught.value)
        assert f"none of the {len(ids)} ids is in the key LA 2021 (here '{ids[0]}', there '{known[0]}')" in text
        assert said in text

    def test_a_partial_join(self, scores) -> None:
        with pytest.raises(DataError, match=r"id 'LA_E_3': is not in the key LA 2021$"):
            read_labelled("deepfake", scores(NAMES), key_of(NAMES[:2]))
        with pytest.raises(DataError, match=r"LA 2021: row 3, id 'LA_E_3': has no row in .*Score every trial"):
            read_labelled("deepfake", scores(NAMES[:2]), key_of(NAMES))
        with pytest.raises(DataError, match=r"'LA_E_3\.wav': is not in the key .* scores carry '\.wav' at the end"):
            read_labelled("deepfake", scores([*NAMES[:2], "LA_E_3.wav"]), key_of(NAMES))

    def test_a_key_without_rows(self, scores) -> None:
        with pytest.raises(DataError, match="which has no rows"):
            read_labelled("deepfake", scores(NAMES), key_of([]).__class__(key_of(["a"]).table.clear(), "k", ""))


class TestReviewedCases:
    """What a first reader of other files stumbled over."""

    def test_a_trial_list_is_a_key(self, tmp_path: Path) -> None:
        (tmp_path / "scores.txt").write_text("a b 0.5\nc d -0.5\n")
        for text in ("a b target\nc d nontarget\n", "1 a b\n0 c d\n"):
            (tmp_path / "trials.txt").write_text(text)
            found = read_labelled("speaker", tmp_path / "scores.txt", tmp_path / "trials.txt")
            assert found.positive["id"].to_list() == ["a b"]

    def test_numbers_are_no_labels_of_a_detector(self, tmp_path: Path) -> None:
        """One corpus writes 1 for bona fide, another for spoof."""
        (tmp_path / "s.csv").write_text("id,score,label\na,1,1\nb,0,0\n")
        with pytest.raises(DataError, match="unknown label '1'"):
            read_labelled("deepfake", tmp_path / "s.csv")

    def test_broken_numbers_stay_apart_as_ids(self, tmp_path: Path) -> None:
        table = pl.DataFrame({"id": [1.0, 1.1, 1.2], "score": [1.0, 2.0, 3.0], "label": ["bonafide", "spoof", "spoof"]})
        table.write_parquet(tmp_path / "s.parquet")
        assert read_labelled("deepfake", tmp_path / "s.parquet").table["id"].to_list() == ["1.0", "1.1", "1.2"]

    def test_a_header_alone_and_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "s.csv").write_text("id,score,label\n")
        with pytest.raises(DataError, match="holds no scores"):
            read_labelled("deepfake", tmp_path / "s.csv")
        with pytest.raises(DataError, match="is a folder"):
            read_labelled("deepfake", tmp_path)
