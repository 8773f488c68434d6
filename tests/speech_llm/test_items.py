"""Items as files, records that survive a kill, and JSON out of replies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from earwitness.core.errors import DataError, UsageError
from earwitness.speech_llm.items import Item, Tag, item_id, read_items, write_items
from earwitness.speech_llm.kept import KeptRecords
from earwitness.speech_llm.replies import json_object

ITEM = Item(
    "a", "clip", "x.wav", "Wie klingt sie? „ja“", "wütend", "DE", 1.5, 4.0, "de", "angry", ("angry",), (Tag("k", "v"),)
)


def test_items_come_back_as_they_were(tmp_path: Path) -> None:
    write_items(tmp_path / "items.jsonl", [ITEM])
    assert "wütend" in (tmp_path / "items.jsonl").read_text(encoding="utf-8")
    assert read_items(tmp_path / "items.jsonl") == [ITEM]
    assert item_id("clip", "q", "a") == item_id("clip", "q", "a") != item_id("clip", "q", "b")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"type": "XX"}, "no type of question"),
        ({"question": " "}, "'question' is missing"),
        ({"end": 0.5}, "is empty"),
        ({"start": "1"}, "no time"),
        ({"colour": "red"}, "no field of an item"),
        ({"tags": {"a": 1}}, "no object of texts"),
        ({"choices": "angry"}, "no list of texts"),
    ],
)
def test_what_is_no_item_is_refused_with_its_line(tmp_path: Path, change: dict[str, object], what: str) -> None:
    good = {"id": "a", "clip_id": "c", "audio": "x.wav", "question": "q?", "answer": "a", "type": "C", "start": 1.0}
    path = tmp_path / "items.jsonl"
    path.write_text(json.dumps(good) + "\n" + json.dumps({**good, "id": "b", **change}) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=f"line 2: .*{what}"):
        read_items(path)


def test_an_id_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    write_items(tmp_path / "items.jsonl", [ITEM, ITEM])
    with pytest.raises(DataError, match="stands in line 1 already"):
        read_items(tmp_path / "items.jsonl")


def test_a_torn_line_is_dropped_and_the_whole_ones_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    with KeptRecords(path) as kept:
        kept.add({"key": "1", "text": "ä"})
        kept.add({"key": "1", "text": "again"})
    with path.open("ab") as file:
        file.write(b'{"key": "2", "te')
    with KeptRecords(path) as kept:
        assert kept.records == {"1": {"key": "1", "text": "ä"}}
        kept.add({"key": "2", "text": "b"})
    assert [json.loads(line)["key"] for line in path.read_text(encoding="utf-8").splitlines()] == ["1", "2"]


def test_a_file_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text("my notes\n", encoding="utf-8")
    with pytest.raises(UsageError, match="line 1 is no record"):
        KeptRecords(path)
    assert path.read_text(encoding="utf-8") == "my notes\n"


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ('{"rating": 3}', {"rating": 3}),
        ('<think>{"rating": 1}</think> so ```json\n{"rating": 4, "why": "{"}\n```', {"rating": 4, "why": "{"}),
        ('{"a": 1} or rather {"a": {"b": 2}} .', {"a": {"b": 2}}),
        ('{"rating": ', None),
        ("[1, 2]", None),
        ("{" * 5000, None),
        (None, None),
    ],
)
def test_the_last_whole_object_of_a_reply_is_taken(reply: str | None, found: dict[str, object] | None) -> None:
    assert json_object(reply) == found
