"""The table of tasks, the record, and what is wrong with a record."""

from __future__ import annotations

import copy
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from flan_records import MINIMAL

from earwitness.core.errors import DataError
from earwitness.speech_llm.flan.reading import AudioPlace, AudioTable, read_records
from earwitness.speech_llm.flan.records import line_of, record_of
from earwitness.speech_llm.flan.spans import audio_ids, core, payload
from earwitness.speech_llm.flan.taxonomy import find_minor, majors, task_named, tasks
from earwitness.speech_llm.flan.validation import faults_of, validate_files
from earwitness.speech_llm.items import json_line

GENERATION = {
    "Speech Enhancement",
    "Speech Generation",
    "Music Separation",
    "Music Generation",
    "Audio Enhancement",
    "Audio Separation",
    "Audio Generation",
}
MINORS = {
    **{"Speech Recognition": 3, "Spoken Language Understanding": 2, "Paralinguistic Attribute Recognition": 7},
    **{"Speaker Recognition": 4, "Speech Caption": 1, "Speech Detection": 3, "Speech Enhancement": 5},
    **{"Speech Generation": 9, "Global MIR": 10, "Sequential MIR": 3, "Single Music Reasoning": 2},
    **{"Multiple Music Reasoning": 5, "Music Caption": 1, "Music Separation": 2, "Music Generation": 5},
    **{"Audio Event Recognition": 4, "Audio Caption": 1, "Audio Advanced Understanding": 1, "Audio Detection": 2},
    **{"Audio Classification": 2, "Audio Enhancement": 2, "Audio Separation": 3, "Audio Generation": 3},
}


@pytest.mark.shows("audio-flan:6.1")
def test_the_table_has_the_published_numbers() -> None:
    every = list(tasks().values())
    assert (len({task.domain for task in every}), len(majors()), len(every)) == (3, 23, 80)
    assert Counter(task.flag for task in every) == {"understanding": 51, "generation": 29}
    assert Counter(task.domain for task in every) == {"speech": 34, "music": 28, "audio": 18}
    assert {major: len(minor) for major, minor in majors().items()} == MINORS
    assert {task.major for task in every if task.flag == "generation"} == GENERATION
    assert sum(len(minor) for major, minor in majors().items() if major in GENERATION) == 29
    assert [task.number for task in every] == list(range(1, 81))


def test_names_that_drift_are_found_whatever_their_case_and_hyphens() -> None:
    for name in ("Age Prediction", "age recognition", "AGE-RECOGNITION", "age_prediction"):
        assert task_named(name).minor == "Age Recognition"
    assert task_named("Speech-to-text translation").minor == "Speech to Text Translation"
    assert task_named("Sound Super-resolution").minor == "Audio Super-resolution"
    assert task_named("Sound Generation").minor == "Text-guided Audio Generation"
    assert find_minor("Emotion") is None
    with pytest.raises(DataError, match="Did you mean 'Denoising'"):
        task_named("Denoisin")


def changed(**changes: Any) -> dict[str, Any]:
    data = copy.deepcopy(MINIMAL)
    for name, value in changes.items():
        if name in data["task_type"] or name == "flag":
            data["task_type"]["U/G" if name == "flag" else name] = value
        else:
            data[name] = value
    return data


SPAN = "<|SOA|>21_ESD_0001_000351<|EOA|>"
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "split": (changed(split=["training"]), "bad split"),
    "two splits": (changed(split=["train", "test"]), "bad split"),
    "minor": (changed(minor=["Mood Recognition"]), "unknown minor"),
    "major": (changed(major=["Mood"]), "unknown major"),
    "minor of another major": (changed(major=["Speech Recognition"]), "wrong major"),
    "text called generation": (changed(flag=["generation"]), "U/G contradiction"),
    "audio called understanding": (changed(output=SPAN), "U/G contradiction"),
    "flag": (changed(flag=["both"]), "bad U/G"),
    "no closer": (changed(input="audio: <|SOA|>21_ESD_1"), "unbalanced delimiters"),
    "nested": (changed(input=f"audio: <|SOA|>{SPAN}<|EOA|>"), "unbalanced delimiters"),
    "turned round": (changed(input="audio: <|EOA|>21_ESD_1<|SOA|>"), "unbalanced delimiters"),
    "prose form": (changed(input="audio: <SOA>21_ESD_1<EOA>"), "misspelt delimiter"),
    "broken opener": (changed(input="audio: <|SOA|21_ESD_1<|EOA|>"), "misspelt delimiter"),
    "lower case": (changed(input="audio: <|soa|>21_ESD_1<|eoa|>"), "misspelt delimiter"),
    "spaces in an id": (changed(input="audio: <|SOA|>21 ESD<|EOA|>"), "audio id"),
    "domain": (changed(domain="noise"), "bad domain"),
    "domain of another task": (changed(domain="music"), "wrong domain"),
    "type": (changed(instruction=3), "wrong type"),
    "empty": (changed(instruction=" "), "wrong type"),
    "unknown field": (changed(audio="x.wav"), "unknown field"),
    "paths without placeholders": (changed(audio_path=["x.wav"]), "audio path"),
    "times": (changed(audio_start=2.0, audio_end=1.0), "audio times"),
}


@pytest.mark.shows("audio-flan:6.2")
def test_the_record_of_the_paper_is_accepted_and_each_fault_has_its_own_message(tmp_path: Path) -> None:
    assert list(faults_of(MINIMAL)) == []
    for name in MINIMAL:
        without = {key: value for key, value in MINIMAL.items() if key != name}
        assert [fault.what for fault in faults_of(without)] == [f"'{name}' is missing"]
    messages = {}
    for name, (data, kind) in FAULTS.items():
        found = list(faults_of(data))
        assert [fault.kind for fault in found] == [kind], (name, found)
        messages[kind] = found[0].what
    assert len(set(messages.values())) == len(messages) >= 14
    path = tmp_path / "records.jsonl"
    other = json_line(MINIMAL | {"uuid": "another"})
    path.write_text(json_line(MINIMAL) + other + json_line(MINIMAL) + "{not JSON\n", encoding="utf-8")
    report = validate_files([path])
    assert (report.records, report.faulty) == (4, 2)
    assert report.kinds == {"duplicate uuid": 1, "broken JSON": 1}
    assert f"{path}, line 3: duplicate uuid" in str(report.listed[0])
    assert "line 1 already" in str(report.listed[0])


def test_all_faults_of_a_record_are_told() -> None:
    data = changed(split=[], domain="noise", minor=["x"])
    assert {fault.kind for fault in faults_of(data)} == {"bad split", "bad domain", "unknown minor"}
    with pytest.raises(DataError, match="here: bad split"):
        record_of(data, "here")


@pytest.mark.parametrize("junk", [[], {}, "x", 3, None, [[]], {"major": 1, "minor": 1, "U/G": 1, "unseen": 1}])
def test_no_junk_of_any_type_breaks_the_validator(junk: object) -> None:
    for name in MINIMAL:
        list(faults_of(MINIMAL | {name: junk}))
    assert "wrong type" in {fault.kind for fault in faults_of(MINIMAL | {"task_type": junk})} or isinstance(junk, dict)


@pytest.mark.shows("audio-flan:6.3")
def test_lines_come_back_byte_for_byte(tmp_path: Path) -> None:
    two = changed(
        instruction="„Sagt“ dieselbe Stimme beides? 同一人？",
        input="audio sample 1: <|SOA|>1_a_x<|EOA|>\naudio sample 2: <|SOA|>1_a_y<|EOA|> <|SOA|>1_a_x<|EOA|>",
        output="Antwort: ja — да",
        major=["Speaker Recognition"],
        minor=["Speaker Verification"],
        other={"choices": ["ja", "nein"], "z": [1, 2.5, None, {"ä": True}]},
        source="youtube",
    )
    sister = changed(
        input="audio: <|SOA|><AUDIO><|EOA|>",
        audio_path=["data/a.wav"],
        audio_start=0.5,
        audio_end=2.25,
        other={"tag": "x"},
    )
    path = tmp_path / "records.jsonl"
    lines = [json_line(MINIMAL), json_line(two | {"uuid": "2"}), json_line(sister | {"uuid": "3"})]
    path.write_bytes("".join(lines).encode("utf-8"))
    records = list(read_records(path))
    assert "".join(map(line_of, records)).encode("utf-8") == path.read_bytes()
    assert "同一人" in path.read_text(encoding="utf-8")
    assert records[1].audio_ids() == ["1_a_x", "1_a_y", "1_a_x"]
    assert json.loads(lines[1])["task_type"]["minor"] == [records[1].minor]
    places = AudioTable({"1_a_x": AudioPlace(Path("x.wav"))}).of(records[1])
    assert places == [AudioPlace(Path("x.wav")), None, AudioPlace(Path("x.wav"))]
    assert AudioTable({}).of(records[2]) == [AudioPlace(Path("data/a.wav"), 0.5, 2.25)]


def test_labels_are_told_from_what_follows_them() -> None:
    assert payload("text: he said: yes\naudio sample 1: <|SOA|>a<|EOA|>") == ("he said: yes", "<|SOA|>a<|EOA|>")
    assert payload("he said: yes") == ("he said: yes",)
    assert payload("The recording you should hear: <|SOA|>a<|EOA|>") == ("<|SOA|>a<|EOA|>",)
    assert core("Emotion: sad") == "sad"
    assert core("sad") == "sad"
    assert audio_ids("<|SOA|>a<|EOA|> and <|SOA|>b<|EOA|>") == ["a", "b"]
