"""The words of a condensed set: those of its kept segments, kept as they come, each with its label (`words.jsonl`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from earwitness.core.errors import AudioError, DataError
from earwitness.core.hashing import sha256_data
from earwitness.corpora.manifest import Manifest
from earwitness.speech_llm.cpqa.condensing import Condensed
from earwitness.speech_llm.cpqa.forms import WORDS, WordRow, write_rows
from earwitness.speech_llm.cpqa.hearing import Place
from earwitness.speech_llm.cpqa.words import WordSource, labelled
from earwitness.speech_llm.kept import KeptRecords
from earwitness.speech_llm.words import Word

SAID = "said.jsonl"


@dataclass(frozen=True)
class Problem:
    """A segment without words, and why."""

    seg_id: str
    what: str


def transcribe(
    condensed: Condensed, manifest: Manifest, source: WordSource, folder: Path, step: Callable[[], None] = lambda: None
) -> tuple[list[WordRow], list[Problem]]:
    """The words of every kept segment, written to `words.jsonl`; a segment of which none are known is a problem."""
    rows = {row.id: row for row in manifest.rows()}
    windows: dict[str, list[int]] = {}
    for number, window in enumerate(condensed.windows):
        windows.setdefault(window.seg_id, []).append(number)
    found: list[WordRow] = []
    problems: list[Problem] = []
    with KeptRecords(folder / SAID) as kept:
        for segment in (one for one in condensed.segments if one.kept):
            row = rows[segment.rec_id]
            place = Place(manifest.resolve(row), row.channel, segment.start, segment.end)
            try:
                words = _kept(place, segment.rec_id, source, kept)
            except (AudioError, DataError) as error:
                problems.append(Problem(segment.seg_id, str(error)))
            else:
                found += labelled(words, segment, [condensed.windows[k] for k in windows.get(segment.seg_id, [])])
            step()
    write_rows(folder / WORDS, found)
    return found, problems


def _kept(place: Place, rec_id: str, source: WordSource, kept: KeptRecords) -> Sequence[Word]:
    key = sha256_data([source.id, rec_id, str(place.path), place.channel, place.start, place.end])
    if key not in kept:
        words = source.words(place)
        kept.add({"key": key, "words": [[word.text, word.start, word.end] for word in words]})
    return [Word(*word) for word in kept.records[key]["words"]]
