"""Readers of corpora of emotions, ages and sexes, on trees of files that are made here."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers import read_corpus
from earwitness.corpora.readers.crema_d import Actor, actor_folds, read_actors
from earwitness.corpora.readers.iemocap import read_evaluation, speaker_of
from earwitness.corpora.readers.named_files import Emotion
from earwitness.corpora.readers.paralinguistic import PARALINGUISTIC_READERS
from earwitness.corpora.readers.timit import age_at, height_in_cm
from earwitness.metrics.regression import mae

# Ages of CREMA-D's actors by sex, in rising order.
MEN = (
    "20 21 21 21 22 22 22 23 24 25 25 25 27 29 29 30 30 31 31 32 32 33 33 34 34 37 38 38 40 41 42 42 42"
    " 44 45 48 49 50 51 51 53 56 56 61 62 62 66 74"
)
WOMEN = (
    "20 21 21 21 21 22 22 22 23 24 24 24 25 25 25 25 27 28 29 30 31 33 33 33 33 35 36 36 38 40 42 42 45"
    " 46 46 48 51 52 57 57 58 59 61"
)


def put(root: Path, names: Iterable[str]) -> Path:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, np.zeros(800, np.float32), 8000, format="WAV")
    return root


def write(file: Path, text: str, encoding: str = "utf-8") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode(encoding))


def read(reader: str, path: Path) -> pl.DataFrame:
    """The table, by id; every path must lead to a file."""
    manifest = read_corpus(reader, path).manifest
    assert all(manifest.resolve(row).is_file() for row in manifest.rows())
    return manifest.table.sort("id")


def refusal(reader: str, path: Path) -> str:
    with pytest.raises(DataError) as refused:
        read_corpus(reader, path)
    return str(refused.value)


def demographics(ages: dict[str, str]) -> str:
    lines = [
        f'{number},{age},"{sex}","Unknown","Unknown"'
        for number, (age, sex) in enumerate(((age, sex) for sex, text in ages.items() for age in text.split()), 1001)
    ]
    return "\n".join(['"ActorID","Age","Sex","Race","Ethnicity"', *lines]) + "\n"


@pytest.mark.shows("paralinguistic-metrics:6.5")
def test_demographics_of_crema_d(tmp_path: Path) -> None:
    write(tmp_path / "VideoDemographics.csv", demographics({"Male": MEN, "Female": WOMEN}))
    actors = read_actors(tmp_path / "VideoDemographics.csv")
    ages = np.array([actor.age for actor in actors])
    assert Counter(actor.sex for actor in actors) == {"m": 48, "f": 43}
    assert ages.mean() == pytest.approx(36.43, abs=0.005)
    assert ages.std() == pytest.approx(13.20, abs=0.005)
    assert (ages.min(), np.median(ages), ages.max()) == (20, 33, 74)
    assert np.histogram(ages, [20, 30, 40, 50, 60, 75])[0].tolist() == [34, 23, 16, 12, 6]
    assert mae(ages, np.full(91, 33.0)) == pytest.approx(10.77, abs=0.005)
    folds = actor_folds(actors)
    for fold in range(1, 6):  # five folds of 18 or 19 actors, alike in age and sex
        here = [actor for actor in actors if folds[actor.number] == fold]
        assert len(here) in (18, 19)
        assert 8 <= sum(actor.sex == "m" for actor in here) <= 11
        assert abs(np.mean([actor.age for actor in here]) - ages.mean()) < 3
    assert folds == actor_folds(tuple(reversed(actors)))


def test_crema_d(tmp_path: Path) -> None:
    put(tmp_path, [f"AudioWAV/{name}.wav" for name in ("1001_DFA_ANG_XX", "1001_IEO_SAD_HI", "1002_IEO_HAP_LO")])
    assert read("crema-d", tmp_path)["age"].null_count() == 3
    write(tmp_path / "VideoDemographics.csv", demographics({"Male": "51", "Female": "21"}))
    votes = "1001_DFA_ANG_XX,A:N,50.00:63.5,A,70\n1001_IEO_SAD_HI,S,40,S,41\n"
    write(tmp_path / "processedResults/summaryTable.csv", "FileName,VoiceVote,VoiceLevel,FaceVote,FaceLevel\n" + votes)
    table = read("crema-d", tmp_path)
    assert table["speaker"].to_list() == ["crema-d:1001", "crema-d:1001", "crema-d:1002"]
    assert table["emotion"].to_list() == ["anger", "sadness", "happiness"]
    assert table["age"].to_list() == [51, 51, 21]
    assert table["sex"].to_list() == ["m", "m", "f"]
    assert table["intensity_lo"].to_list() == [None, "0.666667", "0"]
    assert table["intensity_hi"].to_list() == [None, "1", "0.333333"]
    assert table["intensity_level"].to_list() == [None, "HI", "LO"]
    assert table["transcript"][0] == "Don't forget a jacket."
    assert table["voice_vote"].to_list() == ["anger:neutral", "sadness", None]
    assert table["voice_level"].to_list() == ["50.00:63.5", "40", None]
    put(tmp_path, ["AudioWAV/1001_DFA_JOY_XX.wav"])
    assert "1001_DFA_JOY_XX.wav: unknown emotion 'JOY'" in refusal("crema-d", tmp_path)
    (tmp_path / "AudioWAV/1001_DFA_JOY_XX.wav").rename(tmp_path / "AudioWAV/1003_DFA_ANG_XX.wav")
    assert "has no actor 1003" in refusal("crema-d", tmp_path)
    write(tmp_path / "VideoDemographics.csv", demographics({"male": "51"}))
    assert "line 2: unknown sex 'male'. Allowed: Male, Female. Did you mean" in refusal("crema-d", tmp_path)


def test_emodb(tmp_path: Path) -> None:
    put(tmp_path, [f"wav/{name}.wav" for name in ("03a01Wa", "16b10Lb", "08a02Tc")])
    table = read("emodb", tmp_path)
    assert table["emotion"].to_list() == ["anger", "sadness", "boredom"]
    assert table["speaker"].to_list() == ["emodb:03", "emodb:08", "emodb:16"]
    assert list(zip(table["sex"], table["age"], strict=True)) == [("m", 31), ("f", 34), ("f", 31)]
    assert table["transcript"][1] == "Das will sie am Mittwoch abgeben."
    assert table["fold"].to_list() == ["03", "08", "16"]
    for name, why in (("03a01Xa", "unknown emotion 'X'"), ("04a01Wa", "unknown speaker '04'"), ("x", "is not named")):
        put(tmp_path / name, [f"wav/{name}.wav"])
        assert why in refusal("emodb", tmp_path / name)


def test_ravdess(tmp_path: Path) -> None:
    names = ["Actor_18/03-01-05-02-02-01-18", "Actor_01/03-01-01-01-01-02-01", "Actor_01/03-02-05-02-02-01-01"]
    put(tmp_path, [f"{name}.wav" for name in names])
    imported = read_corpus("ravdess", tmp_path)
    assert imported.notes == ("2 recordings, 2 speakers, 2 emotions", "1 songs passed over")
    table = imported.manifest.table
    assert table["emotion"].to_list() == ["neutral", "anger"]
    assert table["sex"].to_list() == ["m", "f"]
    assert table["fold"].to_list() == ["1", "5"]
    intervals = list(zip(table["intensity_lo"], table["intensity_hi"], table["intensity_level"], strict=True))
    assert intervals == [("0", "0.5", "normal"), ("0.5", "1", "strong")]
    put(tmp_path / "a", ["Actor_01/03-01-01-02-01-02-01.wav"])
    assert "strong neutral" in refusal("ravdess", tmp_path / "a")
    put(tmp_path / "b", ["Actor_25/03-01-05-02-01-02-25.wav"])
    assert "no actor '25'" in refusal("ravdess", tmp_path / "b")


def test_casia_savee_tess(tmp_path: Path) -> None:
    put(tmp_path / "casia", ["liuchanhg/angry/201.wav", "wangzhe/surprise/250.wav"])
    table = read("casia", tmp_path / "casia")
    assert table["emotion"].to_list() == ["anger", "surprised"]
    assert table["id"].to_list() == ["liuchanhg/angry/201", "wangzhe/surprise/250"]
    assert table["sex"].null_count() == 2
    put(tmp_path / "casia", ["wangzhe/boredem/250.wav"])
    assert "unknown emotion 'boredem'" in refusal("casia", tmp_path / "casia")

    for tree, names in (("one", ("AudioData/DC/sa03", "AudioData/KL/a11")), ("flat", ("DC_sa03", "KL_a11"))):
        put(tmp_path / tree, [f"{name}.wav" for name in names])
        table = read("savee", tmp_path / tree)
        assert table["id"].to_list() == ["DC_sa03", "KL_a11"]
        assert table["emotion"].to_list() == ["sadness", "anger"]
        assert set(table["sex"]) == {"m"}

    put(tmp_path / "tess", ["OAF_Pleasant_surprise/OAF_back_ps.wav", "YAF_sad/YAF_dog_sad.wav"])
    put(tmp_path / "tess", ["OAF_neutral/OA_bite_neutral.wav"])
    table = read("tess", tmp_path / "tess")
    assert table["emotion"].to_list() == ["surprised", "neutral", "sadness"]
    assert table["speaker"].to_list() == ["tess:OAF", "tess:OAF", "tess:YAF"]
    assert table["age"].to_list() == [64, 64, 26]
    assert table["transcript"][2] == "Say the word dog."


@pytest.mark.parametrize("side", ["", "train/"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_esd_in_both_layouts_and_all_encodings(tmp_path: Path, side: str, encoding: str) -> None:
    put(tmp_path, [f"0001/Angry/{side}0001_000351.wav", f"0011/Surprise/{side}0011_001750.wav"])
    write(tmp_path / "0001/0001.txt", "0001_000351\t打远一看。\t生气\n\n", encoding)
    write(tmp_path / "0011/0011.txt", "0011_001750\tSay it.\tSurprise\n0011_001749 broken\n", encoding)
    imported = read_corpus("esd", tmp_path)
    table = imported.manifest.table.sort("id")
    assert table["emotion"].to_list() == ["anger", "surprised"]
    assert table["transcript"].to_list() == ["打远一看。", "Say it."]
    assert table["language"].to_list() == ["zh", "en"]
    assert table["sentence"].to_list() == ["zh-1", "en-350"]
    assert table["fold"].to_list() == ["5", "1"]
    assert table["split"].null_count() == 2  # its own sides lie within each speaker
    assert table["own_side"].to_list() == ([None, None] if not side else ["train", "train"])
    assert imported.notes[1:] == ("0011.txt: 1 line(s) without three fields passed over",)


def test_esd_refuses_what_contradicts_itself(tmp_path: Path) -> None:
    put(tmp_path / "a", ["0001/Sad/0001_000351.wav"])
    assert "the number 351 is of 'anger', the folder of 'sadness'" in refusal("esd", tmp_path / "a")
    put(tmp_path / "b", ["0001/Angry/0002_000351.wav"])
    assert "is not of the speaker of the folder '0001'" in refusal("esd", tmp_path / "b")
    put(tmp_path / "c", ["0001/Angry/0001_000351.wav"])
    assert read_corpus("esd", tmp_path / "c").notes[1] == "no list 0001/0001.txt"
    write(tmp_path / "c/0001/0001.txt", "0001_000351\ta\t愤怒\n")
    assert "line 1: unknown emotion '愤怒'" in refusal("esd", tmp_path / "c")
    write(tmp_path / "c/0001/0001.txt", "0001_000351\ta\tSad\n")
    assert "1 line(s) name another emotion" in read_corpus("esd", tmp_path / "c").notes[1]


EVALUATION = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
C-E4:\tNeutral;\t()
A-E3:\tval 3; act 2; dom  2;\t()

[22.0300 - 24.4612]\tSes01F_impro01_M003\tfru\t[1.5000, 3.0000, 3.5000]
[30.0000 - 31.0000]\tSes01F_impro01_M004\txxx\t[2.5000, 3.0000, 3.5000]
[32.0000 - 33.0000]\tSes01F_impro01_M005\texc\t[4.5000, 3.0000, 3.5000]
"""


@pytest.mark.shows("paralinguistic-metrics:6.6")
def test_iemocap(tmp_path: Path) -> None:
    file = tmp_path / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    write(file, EVALUATION)
    names = [f"Ses01F_impro01_{turn}" for turn in ("F000", "M003", "M004", "M005")]
    put(tmp_path, [f"Session1/sentences/wav/Ses01F_impro01/{name}.wav" for name in names])
    lines = dict(read_evaluation(file))
    assert list(lines) == [3, 8, 9, 10]
    assert [said.id for said in lines.values()] == names
    second = lines[8]
    assert (second.start, second.end, second.code) == (22.03, 24.4612, "fru")
    assert (second.valence, second.activation, second.dominance) == (1.5, 3.0, 3.5)
    assert str(speaker_of("Ses01F_impro01_M003")) == "1M"
    assert str(speaker_of("Ses05M_script03_2b_F010")) == "5F"

    table = read("iemocap", tmp_path)
    assert table["speaker"].to_list() == ["iemocap:1F", *["iemocap:1M"] * 3]
    assert table["sex"].to_list() == ["f", "m", "m", "m"]
    assert table["emotion"].to_list() == ["neutral", "frustrated", None, "excited"]
    assert table["emotion_code"].to_list() == ["neu", "fru", "xxx", "exc"]
    assert table["start"].null_count() == 4  # the times are those of the dialogue, not of the utterance's file
    assert table["dialogue_start"][1] == "22.03"
    assert set(table["style"]) == {"improvised"}
    assert read_corpus("iemocap", tmp_path).notes[1].startswith("2 are of the four classes")

    for wrong, why in (
        (EVALUATION.replace("fru", "joy"), "line 8: unknown emotion 'joy'"),
        (EVALUATION.replace("\tfru", " fru"), "line 8: is not [START - END]"),
        (EVALUATION.replace("Ses01F_impro01_M003", "Ses02F_impro01_M003"), "line 8: 'Ses02F_impro01_M003' is not of"),
        (EVALUATION.replace("Ses01F_impro01_M003", "Ses01F_impro01_X"), "is no"),
    ):
        write(file, wrong)
        assert why in refusal("iemocap", tmp_path)


SPEAKERS = """;  a comment
ABC0  M  6  TRN  03/03/86  06/17/60  5'11"  WHT  BS
CJF0  F  1  TRN  01/01/87  01/01/57  5'4   WHT  ??  no mark of the inches
DAW0  F  1  TST  01/01/87  ??/??/??  ??  WHT  MS
"""


def test_timit(tmp_path: Path) -> None:
    put(tmp_path, ["TRAIN/DR6/MABC0/SA1.WAV", "TRAIN/DR1/FCJF0/SX37.WAV", "TEST/DR1/FDAW0/SI1271.WAV"])
    write(tmp_path / "TRAIN/DR6/MABC0/SA1.TXT", "0 46797 She had your dark suit.\n")
    assert "no DOC/SPKRINFO.TXT" in read_corpus("timit", tmp_path).notes[1]
    write(tmp_path / "DOC/SPKRINFO.TXT", SPEAKERS)
    table = read("timit", tmp_path)
    assert table["speaker"].to_list() == ["timit:FDAW0", "timit:FCJF0", "timit:MABC0"]
    assert table["split"].to_list() == ["test", "train", "train"]
    assert table["age"].to_list() == [None, pytest.approx(30.0, abs=0.01), pytest.approx(25.71, abs=0.005)]
    assert table["height_cm"].to_list() == [None, "162.56", "180.34"]
    assert table["sentence"].to_list() == ["SI1271", "SX37", "SA1"]
    assert table["transcript"].to_list() == [None, None, "She had your dark suit."]
    put(tmp_path, ["TRAIN/DR6/FXYZ0/SA1.WAV"])
    assert "has no speaker XYZ0" in refusal("timit", tmp_path)
    assert height_in_cm("5'11") == pytest.approx(180.34)
    assert height_in_cm("5'12\"") is None
    with pytest.raises(DataError, match="was born on"):
        age_at("01/01/57", "01/01/87")
    with pytest.raises(DataError, match="is no day"):
        age_at("02/30/87", "01/01/57")


def test_common_voice(tmp_path: Path) -> None:
    put(tmp_path, [f"clips/{name}.mp3" for name in "abcd"])
    lines = [
        "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent\tlocale\tsegment",
        'x\ta.mp3\tHe said "no\t2\t0\tfourties\tmale\t\ten\t',
        "x\tb.mp3\tYes.\t2\t0\ttwenties\tfemale_feminine\tUS\ten\t",
        "y\tc.mp3\tYes.\t2\t0\t\tdo_not_wish_to_say\t\ten\t",
        "y\td.mp3\tYes.\t2\t0\tteens\t\t\ten\t",
    ]
    write(tmp_path / "validated.tsv", "\n".join(lines) + "\n")
    table = read("common-voice", tmp_path)
    assert table["age"].null_count() == 4
    assert table["age_lo"].to_list() == ["40", "19", None, "10"]
    assert table["age_hi"].to_list() == ["50", "30", None, "20"]
    assert table["sex"].to_list() == ["m", "f", None, None]
    assert table["transcript"][0] == 'He said "no'
    assert table["accents"].to_list() == [None, "US", None, None]
    assert table["speaker"].to_list() == ["common-voice:x"] * 2 + ["common-voice:y"] * 2
    write(tmp_path / "dev.tsv", "\n".join(lines[:2]) + "\n")
    assert read("common-voice", tmp_path / "dev.tsv")["split"].to_list() == ["dev"]
    write(tmp_path / "dev.tsv", "\n".join(lines).replace("teens", "tens") + "\n")
    assert "line 5: unknown age 'tens'" in refusal("common-voice", tmp_path / "dev.tsv")


def test_ages_of_voxceleb_without_a_name(tmp_path: Path) -> None:
    put(tmp_path, ["wav/id10001/abc/00001.wav", "wav/id10001/abc/00002.wav", "wav/id10002/def/00001.wav"])
    lines = [
        "Name,VoxCeleb_ID,video_id,gender,birth_year,speaker_age,speaker_age_title_only,title",
        "Jane Doe,id10001,abc,f,1970,40.0,40.0,An Interview",
        "John Roe,id10002,def,m,1950,,61.0,Another",
        "John Roe,id10002,ghi,m,1950,60.0,,No audio",
        "John Roe,id10002,jkl,m,1950,,,No age",
    ]
    file = tmp_path / "final_dataframe_extended.csv"
    write(file, "\n".join(lines) + "\n")
    imported = read_corpus("voxceleb-ages", tmp_path)
    table = imported.manifest.table
    assert table["age"].to_list() == [40, 40, 61]
    assert table["age_source"].to_list() == ["both", "both", "title"]
    assert table["speaker"].to_list() == ["voxceleb:id10001"] * 2 + ["voxceleb:id10002"]
    assert imported.notes[1] == "1 video(s) with an age have no audio here"
    for personal in ("Doe", "Roe", "Interview", "1970", "1950"):
        assert personal not in table.write_csv()
    write(file, "\n".join(lines).replace("id10001,abc", "../../etc,abc"))
    assert "'../../etc' is no id" in refusal("voxceleb-ages", tmp_path)
    write(file, "\n".join(lines).replace(",40.0,", ",1000.0,", 1))
    assert "'1000.0' is no age" in refusal("voxceleb-ages", tmp_path)


def test_nemo_and_the_ages_of_audiomnist(tmp_path: Path) -> None:
    put(tmp_path / "nemo", ["samples/EB0_anger_19.wav"])
    header = "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage\n"
    write(tmp_path / "nemo/data.tsv", header + "EB0_anger_19.wav\tanger\tTak.\ttak\tEB0\tfemale\t27\n")
    table = read("nemo-emotions", tmp_path / "nemo")
    row = table.row(0, named=True)
    assert (row["speaker"], row["sex"], row["age"], row["emotion"]) == ("nemo:EB0", "f", 27, "anger")

    put(tmp_path / "mnist", [f"data/{who}/7_{who}_0.wav" for who in ("01", "17", "45")])
    said = {"01": {"age": 30, "gender": "male"}, "45": {"age": "1234", "gender": "female"}}
    write(tmp_path / "mnist/data/audioMNIST_meta.txt", json.dumps(said))
    imported = read_corpus("audiomnist", tmp_path / "mnist")
    assert imported.manifest.table["age"].to_list() == [30, None, None]
    assert imported.manifest.table["sex"].to_list() == ["m", None, "f"]
    assert imported.notes[1:] == (
        "speaker 45: no age can be 1234, so it stays empty",
        "nothing is said of the speaker(s) 17",
    )
    write(tmp_path / "mnist/data/audioMNIST_meta.txt", "{}[")
    assert "is not the JSON" in refusal("audiomnist", tmp_path / "mnist")


def test_all_refuse_a_folder_of_another_corpus(tmp_path: Path) -> None:
    put(tmp_path, ["some/where/else/1.wav"])
    for reader in PARALINGUISTIC_READERS:
        assert refusal(reader, tmp_path)


def test_one_vocabulary_of_emotions(tmp_path: Path) -> None:
    """Corpora can be joined: equal feelings have equal words, ids and speakers don't meet."""
    put(tmp_path, ["e/wav/03a01Wa.wav", "r/Actor_03/03-01-05-01-01-01-03.wav", "c/AudioWAV/1001_DFA_ANG_XX.wav"])
    parts = [
        read_corpus(name, tmp_path / folder) for name, folder in (("emodb", "e"), ("ravdess", "r"), ("crema-d", "c"))
    ]
    joined = Manifest.concat([part.manifest for part in parts]).table
    assert set(joined["emotion"]) == {"anger"}
    assert joined["speaker"].n_unique() == 3
    assert "surprised" in Emotion.__args__


def test_folds_of_few_actors() -> None:
    actors = tuple(Actor(str(number), 30.0, "m") for number in range(3))
    assert sorted(actor_folds(actors).values()) == [1, 2, 3]
    assert actor_folds(()) == {}
