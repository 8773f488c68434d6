"""The guard sees whose voice a recording is from its id: public folds that leak are refused, sound ones pass."""

from __future__ import annotations

import itertools

import polars as pl
import pytest

from earwitness.core.errors import LeakError
from earwitness.corpora.leaks import find_leaks, require_no_leaks
from earwitness.corpora.manifest import Manifest
from earwitness.corpora.readers.acted import CASIA_SPEAKERS, EMODB_SPEAKERS, RAVDESS_FOLDS
from earwitness.corpora.readers.esd import FOLDS as ESD_FOLDS
from earwitness.corpora.voices import voices_by_id

IEMOCAP = [
    f"Ses0{session}{marker}_{part}_{speaker}{turn:03}"
    for session, marker, part, speaker, turn in itertools.product(
        range(1, 6), "FM", ("impro01", "script01_1", "script02_2b"), "FM", range(3)
    )
]
EMODB = [f"{speaker}{text}{emotion}a" for speaker in EMODB_SPEAKERS for text in ("a01", "b10") for emotion in "WLEAFTN"]
CREMA_D = [
    f"{actor}_{sentence}_{emotion}_XX"
    for actor in range(1001, 1092)
    for sentence in ("DFA", "IEO")
    for emotion in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
]


def sides(test: list[str], train: list[str], speakers: list[str] | None = None) -> Manifest:
    names = [*train, *test]
    table = {"id": names, "path": [f"{name}.wav" for name in names]}
    if speakers:
        table["speaker"] = speakers
    return Manifest.from_table(pl.DataFrame({**table, "split": ["train"] * len(train) + ["test"] * len(test)}), ".")


def cut(names: list[str], tested: str | tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The ids that begin so, and all others."""
    test = [name for name in names if name.startswith(tested)]
    return test, [name for name in names if name not in set(test)]


def leaking(manifest: Manifest) -> set[str]:
    """The voices on both sides, for each task that asks; all tasks must agree, and refuse."""
    found = {task: {leak.value for leak in find_leaks(manifest, task)} for task in ("speaker", "manner")}
    assert found["speaker"] == found["manner"]
    for task in found:
        if found[task]:
            with pytest.raises(LeakError, match="voice by id"):
                require_no_leaks(manifest, task)
        else:
            assert require_no_leaks(manifest, task) == []
    return found["manner"]


@pytest.mark.shows("paralinguistic-metrics:6.4")
def test_folds_of_iemocap_by_the_prefix_have_both_voices_on_both_sides() -> None:
    for session, marker in itertools.product("12345", "FM"):
        test, train = cut(IEMOCAP, f"Ses0{session}{marker}")
        wrong = [name[:6] for name in (*train, *test)]  # what tables call the speaker
        for speakers in (None, wrong):
            assert leaking(sides(test, train, speakers)) == {f"iemocap:{session}F", f"iemocap:{session}M"}


@pytest.mark.shows("paralinguistic-metrics:6.4")
def test_folds_that_were_drawn_by_row_are_refused() -> None:
    emodb = [f"emodb-{name}" for name in EMODB]
    for fold in range(5):
        found = leaking(sides(emodb[fold::5], [name for place, name in enumerate(emodb) if place % 5 != fold]))
        assert found == {f"emodb:{speaker}" for speaker in EMODB_SPEAKERS}
    crema_d = [f"cremad-{name.replace('_', '-')}" for name in CREMA_D]
    for names in (CREMA_D, crema_d):
        found = leaking(sides(names[::4], [name for place, name in enumerate(names) if place % 4]))
        assert found == {f"crema-d:{actor}" for actor in range(1001, 1092)}


@pytest.mark.shows("paralinguistic-metrics:6.4")
def test_faces_that_were_drawn_by_image_are_refused() -> None:
    names = [
        f"{3 * number + age % 3}_{who}_{age}_{sex}.jpg"
        for number, (who, sex) in enumerate((("MariaCallas", "f"), ("EnricoCaruso", "m"), ("AmaliaRodrigues", "f")))
        for age in (20, 31, 45)
    ]
    manifest = sides([name for name in names if "_31_" in name], [name for name in names if "_31_" not in name])
    assert leaking(manifest) == {"agedb:MariaCallas", "agedb:EnricoCaruso", "agedb:AmaliaRodrigues"}


@pytest.mark.shows("paralinguistic-metrics:6.4")
def test_sound_folds_pass() -> None:
    for session in "12345":  # of IEMOCAP, also where the table calls the prefix a speaker
        test, train = cut(IEMOCAP, f"Ses0{session}")
        assert leaking(sides(test, train, [name[:6] for name in (*train, *test)])) == set()
    casia = [f"{who}/{how}/{text}" for who in CASIA_SPEAKERS for how in ("angry", "sad") for text in (201, 250)]
    for who in CASIA_SPEAKERS:
        assert leaking(sides(*cut(casia, who))) == set()
    ravdess = [f"{actor:02}-03-01-{e:02}-01-02-01-{actor:02}" for actor in range(1, 25) for e in range(1, 9)]
    for actors in RAVDESS_FOLDS:
        test, train = cut(ravdess, tuple(f"{actor:02}-" for actor in actors))
        assert len(test) == 32
        assert leaking(sides([name[3:] for name in test], [name[3:] for name in train])) == set()
    assert sorted(itertools.chain(*RAVDESS_FOLDS)) == list(range(1, 25))
    esd = [f"esd-{speaker:04}-{number:06}" for speaker in range(1, 21) for number in (1, 351, 1750)]
    for speakers in ESD_FOLDS:
        test, train = cut(esd, tuple(f"esd-{speaker:04}" for speaker in speakers))
        assert len(test) == 12
        assert leaking(sides(test, train)) == set()
    assert sorted(itertools.chain(*ESD_FOLDS)) == list(range(1, 21))


def test_sound_ids_are_known_and_not_merely_passed_over() -> None:
    """The same ids are refused as soon as one voice stands on both sides."""
    for names in (
        ["casia-201-wangzhe-angry", "casia-202-wangzhe-sad"],
        ["wangzhe/angry/201", "wangzhe/sad/202"],
        ["03-01-05-01-02-01-18", "ravdess-03-01-06-01-02-02-18"],
        ["esd-0011-000351", "esd-0011-000352"],
        ["0011/Angry/train/0011_000351", "0011/Sad/0011_001051"],
    ):
        assert len(leaking(sides(names[:1], names[1:]))) == 1


def test_ids_of_others_say_nothing() -> None:
    names = [
        "0011_000351",
        "84-121123-0000",
        "LA_T_1000137",
        "Ses06F_impro01_M003",
        "a_b_44_f",
        "17a01",
        "p225_001_mic1",
    ]
    table = pl.DataFrame({"id": names, "path": [f"{name}.flac" for name in names]})
    assert voices_by_id(table).null_count() == len(names)


def test_a_leak_by_id_is_told_once_and_allowed_by_name() -> None:
    manifest = sides(["03a01Wa"], ["03a01Na"], ["emodb:03", "emodb:03"])
    assert [str(leak) for leak in find_leaks(manifest, "speaker")] == ["speaker 'emodb:03' (1 in train, 1 in test)"]
    other = sides(["03a01Wa"], ["03a01Na"], ["one", "two"])
    (leak,) = require_no_leaks(other, "manner", allow=True)
    assert str(leak) == "voice by id 'emodb:03' (1 in train, 1 in test)"
    assert find_leaks(other, "manner", shared_voices=["one", "two"]) == []
