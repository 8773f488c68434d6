"""Records from labels and from questions, and the folder they are written to."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from flan_records import EMOTIONS, MINIMAL, labelled

from earwitness.core.errors import DataError, LeakError, UsageError
from earwitness.speech_llm.flan.building import BuildOptions, build_records, unmade
from earwitness.speech_llm.flan.converting import MAKERS, Clips, ConvertOptions, converted
from earwitness.speech_llm.flan.cp_items import TAG, audio_id_of, item_of_record, record_of_item
from earwitness.speech_llm.flan.instructions import template, written_instructions
from earwitness.speech_llm.flan.languages import accent_of, language_of, languages_in
from earwitness.speech_llm.flan.leaks import find_record_leaks
from earwitness.speech_llm.flan.reading import AudioPlace, AudioTable, read_records
from earwitness.speech_llm.flan.records import Record, by_task, line_of, record_of
from earwitness.speech_llm.flan.simulating import SIMULATIONS
from earwitness.speech_llm.flan.spans import core
from earwitness.speech_llm.flan.validation import validate_files
from earwitness.speech_llm.flan.writing import Format, write_records
from earwitness.speech_llm.items import QUESTION_TYPES, Item, Tag, read_items, write_items


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return Clips.of(labelled(tmp_path_factory.mktemp("labelled")), seed=3)


@pytest.fixture(scope="module")
def made_of(clips: Clips) -> dict[str, list[Record]]:
    return by_task(converted(clips, ConvertOptions(pairs=30, seed=1)))


def test_labels_become_every_task_that_they_support(clips: Clips, made_of: dict[str, list[Record]]) -> None:
    assert list(made_of) == list(MAKERS)
    assert Counter(core(record.output) for record in made_of["Emotion Recognition"]) == dict.fromkeys(EMOTIONS, 27)
    assert Counter(core(record.output) for record in made_of["Deepfake Detection"]) == {"genuine": 81, "synthetic": 6}
    assert {core(record.output) for record in made_of["Vocoder Type Classification"]} == {"maker-0", "maker-1"}
    assert {core(record.output) for record in made_of["Language Identification"]} == {"German", "English"}
    assert {core(record.output) for record in made_of["Accent Recognition"]} == {"Mandarin native speaker"}
    assert made_of["Speech Caption"][0].output.startswith("Caption: A man of 20 years speaks in English; the emotion")
    of = {clip.id: clip for clip in clips.clips}
    for record in made_of["Emotion Conversion"]:
        given, wanted = (of[name].row for name in record.audio_ids())
        assert (given.speaker, given.transcript) == (wanted.speaker, wanted.transcript)
        assert f"emotion: {wanted.emotion}" in record.input
        assert wanted.emotion != given.emotion
    for record in made_of["Voice Conversion"]:
        given, sample, wanted = (of[name].row for name in record.audio_ids())
        assert (given.transcript, given.emotion) == (wanted.transcript, wanted.emotion)
        assert sample.speaker == wanted.speaker != given.speaker


def test_pairs_are_as_often_yes_as_no_and_never_cross_the_split(clips: Clips, made_of: dict[str, list[Record]]) -> None:
    of = {clip.id: clip for clip in clips.clips}
    for task, label in (("Speaker Verification", "speaker"), ("Spoken Paragraph Recognition", "transcript")):
        answers = Counter(core(record.output) for record in made_of[task])
        assert answers["yes"] == answers["no"] > 10
        for record in made_of[task]:
            first, second = (of[name] for name in record.audio_ids())
            assert {first.split, second.split} == set(record.split)
            assert first.id != second.id
            same = getattr(first.row, label) == getattr(second.row, label)
            assert core(record.output) == ("yes" if same else "no")
            assert task != "Speaker Verification" or first.row.sex == second.row.sex


def test_the_known_speaker_is_at_every_place_equally_often(clips: Clips, made_of: dict[str, list[Record]]) -> None:
    of = {clip.id: clip.row.speaker for clip in clips.clips}
    for record in made_of["Speaker Identification"]:
        *known, asked = (of[name] for name in record.audio_ids())
        assert len(set(known)) == 4
        assert known["ABCD".index(core(record.output))] == asked
    counts = Counter(core(record.output) for record in made_of["Speaker Identification"])
    assert max(counts.values()) - min(counts.values()) <= 1


def test_speakers_stay_on_one_side_and_a_leak_is_told(clips: Clips, made_of: dict[str, list[Record]]) -> None:
    records = [record for part in made_of.values() for record in part]
    assert {split for record in records for split in record.split} == {"train", "dev", "test"}
    assert find_record_leaks(records) == []
    assert len({record.uuid for record in records}) == len(records)
    first = made_of["Gender Recognition"][0]
    moved = {**json.loads(line_of(first)), "split": ["dev" if first.split != ("dev",) else "test"], "uuid": "moved"}
    kinds = [leak.kind for leak in find_record_leaks([*records, record_of(moved)])]
    assert kinds == ["clip", "speaker"]


def test_the_same_seed_gives_the_same_records_and_another_one_others(clips: Clips) -> None:
    def lines(seed: int) -> list[str]:
        return [
            line_of(record) for record in converted(clips, ConvertOptions(("speaker verification",), 20, seed=seed))
        ]

    assert lines(1) == lines(1) != lines(2)
    with pytest.raises(UsageError, match="is not made from labels"):
        list(converted(clips, ConvertOptions(("Denoising",))))


def test_instructions_are_there_for_every_task_that_is_made() -> None:
    assert set(written_instructions()) == {*MAKERS, *SIMULATIONS}
    assert template("Denoising") == "Remove the noise from the recording."
    assert unmade()[:2] == ["Dialect Automatic Speech Recognition", "Phonetic Recognition"]
    assert len(unmade()) == 34 - len(MAKERS) - len(SIMULATIONS) + 2  # two simulated ones are of the domain audio


def test_languages_and_accents() -> None:
    assert [language_of(tag) for tag in ("de-de", "pt_BR", "nds", "xx", None)] == [
        "German",
        "Portuguese",
        "Low German",
        None,
        None,
    ]
    assert [accent_of(tag) for tag in ("en-zhL1", "en_GB", "de-de", "en", None)] == [
        "Mandarin native speaker",
        "British",
        None,
        None,
        None,
    ]
    assert languages_in("from English into Low German, please") == {"English", "Low German"}


def test_the_folder_is_whole_and_the_same_again(clips: Clips, tmp_path: Path) -> None:
    options = BuildOptions(
        only=("Emotion Recognition", "Speaker Verification"), unseen=("speaker verification",), shard=20
    )
    built = build_records(clips, tmp_path / "out", options)
    assert built.counts["Emotion Recognition"] == 81
    assert validate_files(built.files).faulty == 0
    before = {path: path.read_bytes() for path in built.files}
    stray = built.files[0].with_name("part-00099.jsonl")
    stray.write_text("old", encoding="utf-8")
    again = build_records(clips, tmp_path / "out", options)
    assert {path: path.read_bytes() for path in again.files} == before
    assert not stray.exists()
    records = list(read_records(tmp_path / "out"))
    assert {record.minor: record.task_type.unseen for record in records} == {
        "Emotion Recognition": False,
        "Speaker Verification": True,
    }
    audio = AudioTable.read(tmp_path / "out")
    assert audio.missing(records) == []
    place = audio.of(records[0])[0]
    assert place is not None
    assert place.path.resolve() == clips.places[records[0].audio_ids()[0]].path.resolve()
    assert records[0].facts()["choices"] == list(EMOTIONS)
    parquet = build_records(
        clips, tmp_path / "parquet", BuildOptions(only=options.only, unseen=options.unseen, format="parquet")
    )
    assert sorted(map(line_of, read_records(tmp_path / "parquet"))) == sorted(map(line_of, records))
    assert all(path.suffix == ".parquet" for path in parquet.files)


def test_a_split_that_leaks_is_refused_unless_allowed(tmp_path: Path) -> None:
    manifest = labelled(tmp_path, 4)
    table = manifest.table.with_row_index("n").with_columns(
        split=pl.when(pl.col("n") % 2 == 0).then(pl.lit("train")).otherwise(pl.lit("test"))
    )
    clips = Clips.of(manifest.with_table(table.drop("n")))
    with pytest.raises(LeakError, match="speaker 'v0'"):
        build_records(clips, tmp_path / "out", BuildOptions(only=("Gender Recognition",)))
    built = build_records(clips, tmp_path / "out", BuildOptions(only=("Gender Recognition",), allow_leak=True))
    assert len(built.leaks) == 4


def test_stretches_of_a_file_are_kept_and_bad_tables_refused(tmp_path: Path) -> None:
    table = pl.DataFrame(
        {"id": ["a", "b"], "path": ["x.wav", "x.wav"], "start": [0.0, 1.0], "end": [1.0, 2.5], "sex": ["m", "f"]}
    )
    clips = Clips.of(labelled(tmp_path).with_table(table))
    build_records(clips, tmp_path / "out", BuildOptions(only=("Gender Recognition",)))
    places = AudioTable.read(tmp_path / "out").places
    assert sorted((place.start, place.end) for place in places.values()) == [(0.0, 1.0), (1.0, 2.5)]
    scp = next((tmp_path / "out").rglob("*.scp"))
    scp.write_text("an-id-alone\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 1: 'an-id-alone' has no path"):
        AudioTable.read(tmp_path / "out")


def test_shards_are_loaded_by_datasets_as_they_are(clips: Clips, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    options = BuildOptions(only=("Emotion Recognition", "Text to Speech", "Deepfake Detection"), shard=30)
    kinds: tuple[Format, ...] = ("jsonl", "parquet")
    for kind in kinds:
        folder = tmp_path / kind
        built = build_records(clips, folder, BuildOptions(only=options.only, shard=30, format=kind))
        loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache" / kind))
        assert sorted(loaded) == ["test", "train", "validation"]
        assert sum(len(part) for part in loaded.values()) == sum(built.counts.values())
        row = loaded["train"][0]
        assert row["task_type"]["U/G"][0] in ("understanding", "generation")
        assert "speakers" in json.loads(row["other"])


def questions() -> list[Item]:
    return [
        Item(
            id=f"q{place}",
            clip_id="clip ä",
            audio="folder/a b.wav",
            question=f"Wie klingt „sie“? {place}",
            answer="Traurig, weil … sie leise spricht",
            type=kind,
            start=1.25 * place,
            end=None if place % 2 else 20.5,
            lang="de",
            label="sad" if kind == "DE" else None,
            choices=("sad", "glad") if kind == "DE" else (),
            tags=(Tag("evidence", "seconds 2 to 3: „…“"), Tag("emotion", "sadness"), Tag("emotion", "twice")),
        )
        for place, kind in enumerate(QUESTION_TYPES)
    ]


@pytest.mark.shows("audio-flan:6.9")
def test_questions_become_records_and_come_back_without_loss(tmp_path: Path) -> None:
    records = [record_of_item(item, "dev") for item in questions()]
    write_records(tmp_path / "records.jsonl", records)
    assert validate_files([tmp_path / "records.jsonl"]).faulty == 0
    back = list(read_records(tmp_path / "records.jsonl"))
    assert [item_of_record(record) for record in back] == questions()
    facts = [record.facts()["question"] for record in back]
    assert [fact["type"] for fact in facts] == list(QUESTION_TYPES)
    assert all(["evidence", "seconds 2 to 3: „…“"] in fact["tags"] for fact in facts)
    same = [audio_id_of(item) for item in questions() if (item.start, item.end) == (0.0, 20.5)]
    assert len(set(same)) == 1
    assert len({record.audio_ids()[0] for record in records}) == len(QUESTION_TYPES)  # a stretch each


@pytest.mark.shows("audio-flan:6.9")
def test_records_become_questions_and_come_back_without_loss(made_of: dict[str, list[Record]], tmp_path: Path) -> None:
    records = [*made_of["Emotion Recognition"][:3], *made_of["Gender Recognition"][:2]]
    items = [item_of_record(record, [AudioPlace(Path("a.wav"), 1.0, 2.0)]) for record in records]
    assert [item.type for item in items] == ["DE", "DE", "DE", "DG", "DG"]
    assert (items[0].label, items[0].choices) == (core(records[0].output), EMOTIONS)
    write_items(tmp_path / "items.jsonl", items)
    assert [record_of_item(item) for item in read_items(tmp_path / "items.jsonl")] == records
    edited = Item(**{**vars(items[0]), "question": "What now?"})
    assert record_of_item(edited).instruction == "What now?"
    with pytest.raises(DataError, match="is no question of CP-Bench"):
        item_of_record(made_of["Speaker Verification"][0])
    with pytest.raises(DataError, match="its audio is not here"):
        item_of_record(record_of(MINIMAL))
    assert items[0].tags[0].name == TAG
    with pytest.raises(DataError, match="there is no split 'all'"):
        record_of_item(questions()[0], "all")
