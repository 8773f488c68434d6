"""Readers: folders, tables, and the real recordings with what their notes say about them."""

from __future__ import annotations

import csv
from pathlib import Path

import polars as pl
import pytest

from earwitness.core.errors import DataError, UsageError
from earwitness.corpora.families import FAMILIES, FAMILY_OF
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers import READERS, read_corpus
from earwitness.corpora.sources import source_recording


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_folder_by_class(tmp_path: Path) -> None:
    touch(tmp_path, "bonafide/a.wav", "Fake/x/b.MP3", "Fake/real/c.flac", "d.wav", "notes.txt")
    imported = read_corpus("folder", tmp_path)
    labels = {row.path: row.label for row in imported.manifest.rows()}
    assert labels == {
        "bonafide/a.wav": "bonafide",
        "Fake/x/b.MP3": "spoof",
        "Fake/real/c.flac": "bonafide",
        "d.wav": None,
    }
    assert "1 file(s) of other kinds" in imported.notes[0]
    assert "1 of 4 recordings" in imported.notes[1]


def test_flat_folder_has_no_labels(tmp_path: Path) -> None:
    touch(tmp_path, "b.wav", "a.ogg")
    imported = read_corpus("folder", tmp_path)
    assert [(row.path, row.label) for row in imported.manifest.rows()] == [("a.ogg", None), ("b.wav", None)]
    assert imported.notes == ()


def test_folder_refusals(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt")
    with pytest.raises(DataError, match="holds no recording"):
        read_corpus("folder", tmp_path)
    with pytest.raises(DataError, match="not a folder"):
        read_corpus("folder", tmp_path / "notes.txt")
    with pytest.raises(DataError, match="no such file or folder"):
        read_corpus("folder", tmp_path / "none")
    with pytest.raises(UsageError, match="Did you mean 'folder'"):
        read_corpus("foldr", tmp_path)


def test_folder_with_a_name_that_is_no_text(tmp_path: Path) -> None:
    try:
        (tmp_path / "b\udcff.wav").touch()
    except OSError:
        pytest.skip("this file system takes only text")
    with pytest.raises(DataError, match="not UTF-8"):
        read_corpus("folder", tmp_path)


def test_manifest_reader(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path\na.wav\n")
    assert read_corpus("manifest", tmp_path / "m.csv").manifest.row(0).path == "a.wav"


def test_earwitness_layout_translates_its_conventions(tmp_path: Path) -> None:
    head = "path,label,speaker,system,age,emotion,licence\n"
    for name, rows in {
        "human": "a.flac,bonafide,h:1,real,adult,n/a,CC0\n",
        "tts-x": "a.flac,spoof,h:1,melgan_pwg,7,neutral,MIT\nb.flac,spoof,,newcomer,,,MIT\n",
        "rir_noise": "r.flac,n/a,,rir,,,MIT\n",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.csv").write_text(head + rows)
    imported = read_corpus("earwitness-data", tmp_path)
    columns = ("id", "path", "corpus", "label", "system", "family", "age", "emotion")
    assert imported.manifest.table.select(columns).rows() == [
        ("human/a.flac", "human/a.flac", "human", "bonafide", None, None, None, None),
        ("tts-x/a.flac", "tts-x/a.flac", "tts-x", "spoof", "melgan_pwg", "melgan", 7.0, "neutral"),
        ("tts-x/b.flac", "tts-x/b.flac", "tts-x", "spoof", "newcomer", None, None, None),
    ]
    assert imported.notes == (
        "3 corpora, 3 recordings",
        "1 rows that are no recordings to be judged left out (rir_noise)",
        "no family known for: newcomer (each stands for itself)",
    )


def test_earwitness_layout_names_the_file_of_a_bad_row(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one/manifest.csv").write_text("path,label\na.wav,real\n")
    with pytest.raises(DataError, match=r"one/manifest\.csv: row 1, column `label`"):
        read_corpus("earwitness-data", tmp_path)
    with pytest.raises(DataError, match="no folder with a manifest"):
        read_corpus("earwitness-data", tmp_path / "one")


def test_no_system_has_two_families() -> None:
    assert len(FAMILY_OF) == sum(len(systems) for systems in FAMILIES.values())
    assert all(reason for systems in FAMILIES.values() for reason in systems.values())


TWINS = """
real-copysynth-sources/audio/ls2391.flac = tts-world/audio/ls2391-copy.flac
real-copysynth-sources/audio/ls2391.flac = tts-codec2/audio/ls2391-700c.flac
librispeech_excerpt/train-clean-100/2391-145015-0000.flac = tts-griffinlim/audio/ls2391.flac
demo_ground_truth/lj/0.GT_wav__LJ002-0253.flac = neural_tts_demos/bvaetts_waveglow/LJ002-0253.flac
demo_ground_truth/lj/0.GT_wav__LJ002-0253.flac = vocoder_demos/waveglow_copysynth_bvae/LJ002-0253.flac
demo_ground_truth/lj/LJ001-0005.flac = vocoder_demos/melgan_seungwon/LJ001-0005_reconstructed_epoch3200.flac
demo_ground_truth/a/speaker0_12_checkpoint_st7_target.flac = vocoder_demos/w/speaker0_12_checkpoint_st7_predicted.flac
demo_ground_truth/vcc16_SF1/SF1-200028.flac = vc_demos/stargan_vc_hujinsen/SF1-TM1+200028.flac
demo_ground_truth/vcc16_TF2/200001_TF2.flac = vc_demos/cyclegan_vc_leimao/200001_TF2toSF1.flac
demo_ground_truth/vctk_p279/source_p279_243-22k.flac = vc_demos/blow_vc/blow_p279_243_16k_to_p258.flac
demo_ground_truth/zs19_S007/S007_0204997433.flac = vc_demos/vqcpc_vc_bshall/S040_0204997433.flac
demo_ground_truth/l/ground_truth__2004_147967_000029_000002.flac = vocoder_demos/u/c16__2004_147967_000029_000002.flac
demo_ground_truth/a/SSB00800003_ground-truth.flac = neural_tts_demos/fastspeech2_ming024/SSB00800003_synthesized.flac
demo_ground_truth/assem_source1/source__1.flac = vc_demos/assemvc_hifigan/proposed_gta__1_4273f6.flac
"""


@pytest.mark.parametrize("line", TWINS.split("\n")[1:-1])
def test_twins_share_their_source(line: str) -> None:
    human, copy = (source_recording(*path.split("/", 1)) for path in line.split(" = "))
    assert human is not None
    assert copy == human


def test_names_that_say_nothing_have_no_source() -> None:
    assert source_recording("neural_tts_demos", "overflow/1.flac") is None
    assert source_recording("tts-kokoro", "audio/af_heart-00.flac") is None
    other_voice = source_recording("demo_ground_truth", "zs19_V001/V001_0204997433.flac")
    assert other_voice != source_recording("demo_ground_truth", "zs19_S007/S007_0204997433.flac")


@pytest.fixture(scope="module")
def everything(shared_data: Path) -> Manifest:
    return read_corpus("earwitness-data", shared_data).manifest


def test_all_real_recordings_are_there(everything: Manifest, shared_data: Path) -> None:
    expected = {}
    for file in shared_data.glob("*/manifest.csv"):
        with file.open(encoding="utf-8", newline="") as lines:
            rows = [row for row in csv.DictReader(lines) if row["label"] != "n/a"]
        for row in rows:
            key = (file.parent.name, row["label"])
            expected[key] = expected.get(key, 0) + 1
    counted = everything.table.group_by("corpus", "label").len().rows()
    assert {(corpus, label): count for corpus, label, count in counted} == expected
    assert sum(expected.values()) > 3000
    assert all(everything.resolve(row).is_file() for row in everything.rows())


def test_every_real_spoof_has_a_family_and_no_human_has_one(everything: Manifest) -> None:
    spoofs = everything.filter(pl.col("label") == "spoof").table
    humans = everything.filter(pl.col("label") == "bonafide").table
    assert spoofs["family"].null_count() == 0
    assert humans["family"].null_count() == humans["system"].null_count() == humans.height
    assert set(FAMILY_OF) == set(spoofs["system"])
    assert "adult" not in everything.table["age"].cast(pl.String).to_list()


def test_every_copy_synthesis_has_its_human_twin(everything: Manifest) -> None:
    human = pl.col("label") == "bonafide"
    table = everything.table.with_columns(twins=human.any().over("source_recording"))
    copies = table.filter(pl.col("corpus").is_in(["tts-world", "tts-griffinlim", "tts-codec2"]))
    assert copies.height > 100
    assert copies["source_recording"].null_count() == 0
    assert copies["twins"].all()
    pairs = table.filter(~human, pl.col("source_recording").is_not_null(), pl.col("twins"))
    assert pairs.height >= 290


def test_readers_have_a_docstring_for_people() -> None:
    assert all(reader.__doc__ for reader in READERS.values())
