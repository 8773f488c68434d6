"""Sets of other benchmarks, in their field names, as items."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from earwitness.audio.reading import load
from earwitness.core.errors import DataError, UsageError
from earwitness.speech_llm.bench.labels import lettered
from earwitness.speech_llm.bench.readers import read_questions
from earwitness.speech_llm.bench.selfcheck import write_tone
from earwitness.speech_llm.items import read_items, write_items

SOUND = {"array": (0.1 * np.sin(np.arange(1600) / 9)).tolist(), "sampling_rate": 8000}
MMAU = {
    "id": "m1", "audio_id": "./test-mini-audios/m1.wav", "question": "Which emotion is heard?",
    "choices": ["joy", "anger"], "answer": "anger", "task": "speech",
    "category": "Reasoning", "sub-category": "Emotion State summarisation",
}  # fmt: skip
FOUNDATION = {
    "path": "a.wav", "question": "What emotion?", "choice_a": "happy", "choice_b": "sad", "choice_c": None,
    "answer_gt": "sad", "task_name": "Speech_Emotion_Recognition", "dataset_name": "meld", "uniq_id": 0,
}  # fmt: skip
CHAT = {
    "path": "b.wav", "question": "How many?", "answer_gt": "Two people talk.", "task_name": "speech_QA",
    "dataset_name": "iemocap", "meta_info": "two people", "uniq_id": 7,
}  # fmt: skip


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_audio_bench_as_jsonl_with_sound_in_the_rows(tmp_path: Path) -> None:
    row = {"context": {"audio": SOUND, "text": None}, "instruction": {"audio": None, "text": "Who speaks?"},
           "answer": {"audio": None, "text": "A man."}, "other_attributes": {"question_type": "DG"}}  # fmt: skip
    path = lines(tmp_path / "set.jsonl", row, row)
    items = read_questions("audio-bench", path, tmp_path)
    assert [(one.question, one.answer, one.type) for one in items] == [("Who speaks?", "A man.", "DG")] * 2
    assert items[0].audio == items[1].audio
    assert items[1].id == f"{items[0].id}-2"
    assert load(tmp_path / items[0].audio).duration_s == pytest.approx(0.2)
    assert read_questions("audio-bench", path, tmp_path) == items


def test_the_same_sound_is_the_same_file_at_another_time(tmp_path: Path) -> None:
    """libsndfile writes the second of writing into a WAV of floats; ids follow from the bytes."""
    row = {"context": {"audio": SOUND}, "instruction": {"text": "Who?"}, "answer": {"text": "A man."}}
    path = lines(tmp_path / "set.jsonl", row)
    first = read_questions("audio-bench", path, tmp_path)
    time.sleep(1.1)
    assert read_questions("audio-bench", path, tmp_path / "elsewhere") == first
    assert (tmp_path / "elsewhere" / first[0].audio).read_bytes() == (tmp_path / first[0].audio).read_bytes()


def test_audio_bench_as_parquet_with_encoded_sound(tmp_path: Path) -> None:
    write_tone(tmp_path / "tone.wav", 300)
    sound = {"bytes": (tmp_path / "tone.wav").read_bytes(), "path": "tone.wav"}
    table = pl.DataFrame(
        {
            "context": [{"audio": sound, "text": "x"}],
            "instruction": [{"text": "What emotion is it?"}],
            "answer": [{"text": "sad"}],
        }
    )
    table.write_parquet(tmp_path / "emotion_test.parquet")
    item = read_questions("audio-bench", tmp_path / "emotion_test.parquet", tmp_path)[0]
    assert (tmp_path / item.audio).read_bytes() == sound["bytes"]
    assert item.type == "DE"
    flat = lines(tmp_path / "flat.jsonl", {"audio": {"path": "tone.wav"}, "question": "q", "answer": "a", "type": "CS"})
    assert read_questions("audio-bench", flat, tmp_path)[0].audio == "tone.wav"
    assert read_questions("audio-bench", flat, tmp_path)[0].type == "CS"


def test_voice_bench(tmp_path: Path) -> None:
    path = lines(tmp_path / "v.jsonl", {"audio": {"path": "v.wav"}, "prompt": "Name a fruit.", "reference": "apple"})
    item = read_questions("voice-bench", path, tmp_path)[0]
    assert (item.audio, item.answer, item.type) == ("v.wav", "apple", "C")
    assert "Name a fruit" not in item.question
    assert {tag.name: tag.value for tag in item.tags}["transcript"] == "Name a fruit."
    with pytest.raises(DataError, match="rated without a reference"):
        read_questions("voice-bench", lines(tmp_path / "o.jsonl", {"audio": "v.wav", "prompt": "Hi."}), tmp_path)


def test_mmau(tmp_path: Path) -> None:
    path = tmp_path / "mmau.json"
    path.write_text(json.dumps([MMAU]))
    item = read_questions("mmau", path, tmp_path)[0]
    assert (item.id, item.type, item.label, item.choices) == ("m1", "DE", "anger", ("joy", "anger"))
    assert "(B) anger" in item.question
    assert lettered(item)
    path.write_text(json.dumps([{**MMAU, "answer": "fear"}]))
    with pytest.raises(DataError, match="'fear' is none of the choices"):
        read_questions("mmau", path, tmp_path)


def test_air_bench_foundation_and_chat(tmp_path: Path) -> None:
    path = tmp_path / "meta.json"
    path.write_text(json.dumps([FOUNDATION, CHAT]))
    first, second = read_questions("air-bench", path, tmp_path)
    assert (first.audio, first.type, first.label) == ("Speech_Emotion_Recognition_meld/a.wav", "DE", "sad")
    assert first.choices == ("happy", "sad")
    assert (second.question, second.answer, second.label) == ("How many?", "Two people talk.", None)
    assert second.id == "speech_QA-7"


def test_lmms_eval_documents_and_logged_samples(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "samples.jsonl",
        {"doc_id": 3, "doc": {"audio_path": "x.wav", "question": "q?"}, "target": "t", "resps": [["r"]]},
        {"audio": "y.wav", "question": "Is it a man?", "answer": "yes", "options": ["yes", "no"], "task": "gender"},
    )
    first, second = read_questions("lmms-eval", path, tmp_path)
    assert (first.id, first.audio, first.answer, first.type) == ("3", "x.wav", "t", "C")
    assert (second.type, second.label, second.choices) == ("DG", "yes", ("yes", "no"))


def test_what_was_read_is_written_and_read_as_items(tmp_path: Path) -> None:
    path = tmp_path / "mmau.json"
    path.write_text(json.dumps([MMAU]))
    items = read_questions("mmau", path, tmp_path)
    write_items(tmp_path / "items.jsonl", items)
    assert read_items(tmp_path / "items.jsonl") == read_questions("items", tmp_path / "items.jsonl", tmp_path) == items


@pytest.mark.parametrize("reader", ["audio-bench", "voice-bench", "mmau", "air-bench", "lmms-eval"])
def test_an_unknown_form_is_refused_with_what_was_expected(tmp_path: Path, reader: str) -> None:
    for rows in ([{"utterance": "x"}], [{"audio": 3, "question": ["q"], "answer": {}, "choices": "a", "path": None}]):
        with pytest.raises(DataError, match=r"line 1: .*Expected: "):
            read_questions(reader, lines(tmp_path / "x.jsonl", *rows), tmp_path)
    (tmp_path / "x.json").write_text('{"not": "a list"}')
    with pytest.raises(DataError, match="is no list of objects"):
        read_questions(reader, tmp_path / "x.json", tmp_path)
    (tmp_path / "x.parquet").write_text("no parquet")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_questions(reader, tmp_path / "x.parquet", tmp_path)
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(DataError, match="no form of rows"):
        read_questions(reader, tmp_path / "x.txt", tmp_path)


@pytest.mark.parametrize(
    "sound", [{"array": [[0.1, 0.2]], "sampling_rate": 8000}, {"array": [0.1]}, {"array": "x", "sampling_rate": 1}]
)
def test_sound_that_is_none_is_refused(tmp_path: Path, sound: object) -> None:
    path = lines(tmp_path / "s.jsonl", {"audio": sound, "question": "q", "answer": "a"})
    with pytest.raises(DataError, match="line 1: holds"):
        read_questions("audio-bench", path, tmp_path)


def test_an_unknown_reader_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'mmau'"):
        read_questions("mmua", tmp_path / "x", tmp_path)
    with pytest.raises(DataError, match="no such file"):
        read_questions("mmau", tmp_path / "x", tmp_path)
