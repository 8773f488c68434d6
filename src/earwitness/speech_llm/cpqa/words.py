"""Who said what when: words with times, from a recogniser or from files beside the recordings, and the label of each.

    STEM.json       WhisperX; words without times (digits, symbols) get theirs from their neighbours
    STEM.ctm        or any *.ctm of the folder that lists STEM
    STEM.TextGrid   its tier `words` (or `word`), or its only tier

Section 2.8 of the sheet on CPQA: each word receives the emotion of the labelled stretch in which it lies. That it is
its midpoint that counts is ours.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from earwitness.audio.reading import RATE, load
from earwitness.core.errors import DataError
from earwitness.core.hashing import sha256_data, sha256_file
from earwitness.corpora.formats.ctm import read_ctm
from earwitness.corpora.formats.textgrid import read_textgrid
from earwitness.speech_llm.cpqa.forms import SegmentRow, WindowRow, WordRow
from earwitness.speech_llm.cpqa.hearing import MILLISECONDS, Place
from earwitness.speech_llm.words import Recogniser, Word

SUFFIXES = (".json", ".ctm", ".TextGrid")
TIERS = ("words", "word")


class WordSource(Protocol):
    """`id` names what the words depend on beside the recording."""

    @property
    def id(self) -> str: ...

    def words(self, place: Place) -> Sequence[Word]:
        """Those of a stretch, in order, times in the recording. Raises `DataError` where none are known."""
        ...


@dataclass(frozen=True)
class HeardWords:
    """Words as a recogniser hears them in the stretch alone."""

    recogniser: Recogniser

    @property
    def id(self) -> str:
        """The recogniser's."""
        return self.recogniser.id

    def words(self, place: Place) -> list[Word]:
        """Of a stretch of a file. Raises `AudioError`."""
        heard = self.recogniser.transcribe(load(place.path, RATE, place.channel, place.start, place.end))
        return [replace(one, start=one.start + place.start, end=one.end + place.start) for one in heard]


class WordFiles:
    """Words that lie in files of `folder`, at any depth. Raises `DataError` where two files are of one recording."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, Path] = {}
        for file in sorted(path for suffix in SUFFIXES for path in folder.rglob(f"*{suffix}")):
            if file.stem in self._files:
                what = f"holds two files of '{file.stem}': {self._files[file.stem].name} and {file.name}"
                raise DataError(what, where=folder, fix="Leave one.")
            self._files[file.stem] = file
        if not self._files:
            raise DataError(f"holds no words ({', '.join(SUFFIXES)})", where=folder, fix="Give another folder.")

    @cached_property
    def id(self) -> str:
        """By the content of all files."""
        return f"files {sha256_data([sha256_file(file) for file in self._files.values()])[:12]}"

    @cached_property
    def _in_lists(self) -> dict[str, Path]:
        lists = [file for file in self._files.values() if file.suffix == ".ctm"]
        return {str(name): file for file in lists for name in read_ctm(file).manifest.table["recording"].unique()}

    def words(self, place: Place) -> list[Word]:
        """Those whose midpoint lies in the stretch."""
        name = place.path.stem
        file = self._files.get(name) or self._in_lists.get(name)
        if file is None:
            fix = f"Add {name}.json, {name}.ctm or {name}.TextGrid."
            raise DataError(f"holds no words of '{name}'", where=self.folder, fix=fix)
        if file.suffix == ".json":
            words = read_whisperx(file)
        else:
            words = _ctm(file, name, place.channel) if file.suffix == ".ctm" else _grid(file)
        end = math.inf if place.end is None else place.end
        return [word for word in words if place.start <= (word.start + word.end) / 2 < end]


def read_whisperx(path: Path) -> list[Word]:
    """The words of a WhisperX result, those without times put between their neighbours. Raises `DataError`."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        segments = data["segments"]
        found: list[Word] = []
        for segment in segments:
            if "words" not in segment:
                raise DataError("has segments without words", where=path, fix="Align it: `whisperx.align`.")
            times = [(str(one["word"]), _time(one.get("start")), _time(one.get("end"))) for one in segment["words"]]
            found.extend(interpolated(times, float(segment["start"]), float(segment["end"])))
    except DataError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"is no result of WhisperX ({type(error).__name__}: {str(error)[:100]})"
        raise DataError(what, where=path, fix="It has `segments` with `words`.") from None
    return found


def interpolated(words: Sequence[tuple[str, float | None, float | None]], start: float, end: float) -> Iterator[Word]:
    """All words with times: a run of words without any shares the time between its neighbours, or to `start` and `end`
    of the segment, evenly."""
    known = [(text, *((a, b) if a is not None and b is not None and a <= b else (None, None))) for text, a, b in words]
    at = start
    place = 0
    for timed, run in groupby(known, key=lambda one: one[1] is not None):
        group = list(run)
        place += len(group)
        if timed:
            for text, a, b in group:
                assert a is not None
                assert b is not None
                yield Word(text, a, b)
                at = max(at, b)
            continue
        following = known[place][1] if place < len(known) else end
        until = max(at, following if following is not None else end)
        step = (until - at) / len(group)
        for number, (text, _, _) in enumerate(group):
            yield Word(text, at + number * step, at + (number + 1) * step)
        at = until


def labelled(words: Iterable[Word], segment: SegmentRow, windows: Sequence[WindowRow]) -> list[WordRow]:
    """Every word with the emotion of the kept window whose central interval holds its midpoint, None where none does.

    Intervals hold their start and not their end, so a midpoint on a boundary is in exactly one.
    """
    trusted = [one for one in windows if one.kept]
    rows = []
    for word in words:
        middle = (word.start + word.end) / 2
        found = next((one.emotion for one in trusted if one.label_start <= middle < one.label_end), None)
        times = round(word.start, MILLISECONDS), round(word.end, MILLISECONDS)
        rows.append(WordRow(segment.seg_id, word.text, *times, found, segment.gender))
    return rows


def _time(value: Any) -> float | None:
    if value is None or isinstance(value, bool):
        return None
    number = float(value)
    return number if math.isfinite(number) and number >= 0 else None


def _ctm(file: Path, recording: str, channel: int | None) -> list[Word]:
    table = read_ctm(file).manifest.table
    if table["recording"].n_unique() > 1:
        table = table.filter(pl.col("recording") == recording)
    return _rows(table if channel is None else table.filter(pl.col("channel") == channel))


def _grid(file: Path) -> list[Word]:
    table = read_textgrid(file).manifest.table
    tiers = table["tier"].unique(maintain_order=True).to_list()
    tier = next((name for name in tiers if str(name).lower() in TIERS), tiers[0] if len(tiers) == 1 else None)
    if tier is None:
        what = f"has the tiers {', '.join(map(str, tiers))}, and none is called words"
        raise DataError(what, where=file, fix="Call the tier of the words `words`.")
    return _rows(table.filter(pl.col("tier") == tier))


def _rows(table: pl.DataFrame) -> list[Word]:
    rows = table.select("transcript", "start", "end").iter_rows()
    return [Word(text, start, end) for text, start, end in rows if text and start is not None and end is not None]
